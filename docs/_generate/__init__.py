"""What ``docs/generate.py`` is made of: the public API as lines, its changes, and the pages of docs/reference."""
