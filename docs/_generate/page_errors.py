"""Exit codes, the exception tree, and reasons of conditions and runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import groupby

from _generate.markdown import cell, first_sentence, inline, table
from _generate.page_python import link_from
from _generate.python_api import kastra
from _generate.reasons import Reason, reasons
from kastra_core.errors import KastraError

__all__ = ["errors_page"]


def errors_page() -> str:
    """One page: who sees what when something goes wrong."""
    link = link_from("errors.md")
    conditions = [one for one in reasons() if one.condition]
    runs = [one for one in reasons() if not one.condition]
    return "\n\n".join(
        [
            "# Errors, exit codes and reasons",
            "Made from the sources by `docs/generate.py`.",
            "## Exit codes",
            "Of every `kastra` command. They are [public](../stability.md#what-is-public).",
            table(["code", "means"], _exit_codes()),
            *_exceptions_to_codes(),
            "## Exceptions",
            "Whatever Kastra raises on purpose is a `KastraError`. Each has an `exit_code`, a `reason` (a word in "
            "CamelCase for programs) and a `remedy` (a sentence, or None). The number is the exit code of the command "
            "line.",
            "\n".join(_tree(link)),
            "A model's error that another try may mend has `retryable`; "
            "[runs](../guide/runs.md) try it again by themselves.",
            "## Reasons of conditions",
            "`kastra describe KIND/NAME` shows conditions with reason and message. A condition is True, False or, as "
            "long as something that it depends on was not looked at, Unknown. `Ready` says whether a resource can be "
            "used; where another condition keeps it from that, `Ready` has its reason. `…` stands for what is filled "
            "in. Reasons that come from an exception are its name without `Error` (`MissingSecret`, "
            "`UnknownProvider`) and are not listed.",
            table(["condition", "reason", "status", "message", "said by"], _condition_rows(conditions)),
            "## Reasons of failed runs and operations",
            "`status.reason` of a Run, and what `retry.on` and `retry.except` of a [workflow](../guide/workflows.md) "
            "name. The errors of models come here as their names without `Error`: `RateLimit`, `ModelTimeout`, "
            "`Authentication`. A tool that must not be called again, and a controller that waits for another spec, use "
            "these words, too.",
            table(["reason", "message", "said by"], _run_rows(runs)),
        ]
    )


def _exit_codes() -> list[list[str]]:
    from kastra_core.cli.app import EPILOG

    return [[f"`{code}`", inline(text)] for code, text in re.findall(r"^ +(\d+) +(\S.*)$", EPILOG, re.MULTILINE)]


def _exceptions_to_codes() -> list[str]:
    """What the help says below its table, commands with codes of their own."""
    from kastra_core.cli.app import EPILOG

    rest = re.split(r"^ +\d+ +\S.*\n", EPILOG, flags=re.MULTILINE)[-1]
    return [" ".join(line for line in rest.splitlines() if line)]


# ------------------------------------------------------------------------------------------------ exceptions


def _tree(link: Callable[[str], str]) -> Iterator[str]:
    known: dict[type[BaseException], str] = {}
    package = kastra()
    for path, module in package.modules.items():
        for name in package.exports(module):
            item = package.find(module, name)
            if item.is_class and name.endswith("Error"):
                found = getattr(import_module(path), name)
                if issubclass(found, KastraError):
                    known.setdefault(found, item.path)
    yield from _below(KastraError, known, link, 0)


def _below(
    cls: type[BaseException], known: dict[type[BaseException], str], link: Callable[[str], str], depth: int
) -> Iterator[str]:
    code = getattr(cls, "exit_code", 1)
    retried = ", retryable" if getattr(cls, "retryable", False) is True else ""
    text = first_sentence(cls.__doc__ or "", link)
    target = link(known[cls])
    shown = f"[`{cls.__name__}`]({target})" if target else f"`{cls.__name__}`"
    yield f"{'  ' * depth}- {shown} ({code}{retried}): {cell(text)}"
    for below in sorted((one for one in known if one.__bases__[0] is cls), key=lambda one: one.__name__):
        yield from _below(below, known, link, depth + 1)


# ------------------------------------------------------------------------------------------------ reasons


def _condition_rows(found: list[Reason]) -> Iterator[list[str]]:
    for one in found:
        yield [f"`{one.condition}`", f"`{one.reason}`", one.status, inline(one.message), one.by]


def _run_rows(found: list[Reason]) -> Iterator[list[str]]:
    for reason, group in groupby(sorted(found, key=lambda one: one.reason), key=lambda one: one.reason):
        places = list(group)
        messages = list(dict.fromkeys(inline(one.message) for one in places if one.message))
        yield [f"`{reason}`", "; or: ".join(messages), ", ".join(dict.fromkeys(one.by for one in places))]
