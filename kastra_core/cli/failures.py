"""From an exception to what a person reads on stderr and to an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import click

from kastra_core.errors import KastraError, ValidationError, shortened

__all__ = ["INTERNAL_ERROR", "INTERRUPTED", "HasDebug", "explain_failure", "guarded", "leaving", "silence_stdout"]

_SHOWN_PROBLEMS = 200
_SHOWN_CHARACTERS = 4000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What ails the disk or the device that is written to, and no fault of ours."""
INTERNAL_ERROR = 70
"""EX_SOFTWARE of sysexits.h."""
INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


class HasDebug(Protocol):
    """Where ``--debug`` is kept."""

    debug: bool


def guarded(
    call: Callable[[], Any], state: HasDebug, further: Callable[[BaseException], Iterable[str]] | None = None
) -> int:
    """Return the exit code of a call; whatever it raises becomes a message on stderr.

    Args:
        call: returns an exit code (an int), or something else for 0.
        state: its ``debug`` says whether to show tracebacks.
        further: lines to tell after the message.
    """
    try:
        code = call()
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
        return 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        _tell(str(end.code))
        return 1
    except BaseException as error:
        told = explain_failure(error, debug=state.debug)
        for line in further(error) if further is not None else ():
            _tell(line)
        return told
    return code if isinstance(code, int) and not isinstance(code, bool) else 0


def explain_failure(error: BaseException, *, debug: bool = False) -> int:
    """Tell on stderr what went wrong, without traceback unless ``debug``; return the exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        # click makes an Abort of a KeyboardInterrupt, whose text says what it left.
        cause = error.__cause__ if isinstance(error, click.Abort) else error
        left = str(cause) if isinstance(cause, KeyboardInterrupt) else ""
        _tell(f"interrupted: {left}" if left else "interrupted")
        return INTERRUPTED
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return explain_failure(error.exceptions[0], debug=debug)
    if debug and not isinstance(error, click.ClickException):
        import traceback

        _tell("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, click.ClickException):
        # A group without a subcommand: the message is the whole help (click 8.1 prints that itself, with code 0).
        is_help = type(error).__name__ == "NoArgsIsHelpError"
        _tell(error.format_message() if is_help else _click_text(error))
        return error.exit_code
    if isinstance(error, ValidationError):
        _tell("\n".join(_problem_lines(error)))
        return error.exit_code
    if isinstance(error, KastraError):
        remedy = error.remedy
        text = str(error) or error.reason
        told = shortened(text, _SHOWN_CHARACTERS)
        _tell(f"error: {told}" + (f"; {shortened(remedy)}" if remedy and remedy not in text else ""))
        return error.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        _tell(f"error: {os.fsdecode(error.filename)}: {error.strerror or type(error).__name__}")
        return KastraError.exit_code
    if isinstance(error, OSError) and error.errno in _FULL:
        silence_stdout()
        _tell(f"error: {error.strerror}")
        return KastraError.exit_code
    what = " ".join(str(error).split())
    again = "" if debug else " (rerun with --debug for the traceback)"
    _tell(f"internal error: {type(error).__name__}{f': {what}' if what else ''}{again}")
    return INTERNAL_ERROR


def _click_text(error: click.ClickException) -> str:
    """As click shows it, with the ``error:`` of all other errors."""
    lines = []
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        lines = [context.get_usage(), f"Try '{context.command_path} --help' for help.", ""]
    return "\n".join([*lines, f"error: {error.format_message()}"])


def _problem_lines(error: ValidationError) -> list[str]:
    problems = error.problems
    lines = [f"error: {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"error: and {len(problems) - _SHOWN_PROBLEMS} more")
    lines += [f"note: {problem} (dropped)" for problem in error.dropped[:_SHOWN_PROBLEMS]]
    files = {problem.file for problem in problems if problem.file}
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    where = f" in {len(files)} files" if len(files) > 1 else ""
    return [*lines, "; ".join([f"{count}{where}", *getattr(error, "__notes__", ())])]


@contextlib.contextmanager
def leaving(what: str) -> Iterator[None]:
    """Within it a ValidationError also says what was not done because of it ("nothing was written")."""
    try:
        yield
    except ValidationError as error:
        error.add_note(what)
        raise


def _tell(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # nobody reads stderr: the exit code must do


def silence_stdout() -> None:
    """Send what is still to be written nowhere: Python flushes stdout once more at exit."""
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
    except (OSError, ValueError):
        return  # stdout is no file (it is captured): nothing will flush it
