"""The reasons of conditions and of failed runs, read from the sources: where each is said, and in which words."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import attrs

from _generate.python_api import ROOT

__all__ = ["Reason", "reasons"]

_ERRORS = ("TerminalError", "OperationError", "RunFailedError", "NotReadyError")
_LEFT_OUT = ("cli", "testing")
"""Rooms of the core whose words are not those of conditions."""
_LONGEST_MESSAGE = 140


@attrs.frozen(order=True)
class Reason:
    """A reason as one place of the sources gives it."""

    condition: str
    """Type of the condition, "" for that of a failed run or operation."""
    reason: str
    status: str
    """"True", "False" or "Unknown"; "" where it depends, and for runs."""
    message: str
    """The words beside it, "…" for what is filled in; "" where they come from elsewhere."""
    by: str
    """"core" or the name of a plugin."""


@cache
def reasons() -> tuple[Reason, ...]:
    """All that stand in the sources as text, sorted; each reason of a condition once."""
    found: dict[tuple[str, str, str, str], Reason] = {}
    for path, by in sorted(_files()):
        text = path.read_text(encoding="utf-8")
        if not any(f"{name}(" in text for name in ("Condition", *_ERRORS)):
            continue  # most say none, and parsing takes its time
        tree = ast.parse(text)
        names = _constants(tree)
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for call in [*calls, *_through_helpers(tree, calls)]:
            for one in _of_call(call, names, by):
                key = (one.condition, one.reason, one.status, one.by)
                if key not in found or not found[key].message:
                    found[key] = one
    return tuple(sorted(found.values()))


def _files() -> Iterator[tuple[Path, str]]:
    core = ROOT / "kastra_core"
    for path in core.glob("**/*.py"):
        if path.relative_to(core).parts[0] not in _LEFT_OUT:
            yield path, "core"
    for path in ROOT.glob("plugins/*/src/*/**/*.py"):
        if path.name != "conformance.py":
            yield path, path.relative_to(ROOT).parts[1].removeprefix("kastra-plugin-")


def _constants(tree: ast.Module) -> dict[str, str]:
    return {
        target.id: statement.value.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }


def _through_helpers(tree: ast.Module, calls: Sequence[ast.Call]) -> Iterator[ast.Call]:
    """Of functions that make a condition or an error of their arguments: what they make at each call."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        places = [
            one.arg for one in (*function.args.posonlyargs, *function.args.args) if one.arg not in ("self", "cls")
        ]
        names = {*places, *(one.arg for one in function.args.kwonlyargs)}
        made = [
            node
            for node in ast.walk(function)
            if isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] in ("Condition", *_ERRORS)
            and any(isinstance(word.value, ast.Name) and word.value.id in names for word in node.keywords)
        ]
        for call in calls if made else ():
            if ast.unparse(call.func).rpartition(".")[2] == function.name:
                given = dict(zip(places, call.args)) | {word.arg: word.value for word in call.keywords if word.arg}
                yield from (_filled(one, given) for one in made)


def _filled(call: ast.Call, given: Mapping[str, ast.expr]) -> ast.Call:
    def value(node: ast.expr) -> ast.expr:
        return given.get(node.id, node) if isinstance(node, ast.Name) else node

    words = [ast.keyword(arg=word.arg, value=value(word.value)) for word in call.keywords]
    return ast.Call(func=call.func, args=[value(one) for one in call.args], keywords=words)


def _of_call(call: ast.Call, names: Mapping[str, str], by: str) -> Iterator[Reason]:
    made = ast.unparse(call.func).rpartition(".")[2]
    words = {word.arg: word.value for word in call.keywords if word.arg}
    if made == "Condition":
        condition, status = _text(words.get("type"), names), _text(words.get("status"), names)
        message = _message(words.get("message"), names)
        if condition:
            yield from (Reason(condition, one, status, message, by) for one in _texts(words.get("reason"), names))
    elif made in _ERRORS:
        given = words.get("reason")
        if made == "NotReadyError" and len(call.args) > 1:
            given = call.args[1]
        at = 2 if made == "NotReadyError" else 0
        message = _message(call.args[at] if len(call.args) > at else None, names)
        yield from (Reason("", one, "", message, by) for one in _texts(given, names))


def _texts(node: ast.expr | None, names: Mapping[str, str]) -> list[str]:
    """The texts that an expression may be, those of both branches of a choice."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, names), *_texts(node.orelse, names)]
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in _texts(value, names)]
    text = _text(node, names)
    return [text] if text.isidentifier() else []


def _text(node: ast.expr | None, names: Mapping[str, str]) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""


def _message(node: ast.expr | None, names: Mapping[str, str]) -> str:
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
        text = " ".join("".join(map(str, parts)).split())
    else:
        text = _text(node, names)
    if not text.strip("…:; "):
        return ""
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"
