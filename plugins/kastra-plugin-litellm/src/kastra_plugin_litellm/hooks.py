"""Hook implementations of kastra-plugin-litellm."""
