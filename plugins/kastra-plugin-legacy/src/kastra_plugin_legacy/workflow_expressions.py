"""Expressions in older workflows, alone or in braces, as CEL at one place."""

from __future__ import annotations

import re

from kastra_core.migration import cel_literal
from kastra_plugin_legacy.workflow_cel import CHOICE, OR, SUM, Code, Path, checked, truth
from kastra_plugin_legacy.workflow_js import Arrow, Member, Name, Tree, UntranslatableError, parse_js
from kastra_plugin_legacy.workflow_placeholders import QUOTED, VARIABLE, Placeholder, Plain, scan
from kastra_plugin_legacy.workflow_scope import Scope
from kastra_plugin_legacy.workflow_translate import path_of, to_cel, truth_of

__all__ = ["code_of", "condition", "equals", "expression", "truth_in"]

_PATH = re.compile(r"[A-Za-z_$][\w$]*(?:\??\.[A-Za-z_][\w$-]*|\[\s*(?:\d+|'[^'\\\n]*'|\"[^\"\\\n]*\")\s*\])*")
_PART = re.compile(r"\??\.([A-Za-z_][\w$-]*)|\[\s*(?:(\d+)|'([^'\\\n]*)'|\"([^\"\\\n]*)\")\s*\]")
_KEPT_FILTERS = frozenset({"json", "tojson", "to_json", "safe", "raw", "string", "stringify"})


def expression(source: str, scope: Scope, default: str = "null") -> Code:
    """Return the CEL of one expression, with ``default`` where it has no value.

    Raises:
        UntranslatableError
    """
    code, tree = code_of(source, scope)
    if code.absent:
        raise UntranslatableError("it is never there")
    made = code.value(default)
    if scope.opaque and made.types is not None:
        made = Code(text=f"dyn({made.text})")
    checked(made.text)
    if not code.guards:
        scope.need(path_of(tree))
    return made


def condition(source: str, scope: Scope) -> str:
    """Return the CEL that is true where a condition counts as true.

    Raises:
        UntranslatableError
    """
    text = source.strip()
    tags = list(scan(text))
    if len(tags) == 1 and isinstance(tags[0], Placeholder):
        text = tags[0].inner
    elif any(isinstance(tag, Placeholder) for tag in tags):
        text = _joined(tags)
    elif VARIABLE.search(text):
        text = re.sub(r"(?<![\w$'\"])\$(?=[A-Za-z_])", "", text)
    return checked(truth_in(text, scope, empty_list=True).text)


def _joined(tags: list[Plain | Placeholder]) -> str:
    """One expression of placeholders within an expression: ``${a} > 3``, ``'{{a}}' === 'x'``."""
    out = ""
    for at, tag in enumerate(tags):
        if isinstance(tag, Plain):
            out += tag.text
            continue
        quote = next((mark for mark in "'\"" if QUOTED.sub("", out).count(mark) % 2), "")
        if not quote and "`" not in out:
            out += f"({tag.inner})"
            continue
        after = tags[at + 1] if at + 1 < len(tags) else None
        if not out.endswith(quote) or not isinstance(after, Plain) or not after.text.startswith(quote) or not quote:
            raise UntranslatableError("a text in it has a placeholder")
        out = f"{out[:-1]}String({tag.inner})"
        tags[at + 1] = Plain(after.text[1:])
    return out


def code_of(source: str, scope: Scope) -> tuple[Code, Tree]:
    """Return the CEL of an expression with what it asks for, and its tree.

    Raises:
        UntranslatableError
    """
    text, filters = _filters(source)
    tree, inner = _tree(text, scope)
    if inner is not scope:
        raise UntranslatableError("a function is no value")
    code = to_cel(tree, scope.resolve)
    for name in filters:
        code = _filtered(code, name, scope)
    return code, tree


def truth_in(source: str, scope: Scope, *, empty_list: bool) -> Code:
    """Return the CEL that is true where an expression counts as true.

    Args:
        empty_list: an empty list counts as true, as in JavaScript and not in Handlebars.
    Raises:
        UntranslatableError
    """
    text, filters = _filters(source)
    if filters:
        return truth(code_of(source, scope)[0], empty_list=empty_list)
    tree, scope = _tree(text, scope)
    return truth_of(tree, scope.resolve, empty_list=empty_list)


def _tree(text: str, scope: Scope) -> tuple[Tree, Scope]:
    """The tree of an expression, of a function its body, and what names in it mean."""
    path = _as_path(text, scope)
    if path is not None:
        tree: Tree = Name(str(path[0]))
        for part in path[1:]:
            tree = Member(tree, part)
        return tree, scope
    tree = parse_js(text, scope.plan.long_names)
    if isinstance(tree, Arrow):
        inner = Scope(scope.plan, scope.step, scope.moment, tree.parameters, scope.own_input, scope.agent)
        return tree.body, inner
    return tree, scope


def _as_path(source: str, scope: Scope) -> Path | None:
    """A path whose names have hyphens; None for anything else, and for one in which a hyphen subtracts."""
    text = source.strip()
    root, _, rest = text.partition(".")
    if root in ("step", "steps"):
        for name in scope.plan.known:
            # A step may have any name: `steps.load data.output`.
            if rest == name or rest.startswith(f"{name}."):
                below = rest[len(name) :]
                if re.fullmatch(r"(\.[\w$-]+)*", below):
                    return (root, name, *below.split(".")[1:])
    if "-" not in text or _PATH.fullmatch(text) is None:
        return None
    found = re.match(r"[\w$]+", text)
    assert found is not None
    parts: list[str | int] = [found[0]]
    for part in _PART.finditer(text, found.end()):
        name, index, single, double = part.groups()
        parts.append(
            int(index) if index is not None else next(one for one in (name, single, double) if one is not None)
        )
    known = scope.plan.long_names
    if parts[0] not in ("step", "steps") and any(
        isinstance(part, str) and re.search(r"-(\d|\Z|-)", part) and part not in known for part in parts
    ):
        return None
    return tuple(parts)


def equals(source: str, word: str, scope: Scope) -> str:
    """Return the CEL that is true where an expression gives a text.

    Raises:
        UntranslatableError
    """
    code, _ = code_of(source, scope)
    text = f"dyn({code.text})" if code.types is not None else code.at(SUM)
    return checked(" && ".join([*code.tests, f"{text} == {cel_literal(word)}"]))


def _filters(source: str) -> tuple[str, list[str]]:
    """An expression and the filters after it: ``x | json``."""
    bare = QUOTED.sub(lambda found: "_" * len(found[0]), source).replace("||", "__")
    parts, at = [], 0
    for found in re.finditer(r"\|", bare):
        parts.append(source[at : found.start()])
        at = found.end()
    parts.append(source[at:])
    return parts[0], [part.strip() for part in parts[1:]]


def _filtered(code: Code, text: str, scope: Scope) -> Code:
    found = re.fullmatch(r"(\w+)\s*(?:[:(]\s*(.*?)\s*\)?)?", text, re.DOTALL)
    name = found[1] if found is not None else text
    if name in _KEPT_FILTERS:
        return code
    if found is not None and name == "default" and found[2]:
        other, _ = code_of(found[2], scope)
        if code.absent:
            return other
        if not code.tests:
            return code
        mixed = code.types is not None and other.types is not None and code.types != other.types
        first = f"dyn({code.text})" if mixed else code.at(OR)
        return Code(text=f"{' && '.join(code.tests)} ? {first} : {other.asked().at(OR)}", level=CHOICE)
    raise UntranslatableError(f"there is no filter {name!r}")
