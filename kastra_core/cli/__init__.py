"""The command line. ``main`` is the script ``kastra``; nothing else is imported until it is needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main", "tune_gc"]


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
    if args is None:
        tune_gc()
    from kastra_core.cli.app import run

    return run(words)


def tune_gc() -> None:
    """Have the garbage collector look less often: for a process of our own that makes many objects which live long.

    Python looks through all young objects after 700 new ones, which is a third of the time of reading 10,000 manifests
    and finds nothing: there are few cycles in them.
    """
    import gc

    gc.set_threshold(100_000, 50, 1000)
