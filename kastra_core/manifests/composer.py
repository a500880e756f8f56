"""YAML text to JSON-compatible objects, with the C parser where PyYAML has it.

PyYAML's parser makes nodes; :class:`Builder` makes objects of them in one walk that also checks keys, tags, depth and
what aliases expand to. Scalars are typed by :mod:`.scalars` while the nodes are made: a node's ``tag`` is the
result of :func:`.scalars.read_plain`, or the tag as text when the author wrote one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, ScalarNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from kastra_core.manifests.scalars import MERGE, Refused, read_plain

try:
    from yaml._yaml import CParser
except ImportError:  # PyYAML without libyaml
    CParser = None  # type: ignore[assignment,misc]

__all__ = ["HAS_LIBYAML", "Builder", "Finding", "TooDeepError", "compose_one", "new_parser"]

HAS_LIBYAML = CParser is not None
_CORE = "tag:yaml.org,2002:"
_SURROGATE = Refused(
    "a lone surrogate (\\ud800 to \\udfff) is no character", "write the character itself, or \\U with eight digits"
)


_WORDS = frozenset({"on", "off", "yes", "no"})
"""Booleans for YAML 1.1; as a key each is the word that it is for YAML 1.2 (``retry: {on: [Timeout]}``)."""


class TooDeepError(yaml.MarkedYAMLError):
    """Lists and mappings are nested beyond the limit."""


def _resolve(_kind: Any, value: Any, implicit: Any) -> Any:
    if value is None or not implicit[0]:
        return None
    return read_plain(value)


def _resolve_checked(_kind: Any, value: Any, implicit: Any) -> Any:
    # libyaml refuses escapes of surrogates itself.
    if value is not None and any("\ud800" <= char <= "\udfff" for char in value):
        return _SURROGATE
    return _resolve(_kind, value, implicit)


def _any_tag(*_: Any) -> None:
    """For places only: values do not matter."""


class _PureParser(Reader, Scanner, Parser, Composer):
    resolve = staticmethod(_resolve_checked)

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)


if CParser is not None:

    class _FastParser(CParser):
        resolve = staticmethod(_resolve)


def new_parser(text: str, depth: int, *, pure: bool = False) -> Any:
    """Return a parser with ``check_node`` and ``get_node``; nesting beyond ``depth`` is a TooDeepError."""
    parser: Any = _PureParser(text) if pure or not HAS_LIBYAML else _FastParser(text)
    # The parser tells of every node it enters and leaves. Its own recursion is in C and would end the process.
    stack: list[Any] = []
    push = stack.append

    def enter(parent: Any, _index: Any) -> None:
        push(parent)
        if len(stack) > depth + 1:
            mark = parent.start_mark
            raise TooDeepError(None, None, f"lists and mappings are nested more than {depth} deep", mark)

    parser.descend_resolver = enter
    parser.ascend_resolver = stack.pop
    return parser


def compose_one(text: str, depth: int) -> Any:
    """Return the root node of the first document, for places; None when there is none or it has an error."""
    try:
        parser = new_parser(text, depth)
        parser.resolve = _any_tag
        return parser.get_node() if parser.check_node() else None
    except (yaml.YAMLError, RecursionError, UnicodeError):
        return None


class Finding(NamedTuple):
    """A problem at an offset (characters from the start of the parsed text)."""

    offset: int
    message: str
    path: str = ""
    hint: str = ""
    first: int = -1
    """Offset whose line number completes the hint, or -1."""


class Builder:
    """Makes objects of nodes; what is wrong is collected in ``findings``.

    Args:
        depth: most lists and mappings within each other.
        nodes: most scalars, lists and mappings of one document, with aliases expanded.
    """

    def __init__(self, depth: int, nodes: int) -> None:
        self.depth, self.nodes = depth, nodes
        self.findings: list[Finding] = []
        self._left = nodes

    def document(self, root: Any) -> Any:
        """Return the object of one document."""
        self._left = self.nodes
        try:
            return self._build(root, 1, "")
        except _StopError:
            return None

    def _problem(self, node: Any, path: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding(node.start_mark.index, message, path, hint))

    def _build(self, node: Any, level: int, path: str) -> Any:
        kind = node.__class__
        if kind is ScalarNode:
            tag = node.tag
            if tag is None:
                return node.value
            return tag[0] if tag.__class__ is tuple else self._special(node, path)
        items: Any = node.value
        self._left -= len(items) + 1
        if self._left < 0:
            self._stop(node, f"the document has more than {self.nodes} values (aliases count as what they expand to)")
        if level > self.depth:
            self._stop(node, f"lists and mappings are nested more than {self.depth} deep")
        level += 1
        if kind is MappingNode:
            return self._mapping(node, items, level, path)
        if node.tag is not None and node.tag != f"{_CORE}seq":
            self._special(node, path)
        out = []
        for item in items:
            # Most values are scalars; a call for each would cost as much as the parsing.
            if item.__class__ is ScalarNode and (tag := item.tag).__class__ is not str:
                if tag is None:
                    out.append(item.value)
                    continue
                if tag.__class__ is tuple:
                    out.append(tag[0])
                    continue
            out.append(self._build(item, level, f"{path}[{len(out)}]"))
        return out

    def _mapping(self, node: Any, items: Any, level: int, path: str) -> dict[str, Any]:
        if node.tag is not None and node.tag != f"{_CORE}map":
            self._special(node, path)
        out: dict[str, Any] = {}
        merged: dict[str, Any] | None = None
        for key_node, value_node in items:
            if key_node.tag is None and key_node.__class__ is ScalarNode:
                key = key_node.value
            elif key_node.tag is MERGE:
                merged = self._merge(value_node, level, path, merged)
                continue
            else:
                key = self._key(key_node, path)
                if key is None:
                    self._build(value_node, level, path)
                    continue
            if key in out:
                self._duplicate(node, key_node, key, path)
            if value_node.__class__ is ScalarNode:
                tag: Any = value_node.tag
                if tag is None:
                    out[key] = value_node.value
                    continue
                if tag.__class__ is tuple:
                    out[key] = tag[0]
                    continue
            out[key] = self._build(value_node, level, f"{path}.{key}" if path else key)
        return out if merged is None else {**merged, **out}

    def _merge(self, node: Any, level: int, path: str, merged: dict[str, Any] | None) -> dict[str, Any]:
        """Return what ``<<`` brings: the first source of a key wins."""
        out = {} if merged is None else merged
        found = self._build(node, level, path)
        for source in found if isinstance(found, list) else [found]:
            if isinstance(source, dict):
                for key, value in source.items():
                    out.setdefault(key, value)
            else:
                self._problem(node, path, "'<<' takes a mapping or a list of mappings", "name one with *anchor")
        return out

    def _key(self, node: Any, path: str) -> str | None:
        if node.__class__ is not ScalarNode:
            hint = "put a template such as {{ x }} in quotes" if node.__class__ is MappingNode else ""
            word = "mapping" if node.__class__ is MappingNode else "list"
            self._problem(node, path, f"a key must be text, found a {word}", hint)
            return None
        tag: Any = node.tag
        if isinstance(tag, tuple):
            if isinstance(tag[0], bool) and node.value.lower() in _WORDS:
                return str(node.value)
            shown = node.value if node.value else "null"
            word = {bool: "a boolean", type(None): "null"}.get(type(tag[0]), "a number")
            self._problem(node, path, f"the key {shown} is {word}; keys are text", f'write "{node.value}" in quotes')
            return None
        value = self._special(node, path)
        return value if isinstance(value, str) else None

    def _duplicate(self, node: Any, again: Any, key: str, path: str) -> None:
        first = next(k for k, _ in node.value if k.value == key).start_mark.index
        where = f"{path}.{key}" if path else key
        message = f"the key {key!r} appears twice"
        self.findings.append(
            Finding(again.start_mark.index, message, where, "remove one; the first is in line ", first)
        )

    def _special(self, node: Any, path: str) -> Any:
        """A scalar with a written tag, or one that is refused; a collection with a tag."""
        tag: Any = node.tag
        if isinstance(tag, Refused):
            self._problem(node, path, tag.message, tag.hint)
            return None
        if tag is MERGE:
            return node.value
        scalar = node.__class__ is ScalarNode
        name = tag.removeprefix(_CORE) if tag.startswith(_CORE) else ""
        if scalar and not HAS_LIBYAML and _resolve_checked(None, node.value, (False, True)) is _SURROGATE:
            self._problem(node, path, _SURROGATE.message, _SURROGATE.hint)
            return None
        if scalar and name in ("str", "timestamp"):
            return node.value
        if scalar and name in _TYPES:
            meaning = read_plain(node.value)
            value = meaning[0] if isinstance(meaning, tuple) else meaning
            if name == "float" and type(value) is int:
                value = float(value)
            if meaning is not None and meaning is not MERGE and isinstance(value, _TYPES[name]):
                return value
            self._problem(node, path, f"{node.value[:40]!r} is no value of the tag !!{name}", "remove the tag")
            return None
        shown = f"!!{name}" if name else tag
        if name.startswith(("python/", "ruby/", "java/")) or "python/" in tag:
            self._problem(node, path, f"the tag {shown} is refused: data never runs code", "remove the tag")
        elif name == "binary":
            self._problem(
                node, path, "binary data (!!binary) has no place in a manifest", "write base64 text without the tag"
            )
        else:
            self._problem(node, path, f"the tag {shown} is not known", "remove the tag; a manifest needs none")
        return None

    def _stop(self, node: Any, message: str) -> None:
        self._problem(node, "", message, "simplify the document")
        raise _StopError


class _StopError(Exception):
    """The rest of a document is not looked at."""


_TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "null": type(None)}
