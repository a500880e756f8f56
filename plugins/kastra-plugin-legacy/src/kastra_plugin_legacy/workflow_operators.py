"""Comparisons, arithmetic and methods of JavaScript as CEL."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from kastra_plugin_legacy.workflow_cel import (
    AND,
    ARRAY,
    ATOM,
    BOOLEAN,
    CHOICE,
    COMPARED,
    NOTHING,
    NUMBER,
    NUMERIC,
    OR,
    STRING,
    SUM,
    TERM,
    UNARY,
    Code,
    all_of,
    literal,
    negated,
)
from kastra_plugin_legacy.workflow_js import UNDEFINED, Items, Literal, Pairs, Tree, UntranslatableError

__all__ = ["computed", "is_nothing", "method", "ordered", "same", "text_of"]


def is_nothing(code: Code, nothing: Any, loose: bool) -> Code:
    if code.absent:
        return literal(loose or nothing is UNDEFINED)
    missing = negated(all_of(code.tests)) if code.tests else literal(False)
    null = Code(text=f"{code.at(SUM)} == null", level=COMPARED, types=BOOLEAN)
    if code.types is not None and "null" not in code.types:
        null = literal(False)
    if loose:
        if missing.text == "false":
            return null
        if null.text == "false":
            return missing
        return Code(text=f"{missing.at(OR)} || {null.at(AND)}", level=OR, types=BOOLEAN)
    if nothing is UNDEFINED:
        return missing
    return literal(False) if null.text == "false" else all_of([*code.tests, null.text])


def same(a: Code, b: Code, left: Tree, right: Tree, loose: bool) -> Code:
    if a.absent or b.absent:
        raise UntranslatableError("it compares something that is never there")
    if isinstance(left, Literal) and not isinstance(right, Literal):
        a, b, left, right = b, a, right, left
    if isinstance(right, (Items, Pairs)) or isinstance(left, (Items, Pairs)):
        raise UntranslatableError("objects and lists are compared by what they are, not by what they hold")
    if loose and isinstance(right, Literal) and not isinstance(left, Literal):
        return _loosely(a, right.value)
    if _known_apart(a, b):
        if loose:
            raise UntranslatableError("it compares values of different types")
        return literal(False)
    if isinstance(right, Literal):
        return all_of([*a.tests, f"{a.at(SUM)} == {b.at(SUM)}"])
    return Code(text=f"{a.asked().at(SUM)} == {b.asked().at(SUM)}", level=COMPARED, types=BOOLEAN)


def _known_apart(a: Code, b: Code) -> bool:
    if a.types is None or b.types is None:
        return False
    first = a.types | NUMERIC if a.types & NUMERIC else a.types
    second = b.types | NUMERIC if b.types & NUMERIC else b.types
    return not first & second


def _loosely(code: Code, value: Any) -> Code:
    """``==`` with a literal, which takes what is written alike for equal."""
    alike: list[Any] = [value]
    if isinstance(value, bool):
        alike += [1, "1"] if value else [0, "0", ""]
    elif isinstance(value, (int, float)):
        alike += [json.dumps(value)] + ([value == 1] if value in (0, 1) else []) + ([""] if value == 0 else [])
    elif re.fullmatch(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?", value):
        number = json.loads(value)
        alike += [number] + ([number == 1] if number in (0, 1) else [])
    elif value == "":
        alike += [0, False]
    fitting = [item for item in alike if not _known_apart(code, literal(item))]
    if not fitting:
        return literal(False)
    if len(fitting) == 1:
        return all_of([*code.tests, f"{code.at(SUM)} == {literal(fitting[0]).at(SUM)}"])
    return all_of([*code.tests, f"{code.at(SUM)} in {literal(fitting).text}"])


def ordered(sign: str, left: Code, right: Code) -> Code:
    if left.absent or right.absent:
        return literal(False)
    if _known_apart(left, right):
        raise UntranslatableError("it orders values of different types")
    for code in (left, right):
        if code.types is not None and not code.types & {"string", "number", "integer"}:
            raise UntranslatableError("it orders values that are neither numbers nor texts")
    tests = dict.fromkeys((*left.tests, *right.tests))
    return all_of([*tests, f"{left.at(SUM)} {sign} {right.at(SUM)}"])


def computed(sign: str, left: Code, right: Code) -> Code:
    if left.absent or right.absent:
        raise UntranslatableError("it computes with something that is never there")
    guards = tuple(dict.fromkeys((*left.guards, *right.guards)))
    sides = [code.types for code in (left, right)]
    if sign == "+" and STRING in sides:
        texts = [text_of(code) for code in (left, right)]
        return Code(text=f"{texts[0].at(SUM)} + {texts[1].at(TERM)}", level=SUM, types=STRING)
    for types in sides:
        if types is not None and not types <= NUMERIC:
            raise UntranslatableError(f"{sign!r} takes numbers")
    known = all(types is not None for types in sides)
    if sign == "/":
        text = f"double({left.text}) / double({right.text})"
        return Code(text=text, level=TERM, guards=guards, types=NUMBER)
    if sign == "+":
        kind = NUMBER if known or any(types is not None for types in sides) else None
        return Code(text=f"{left.at(SUM)} + {right.at(TERM)}", level=SUM, guards=guards, types=kind)
    loose = SUM if sign == "-" else TERM
    tight = TERM if sign == "-" else UNARY
    return Code(text=f"{left.at(loose)} {sign} {right.at(tight)}", level=loose, guards=guards, types=NUMBER)


def text_of(code: Code) -> Code:
    """``String(x)``; null and undefined are written as JavaScript does."""
    if code.absent:
        return literal("undefined")
    if code.types == STRING and not code.tests:
        return code
    text = code.text if code.types == STRING else f"string({code.text})"
    if code.types is None:
        text = f'{code.at(SUM)} == null ? "null" : string({code.text})'
    if code.tests:
        inner = f"({text})" if "?" in text else text
        return Code(text=f'{" && ".join(code.tests)} ? {inner} : "undefined"', level=CHOICE, types=STRING)
    if code.types == NOTHING:
        return literal("null")
    return Code(text=text, level=CHOICE if code.types is None else ATOM, types=STRING)


def method(target: Code, name: str, arguments: Sequence[Code]) -> Code:
    if any(argument.absent for argument in arguments):
        raise UntranslatableError(f"{name} is given something that is never there")
    guards = tuple(dict.fromkeys((*target.guards, *(guard for argument in arguments for guard in argument.guards))))
    types = target.types
    if name == "toString" and not arguments:
        return text_of(target)
    if name in ("startsWith", "endsWith") and len(arguments) == 1 and may_be(types, "string"):
        if not may_be(arguments[0].types, "string"):
            raise UntranslatableError(f"{name} takes a text")
        return Code(text=f"{target.at(ATOM)}.{name}({arguments[0].text})", guards=guards, types=BOOLEAN)
    if name == "includes" and len(arguments) == 1:
        (only,) = arguments
        inside = f"{only.at(SUM)} in {target.at(SUM)}"
        if types == ARRAY:
            return Code(text=inside, level=COMPARED, guards=guards, types=BOOLEAN)
        contains = f"{target.at(ATOM)}.contains({only.text})"
        if types == STRING:
            if not may_be(only.types, "string"):
                raise UntranslatableError("includes takes a text")
            return Code(text=contains, guards=guards, types=BOOLEAN)
        if types is None:
            if not may_be(only.types, "string"):
                return Code(text=inside, level=COMPARED, guards=guards, types=BOOLEAN)
            text = f"type({target.text}) == list ? {inside} : {contains}"
            return Code(text=text, level=CHOICE, guards=guards, types=BOOLEAN)
    if name == "hasOwnProperty" and len(arguments) == 1 and may_be(types, "object"):
        text = f"{arguments[0].at(SUM)} in {target.at(SUM)}"
        return Code(text=text, level=COMPARED, guards=guards, types=BOOLEAN)
    raise UntranslatableError(f"there is no {name} here")


def may_be(types: frozenset[str] | None, word: str) -> bool:
    return types is None or word in types
