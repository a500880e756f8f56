"""Expressions of flows as expressions of workflows: both are CEL, with other names for what they read.

A flow reads ``state`` and ``outputs.METHOD`` (of crews and agents ``outputs.METHOD.raw``); a workflow its input and
``steps.ID.output``. Source: crewAI ``flow/expressions.py`` (``${...}`` in texts, bare CEL elsewhere).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from kastra_core.cel import DYN, JSON_DIALECT, CelSyntaxError, Environment, Node
from kastra_core.cel.parser import parse
from kastra_core.cel.syntax import FaultError
from kastra_core.cel.tokens import Token, text_value, tokens_of
from kastra_plugin_crewai.flow_types import UNSURE, is_doubtful, type_of_cel

__all__ = [
    "InvalidExpressionError",
    "NoCounterpartError",
    "Output",
    "Reads",
    "Scope",
    "bare",
    "reads_of",
    "translate",
    "type_of",
]

_STRUCTURED = ("json_dict", "pydantic")
"""Members of a crew's output that hold it as an object; here the output is that object."""
_KEPT = {
    "crew": ("raw", *_STRUCTURED),
    "feedback": ("output", "feedback", "outcome", "method_name"),
}
_OURS = frozenset({"workflow", "steps", "step", "data"})
_ROOTS = frozenset({"state", "outputs", "item"})
_ENVIRONMENT_NAMES = ("workflow", "steps", "data", "item", "input")


class InvalidExpressionError(Exception):
    """CrewAI refuses the expression, too."""


class NoCounterpartError(Exception):
    """The expression is right, but reads or calls what a workflow does not have."""


@attrs.frozen(kw_only=True)
class Output:
    """Where the output of a method stands."""

    path: str
    """CEL: ``steps.research.output``."""
    present: str
    """CEL condition: it has been carried out."""
    kind: str = ""
    """crew: an agent or crew made it, ``.raw`` is the text. feedback: {output, feedback, outcome}. "": anything."""
    inner: str = ""
    """feedback: kind of the output that was reviewed."""
    type: str = ""
    """JSON type, as far as it is known: see :mod:`flow_types`."""


@attrs.frozen(kw_only=True)
class Scope:
    """What an expression may read."""

    state: str
    """CEL of the state."""
    outputs: Callable[[str], Output | None]
    """Method, or step of ``each`` -> its output; None: there is none of this name in sight."""
    item: bool = False
    """It stands in ``each``."""
    item_type: str = ""
    """JSON type of the item, as far as it is known."""
    run_is_id: bool = True
    """``state.id`` is the run's uid: the flow declares no field of this name."""
    state_type: Callable[[Sequence[str]], str] = attrs.field(default=lambda members: "")
    """Path below the state -> its JSON type, as far as it is known."""


@attrs.define
class Reads:
    """What expressions read."""

    outputs: set[str] = attrs.field(factory=set)
    state: set[tuple[str, ...]] = attrs.field(factory=set)
    """Static paths below the state; the empty one for all of it."""


# ------------------------------------------------------------------------------------------------ expressions


def bare(source: str) -> str:
    """An expression without the ``${...}`` around it, which CrewAI lets stand where CEL is expected.

    Raises:
        InvalidExpressionError: nothing is left.
    """
    out = source.strip()
    if out.startswith("${") and out.endswith("}"):
        out = out[2:-1].strip()
    if not out:
        raise InvalidExpressionError("the expression is empty")
    return out


def translate(source: str, scope: Scope) -> str:
    """Return the expression of a workflow for one of a flow, in one line.

    Raises:
        InvalidExpressionError: it cannot be read, or reads what no flow has.
        NoCounterpartError
    """
    source = bare(source)
    tokens = _read(source, scope.item)
    roots = (_root(tokens, index, scope) for index in _free(source, tokens))
    edits = [*_gaps(source, tokens), *_minus_signs(tokens), *roots]
    out: list[str] = []
    at = 0
    for start, end, text in sorted(edit for edit in edits if edit is not None):
        if start < at:
            continue  # inside of what was replaced as a whole
        out += [source[at:start], text]
        at = end
    result = "".join([*out, source[at:]])
    _check(result)
    return result


def type_of(source: str, scope: Scope) -> str:
    """JSON type of an expression's value as far as it is known: see :mod:`flow_types`."""
    source = bare(source)
    try:
        tokens = _read(source, True)
    except (InvalidExpressionError, NoCounterpartError):
        return ""
    root = tokens[0].text
    if root in ("state", "outputs"):
        members, after = _members(tokens, 0)
        if tokens[after].kind == "end" and root == "state":
            return "" if members[:1] == ["id"] and scope.run_is_id else scope.state_type(members)
        if tokens[after].kind == "end" and len(members) == 1:
            found = scope.outputs(members[0])
            if found is not None and found.kind == "feedback":
                return UNSURE
            return found.type if found is not None else ""
    return type_of_cel(source)


def reads_of(sources: Iterable[str]) -> Reads:
    """Return what expressions read; those that are wrong are passed over."""
    reads = Reads()

    def output(name: str) -> Output:
        reads.outputs.add(name)
        return Output(path="data.x", present="true")

    scope = Scope(state="workflow.input", outputs=output, item=True)
    for source in sources:
        try:
            source = bare(source)
            tokens = _read(source, True)
        except (InvalidExpressionError, NoCounterpartError):
            continue
        for index in _free(source, tokens):
            try:
                if tokens[index].text == "state":
                    members, _ = _members(tokens, index)
                    reads.state.add(tuple(members))
                else:
                    _root(tokens, index, scope)
            except NoCounterpartError:
                continue
    return reads


def _read(source: str, item: bool) -> list[Token]:
    """The tokens of an expression that can be parsed and has no unknown roots."""
    try:
        tree = parse(source)
        tokens = tokens_of(source)
    except FaultError as fault:
        raise InvalidExpressionError(f"invalid CEL (column {fault.offset + 1}): {fault.message}") from None
    except CelSyntaxError as error:
        raise InvalidExpressionError(f"invalid CEL (line {error.line}, column {error.column}): {error}") from None
    except RecursionError:
        raise NoCounterpartError("the expression is nested too deeply") from None
    allowed = _ROOTS if item else _ROOTS - {"item"}
    names = {node.value for node in _idents(tree, frozenset())}
    unknown = sorted(name for name in names if name not in allowed and name not in _TYPES)
    if unknown:
        known = ", ".join(sorted(allowed))
        raise InvalidExpressionError(f"unknown name {unknown[0]!r}; an expression of a flow reads {known}")
    shadows = sorted(_bound(tree) & _OURS)
    if shadows:
        raise NoCounterpartError(f"rename the variable {shadows[0]!r}, a name that expressions of workflows have")
    return tokens


_TYPES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type", "dyn"})


def _children(node: Node) -> Iterator[Node]:
    if node.target is not None:
        yield node.target
    for item in node.items:
        yield from item if isinstance(item, tuple) else (item,)


def _idents(node: Node, bound: frozenset[str]) -> Iterator[Node]:
    """Names that no macro binds."""
    if node.kind == "ident":
        if node.value not in bound:
            yield node
        return
    if node.kind == "fold":
        inner = bound | set(node.names)
        yield from _idents(node.items[0], bound)
        yield from _idents(node.items[1], bound)
        for item in node.items[2:]:
            yield from _idents(item, inner)
        return
    for child in _children(node):
        yield from _idents(child, bound)


def _bound(node: Node) -> set[str]:
    found = set(node.names) if node.kind == "fold" else set()
    for child in _children(node):
        found |= _bound(child)
    return found


def _free(source: str, tokens: list[Token]) -> list[int]:
    """Indices of the tokens that are roots which get another name."""
    at = {token.offset: index for index, token in enumerate(tokens)}
    offsets = {node.offset for node in _idents(parse(source), frozenset()) if node.value in _ROOTS}
    return sorted(at[offset] for offset in offsets)


def _members(tokens: list[Token], index: int) -> tuple[list[str], int]:
    """Static members after a name, and the index of the token after them; a method that is called is none."""
    out: list[str] = []
    at = index + 1
    while True:
        token, following = tokens[at], tokens[min(at + 1, len(tokens) - 1)]
        if token.text == "." and following.kind == "name" and tokens[at + 2].text != "(":
            out.append(following.text)
            at += 2
        elif token.text == "[" and following.kind == "text" and tokens[at + 2].text == "]":
            value = text_value(following)
            if not isinstance(value, str):
                break
            out.append(value)
            at += 3
        else:
            break
    return out, at


def _root(tokens: list[Token], index: int, scope: Scope) -> tuple[int, int, str]:
    token = tokens[index]
    members, after = _members(tokens, index)
    if token.text == "item":
        below = bool(members) or tokens[after].text in (".", "[")
        doubtful = is_doubtful(scope.item_type, tokens, index, index + 1 if members else after, below=below)
        return token.offset, token.offset + len(token.text), "dyn(item)" if doubtful else "item"
    if token.text == "state":
        if members[:1] == ["id"] and scope.run_is_id:
            return token.offset, _end(tokens, index, 1), "workflow.run"
        doubtful = is_doubtful(scope.state_type(members), tokens, index, after, below=tokens[after].text in (".", "["))
        path = f"dyn({scope.state})" if doubtful else scope.state
        return token.offset, token.offset + len(token.text), path
    before = tokens[index - 1] if index else None
    if not members:
        key = tokens[index - 2] if index > 1 else None
        bound = index > 2 and tokens[index - 3].text in ("!", "+", "-", "*", "/", "%")
        if before is not None and before.text == "in" and key is not None and key.kind == "text" and not bound:
            name = str(text_value(key))
            return key.offset, token.offset + len(token.text), _output(scope, name).present
        raise NoCounterpartError("a workflow has no object of all outputs; name the method: outputs.METHOD")
    found = _output(scope, members[0])
    inside_has = index > 1 and before is not None and before.text == "(" and tokens[index - 2].text == "has"
    if inside_has and len(members) == 1 and tokens[after].text == ")":
        return tokens[index - 2].offset, tokens[after].offset + 1, found.present
    path, taken = _follow(found, members)
    below = taken < len(members) or tokens[after].text in (".", "[")
    kind = UNSURE if found.kind == "feedback" and taken > 1 else found.type
    if is_doubtful(kind, tokens, index, after, below=below):
        path = f"dyn({path})"
    return token.offset, _end(tokens, index, taken), path


def _output(scope: Scope, name: str) -> Output:
    found = scope.outputs(name)
    if found is None:
        raise NoCounterpartError(f"outputs.{name}: no method that could have run before has this name")
    return found


def _follow(found: Output, members: list[str]) -> tuple[str, int]:
    """CEL of an output and its first members, and how many of the members are in it."""
    path, taken, kind = found.path, 1, found.kind
    if kind == "feedback" and len(members) > 1:
        if members[1] not in _KEPT["feedback"]:
            raise NoCounterpartError(f"outputs.{members[0]}.{members[1]}: an answer of a person has no {members[1]!r}")
        path, taken = f"{path}.{members[1]}", 2
        kind = found.inner if members[1] == "output" else ""
    if kind == "crew" and len(members) > taken:
        member = members[taken]
        if member not in _KEPT["crew"]:
            told = (
                f"{'.'.join(['outputs', *members[: taken + 1]])}: a crew's or an agent's output is its text or object"
            )
            raise NoCounterpartError(told)
        taken += 1
    return path, taken


def _end(tokens: list[Token], index: int, members: int) -> int:
    """Offset after so many members of the name at ``index``."""
    at = index
    for _ in range(members):
        at += 3 if tokens[at + 1].text == "[" else 2
    return tokens[at].offset + len(tokens[at].text)


def _minus_signs(tokens: list[Token]) -> Iterator[tuple[int, int, str]]:
    """Blanks around a minus, which would be part of a name in a path."""
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        binary = before is not None and (before.kind not in ("sign", "end") or before.text in (")", "]", "}", "true"))
        if token.text == "-" and token.kind == "sign" and binary:
            yield token.offset, token.offset + 1, " - "


def _gaps(source: str, tokens: list[Token]) -> Iterator[tuple[int, int, str]]:
    """Comments and line breaks between tokens as blanks."""
    at = 0
    for token in tokens:
        if "\n" in source[at : token.offset] or "//" in source[at : token.offset]:
            yield at, token.offset, " " if at and token.kind != "end" else ""
        at = token.offset + len(token.text)


def _check(result: str) -> None:
    """Refuse functions that workflows do not have, and what CEL can tell to be wrong before it runs."""
    try:
        Environment(dict.fromkeys(_ENVIRONMENT_NAMES, DYN), JSON_DIALECT).compile(result)
    except CelSyntaxError as error:
        raise NoCounterpartError(str(error)) from None
