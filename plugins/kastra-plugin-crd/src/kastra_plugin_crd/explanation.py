"""Why a value does not fit: every problem at the field path and with the reason that Kubernetes gives it.

jsonschema-rs decides; this walks through a value that it refused. Which failures of an anyOf or oneOf are told is
Kubernetes' choice (kube-openapi, pkg/validation/validate): those of the clause that got furthest, counted as there.

On an update, what is wrong with a part that the update leaves as it was is not held against it ("ratcheting":
apiextensions-apiserver, pkg/apiserver/validation/ratcheting.go).
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from kastra_core.api.merge import same_json
from kastra_core.errors import Problem, nearest, shortened
from kastra_core.serde import type_word
from kastra_plugin_crd.checks import Check, is_multiple, is_of_type
from kastra_plugin_crd.formats import FORMAT_WORDS, FORMATS
from kastra_plugin_crd.lists import by_keys
from kastra_plugin_crd.patterns import matcher
from kastra_plugin_crd.pruning import below

__all__ = ["NOTHING", "equal_json", "explain"]

NOTHING: Final[Any] = object()
"""There is no old value."""
_MOST_PROBLEMS: Final = 1000
"""Of one value; the core shows a hundred."""
_SHOWN_CHOICES: Final = 30
_MOST_COMPARED: Final = 1000
"""Choices among which the one that was meant is looked for."""
_TYPE_WORDS: Final = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean (true or false)",
    "object": "an object",
    "array": "a list",
}


def explain(check: Check, value: Any, path: str = "", old: Any = NOTHING) -> list[Problem]:
    """Return what is wrong with a value, in the value's order, at most 1000 problems.

    Args:
        check: what is asked of it.
        value: any JSON value.
        path: where it stands; problems begin with it.
        old: what stands there now, when the value is to replace it.
    """
    out: list[Problem] = []
    _Explanation().part(check, check, value, old, path, out)
    unique = {(problem.path, problem.message): problem for problem in reversed(out)}
    return list(reversed(unique.values()))[:_MOST_PROBLEMS]


def equal_json(one: Any, other: Any) -> bool:
    """Whether two values are equal as JSON Schema compares them: 1 is 1.0, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal_json, one, other))
    return bool(one == other)


class _Explanation:
    """One walk. Methods return how far they got: the number of checks made, as Kubernetes counts them.

    ``shape`` is the structural schema of the value, by which old values are found, while ``check`` may be a clause.
    """

    def part(self, check: Check, shape: Check | None, value: Any, old: Any, path: str, out: list[Problem]) -> int:
        """A value with its own old value; what is wrong with one that does not change is forgiven."""
        if len(out) > _MOST_PROBLEMS:
            return 0
        start = len(out)
        count = self.value(check, shape, value, old, path, out)
        if len(out) > start and old is not NOTHING and _same(shape, value, old):
            del out[start:]
        return count

    def value(self, check: Check, shape: Check | None, value: Any, old: Any, path: str, out: list[Problem]) -> int:
        if value is None:
            is_wrong = bool(check.types) and not check.nullable
            if is_wrong:
                out.append(_wrong_type(check, value, path))
            self.enum(check, value, path, out)
            return 0 if is_wrong else 1
        # The value as a whole, its clauses (two: they count themselves), its enum.
        count = 4 + (1 if check.types or check.format else 0)
        if check.types:
            if not any(is_of_type(value, kind) for kind in check.types):
                out.append(_wrong_type(check, value, path))
                self.enum(check, value, path, out)
                return count + (2 if isinstance(value, int | float | list) else 1)
            count += 1
        self.enum(check, value, path, out)
        if isinstance(value, str):
            self.text(check, value, path, out)
            count += 1 + bool(check.format)
        elif isinstance(value, dict):
            count += 1 + self.fields(check, shape, value, old, path, out)
        elif isinstance(value, list):
            count += 2 + self.items(check, shape, value, old, path, out)
        elif not isinstance(value, bool):
            self.number(check, value, path, out)
            count += 2
        return count + self.clauses(check, shape, value, old, path, out)

    # ------------------------------------------------------------------------------------------------- scalars

    def enum(self, check: Check, value: Any, path: str, out: list[Problem]) -> None:
        if not check.enum or any(equal_json(value, choice) for choice in check.enum):
            return
        names = [choice if isinstance(choice, str) else _json(choice) for choice in check.enum]
        near = nearest(value, names[:_MOST_COMPARED]) if isinstance(value, str) else None
        words = ", ".join(shortened(name, 80) for name in names[:_SHOWN_CHOICES])
        more = f" and {len(names) - _SHOWN_CHOICES} more" if len(names) > _SHOWN_CHOICES else ""
        one_of = "one of " if len(names) > 1 else ""
        message = f"expected {one_of}{words}{more}, found {type_word(value)}"
        hint = f"did you mean {near!r}?" if near else ""
        out.append(Problem(message, path, hint=hint, reason="FieldValueNotSupported"))

    def text(self, check: Check, value: str, path: str, out: list[Problem]) -> None:
        least, most = check.limits.get("minLength"), check.limits.get("maxLength")
        if most is not None and len(value) > most:
            out.append(_too_many(most, len(value), "character", path, "FieldValueTooLong"))
        elif least is not None and len(value) < least:
            out.append(_too_few(least, len(value), "character", path))
        elif check.pattern:
            found = matcher(check.pattern)
            if found is None:
                message = f"the pattern of its schema is no regular expression: {shortened(check.pattern, 200)}"
                out.append(Problem(message, path, reason="FieldValueInvalid"))
            elif not found(value):
                message = f"expected a text that matches {shortened(check.pattern, 200)}, found {type_word(value)}"
                out.append(Problem(message, path, reason="FieldValueInvalid"))
        if check.format and not FORMATS[check.format](value):
            message = f"expected {FORMAT_WORDS[check.format]}, found {type_word(value)}"
            out.append(Problem(message, path, reason="FieldValueTypeInvalid"))

    def number(self, check: Check, value: float, path: str, out: list[Problem]) -> None:
        limits = check.limits

        def wrong(expected: str) -> None:
            out.append(Problem(f"expected {expected}, found {_number(value)}", path, reason="FieldValueInvalid"))

        if check.bounds is not None and not check.bounds[0] <= value <= check.bounds[1]:
            wrong("an integer of 32 bits" if "integer" in check.types else "a number of 32 bits")
        if "multipleOf" in limits and not is_multiple(value, limits["multipleOf"]):
            wrong(f"a multiple of {_number(limits['multipleOf'])}")
        low, high = limits.get("minimum"), limits.get("maximum")
        if low is not None and (value <= low if limits.get("exclusiveMinimum") else value < low):
            wrong(f"{'more than' if limits.get('exclusiveMinimum') else 'at least'} {_number(low)}")
        if high is not None and (value >= high if limits.get("exclusiveMaximum") else value > high):
            wrong(f"{'less than' if limits.get('exclusiveMaximum') else 'at most'} {_number(high)}")

    # ---------------------------------------------------------------------------------------- objects and lists

    def fields(
        self, check: Check, shape: Check | None, value: dict[str, Any], old: Any, path: str, out: list[Problem]
    ) -> int:
        count = 0
        _counted(check, "Properties", len(value), "field", path, out)
        for key, item in value.items():
            inner = check.properties.get(key, check.additional)
            if isinstance(inner, Check):
                known = None if shape is None else shape.properties.get(key, shape.additional)
                known = known if isinstance(known, Check) else None
                before = NOTHING
                # apiVersion and kind of the whole are not compared: old and new are always of the same version.
                if known is not None and isinstance(old, dict) and (path or key not in ("apiVersion", "kind")):
                    before = old.get(key, NOTHING)
                count += self.part(inner, known, item, before, below(path, key), out)
            elif not inner:
                out.append(Problem("this field may not be given", below(path, key), reason="FieldValueInvalid"))
        out.extend(
            Problem("required field is missing", below(path, key), reason="FieldValueRequired")
            for key in check.required
            if key not in value
        )
        return count

    def items(
        self, check: Check, shape: Check | None, value: list[Any], old: Any, path: str, out: list[Problem]
    ) -> int:
        count = 0
        if check.items is not None:
            known = shape.items if shape is not None else None
            before = _old_items(shape, old)
            for index, item in enumerate(value):
                was = before(item)
                count += self.part(check.items, known, item, was, f"{path}[{index}]", out)
        _counted(check, "Items", len(value), "item", path, out)
        if check.limits.get("uniqueItems") and len({_canonical(item) for item in value}) < len(value):
            out.append(Problem("an item is there twice", path, reason="FieldValueInvalid"))
        return count

    # ------------------------------------------------------------------------------------------------- clauses

    def clauses(self, check: Check, shape: Check | None, value: Any, old: Any, path: str, out: list[Problem]) -> int:
        count = 0
        for clause in check.all_of:
            count += self.value(clause, shape, value, old, path, out)
        if check.any_of:
            count += self.choice(check.any_of, False, shape, value, old, path, out)
        if check.one_of:
            count += self.choice(check.one_of, True, shape, value, old, path, out)
        if check.negated is not None:
            inner: list[Problem] = []
            self.value(check.negated, shape, value, old, path, inner)
            if not inner:
                out.append(_forbidden(check.negated, value, path))
        return count

    def choice(
        self,
        clauses: tuple[Check, ...],
        only_one: bool,
        shape: Check | None,
        value: Any,
        old: Any,
        path: str,
        out: list[Problem],
    ) -> int:
        """anyOf or oneOf: the failures of the clause that got furthest are told beside that of the whole."""
        fitting: list[int] = []
        first_count = best_count = 0
        best: list[Problem] | None = None
        for index, clause in enumerate(clauses):
            inner: list[Problem] = []
            count = self.value(clause, shape, value, old, path, inner)
            if not inner:
                if not fitting:
                    first_count = count
                fitting.append(index)
                if not only_one:
                    return count
            elif best is None or count > best_count:
                best, best_count = inner, count
        if len(fitting) == 1:
            return first_count
        keyword = "oneOf" if only_one else "anyOf"
        if fitting:
            which = ", ".join(str(index + 1) for index in fitting)
            message = f"expected to fit exactly one of {len(clauses)} alternatives, fits {which} ({keyword})"
            hint = _fields_hint([clauses[index] for index in fitting], "give only one of")
            out.append(Problem(message, path, hint=hint, reason="FieldValueInvalid"))
            return 0
        message = f"fits none of {len(clauses)} alternatives ({keyword})"
        hint = _fields_hint(clauses, "give one of")
        out.append(Problem(message, path, hint=hint, reason="FieldValueInvalid"))
        out.extend(best or ())
        return best_count


# --------------------------------------------------------------------------------------------------- small helpers


_NUMBER = re.compile(r"[-+]?[0-9]{1,40}(\.[0-9]{1,40}(?:[eE][-+]?[0-9]{1,3})?)?")


def _types_without_quotes(text: str) -> frozenset[str]:
    """The JSON types that a text would fit without its quotes."""
    if text in ("true", "false"):
        return frozenset({"boolean"})
    found = _NUMBER.fullmatch(text)
    if found is None:
        return frozenset()
    return frozenset({"number"}) if found[1] else frozenset({"number", "integer"})


def _wrong_type(check: Check, value: Any, path: str) -> Problem:
    words = " or ".join(_TYPE_WORDS.get(kind, kind) for kind in check.types)
    found = type_word(value)
    if "integer" in check.types and isinstance(value, int) and not isinstance(value, bool):
        words = words.replace("an integer", "an integer of at most 64 bits")
    hint = ""
    if check.types == ("string",) and isinstance(value, int | float):
        hint = "put it in quotes"
    elif isinstance(value, str) and not _types_without_quotes(value).isdisjoint(check.types):
        hint = "take the quotes off"
    return Problem(f"expected {words}, found {found}", path, hint=hint, reason="FieldValueTypeInvalid")


def _counted(check: Check, what: str, found: int, word: str, path: str, out: list[Problem]) -> None:
    least, most = check.limits.get(f"min{what}"), check.limits.get(f"max{what}")
    if least is not None and found < least:
        out.append(_too_few(least, found, word, path))
    if most is not None and found > most:
        out.append(_too_many(most, found, word, path, "FieldValueTooMany"))


def _too_few(least: int, found: int, word: str, path: str) -> Problem:
    message = f"expected at least {least} {word}{'' if least == 1 else 's'}, found {found}"
    return Problem(message, path, reason="FieldValueInvalid")


def _too_many(most: int, found: int, word: str, path: str, reason: str) -> Problem:
    message = f"expected at most {most} {word}{'' if most == 1 else 's'}, found {found}"
    return Problem(message, path, reason=reason)


def _forbidden(clause: Check, value: Any, path: str) -> Problem:
    given = [name for name in clause.required if isinstance(value, dict) and name in value]
    if given and len(given) == len(clause.required):
        names = " and ".join(repr(name) for name in given)
        together = " together" if len(given) > 1 else ""
        return Problem(f"{names} may not be given here{together} (not)", path, reason="FieldValueInvalid")
    return Problem("fits what its schema rules out (not)", path, reason="FieldValueInvalid")


def _fields_hint(clauses: list[Check] | tuple[Check, ...], words: str) -> str:
    """What to do when clauses only tell which fields must be there."""
    names = [" with ".join(clause.required) for clause in clauses]
    if not all(names) or len(set(names)) < len(names) or len(names) > _SHOWN_CHOICES:
        return ""
    return f"{words} {', '.join(names)}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value) if -(2**127) < value < 2**127 else "an integer of more than 128 bits"
    return repr(value)


def _json(value: Any) -> str:
    return shortened(orjson.dumps(value).decode(), 80)


def _canonical(value: Any) -> Any:
    """Something hashable that is equal for values that are equal as JSON."""
    if isinstance(value, dict):
        return ("object", frozenset((key, _canonical(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("list", *map(_canonical, value))
    return ("boolean", value) if isinstance(value, bool) else value


# ----------------------------------------------------------------------------------------------------- old values


def _old_items(shape: Check | None, old: Any) -> Any:
    """A function from an item to its old value: only items of map lists can be told from each other."""
    if shape is None or shape.list_type != "map" or not isinstance(old, list):
        return lambda item: NOTHING
    named = by_keys(old, shape.list_keys)

    def find(item: Any) -> Any:
        keys = by_keys([item], shape.list_keys)
        return named.get(next(iter(keys)), NOTHING) if keys else NOTHING

    return find


def _same(shape: Check | None, value: Any, old: Any) -> bool:
    """Whether nothing changes; the order of a map list does not matter."""
    if isinstance(value, dict) and isinstance(old, dict) and shape is not None:
        if value.keys() != old.keys():
            return False
        for key, item in value.items():
            inner = shape.properties.get(key, shape.additional)
            if not _same(inner if isinstance(inner, Check) else None, item, old[key]):
                return False
        return True
    if isinstance(value, list) and isinstance(old, list) and shape is not None and shape.list_type == "map":
        find = _old_items(shape, old)
        return len(value) == len(old) and all(
            (was := find(item)) is not NOTHING and _same(shape.items, item, was) for item in value
        )
    return same_json(value, old)
