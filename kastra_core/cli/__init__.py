"""The command line. ``main`` is the script ``kastra``; nothing else is imported until it is needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        args: without the program's name; default: those of the process.
    """
    words = sys.argv[1:] if args is None else list(args)
    if words == ["--version"]:
        # Asked often and by programs: not even click is needed.
        from kastra_core import __version__

        sys.stdout.write(f"kastra {__version__}\n")
        return 0
    from kastra_core.cli.app import run

    return run(words)
