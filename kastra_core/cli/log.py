"""Log records of Kastra and its plugins on stderr: a line each, once, with tracebacks only for ``--debug``."""

from __future__ import annotations

import logging
import sys

__all__ = ["show_logs"]

_OURS = ("kastra", "kastra_core", "kastra_plugin")
_SEEN_MAX = 1000


class _LineHandler(logging.Handler):
    """Writes a warning once: a controller that tries again every second says the same every second."""

    def __init__(self, *, debug: bool) -> None:
        super().__init__(logging.DEBUG if debug else logging.WARNING)
        self._debug = debug
        self._seen: set[str] = set()
        if debug:
            self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record) if self._debug else self._line(record)
            if not self._debug:
                if text in self._seen or len(self._seen) > _SEEN_MAX:
                    return
                self._seen.add(text)
            sys.stderr.write(text + "\n")
        except Exception:
            self.handleError(record)

    @staticmethod
    def _line(record: logging.LogRecord) -> str:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        return f"{level}: {' '.join(record.getMessage().split())}"


def show_logs(*, debug: bool, quiet: bool) -> None:
    """Show the records of Kastra's own loggers; those of libraries only with ``debug``. Safe to call twice."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _LineHandler):
            root.removeHandler(handler)
    handler = _LineHandler(debug=debug)
    if quiet and not debug:
        handler.setLevel(logging.CRITICAL)
    if debug:
        for name in _OURS:
            logging.getLogger(name).setLevel(logging.DEBUG)
    else:
        handler.addFilter(lambda record: record.name.startswith(_OURS))
    root.addHandler(handler)
