"""Reading and changing one key of a configuration file: ``kastra config get|set|unset``.

A change leaves the rest of the text, with its comments, as it is: the text is changed where the parser says that the
key is. What comes out is read again; when it does not mean what it should (rare shapes: anchors, flow mappings over
several lines), the whole is written anew and loses its comments.
"""

from __future__ import annotations

import os
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
import orjson
from yaml.nodes import MappingNode, ScalarNode

from kastra_core.api.meta import JsonObject
from kastra_core.errors import ConfigError, ManifestError, nearest
from kastra_core.manifests import dump, parse
from kastra_core.manifests.composer import compose_one
from kastra_core.secrets import SecretValue
from kastra_core.settings import (
    NOTHING,
    Settings,
    camel,
    check_literal,
    literals_of,
    look_up,
    read_document,
    read_settings,
    refuse_secret_in_url,
    split_key,
)

__all__ = ["change", "get", "remove"]


def get(path: Path, dotted: str) -> Any:
    """See :func:`kastra_core.config.get_value`."""
    _known(split_key(dotted))
    document = read_document(path)
    value = NOTHING if document is None else look_up(document.data, dotted)
    return None if value is NOTHING else value


def change(path: Path, dotted: str, value: str) -> Any:
    """See :func:`kastra_core.config.set_value`."""
    parts = split_key(dotted)
    _known(parts)
    text, document = _text_of(path)
    data = document.data if document is not None else {}
    typed = _typed(value)
    candidates = [typed] if isinstance(typed, str) else [typed, value]
    candidates.append([part.strip() for part in value.split(",") if part.strip()])
    refused: list[ConfigError] = []
    for candidate in candidates:
        changed = _with(data, parts, candidate)
        refuse_secret_in_url(changed, None)
        try:
            read_settings(changed, None)
        except ConfigError as error:
            refused.append(error)
            continue
        literal = next((key for key in literals_of(changed)), None)
        if literal is not None:
            check_literal(path, literal, None)
        _write(path, _changed_text(text, data, parts, candidate, changed), secret=literal is not None)
        return candidate
    # Where a text is wanted, what is wrong with the text is of interest, not that it looks like a number.
    raise refused[1 if "expected a string" in str(refused[0]) else 0]


def remove(path: Path, dotted: str) -> bool:
    """See :func:`kastra_core.config.unset_value`."""
    parts = split_key(dotted)
    text, document = _text_of(path)
    if document is None or look_up(document.data, dotted) is NOTHING:
        _known(parts)  # what is in the file goes, known or not: so a wrong one is mended
        return False
    changed = _without(document.data, parts)
    _write(path, _shortened_text(text, parts, changed), secret=any(literals_of(changed)))
    return True


def _known(parts: list[str]) -> None:
    """Raise ConfigError when no setting is called so."""
    kind: Any = Settings
    for depth, part in enumerate(parts):
        where = ".".join(parts[:depth])
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            kind = next(arg for arg in get_args(kind) if arg is not type(None))
            origin = get_origin(kind)
        if kind is Any or kind is SecretValue:
            return
        if origin is not None and origin is not tuple:
            kind = get_args(kind)[1]
        elif attrs.has(kind):
            names = {camel(attribute.name): attribute.name for attribute in attrs.fields(kind)}
            if part not in names:
                near = nearest(part, list(names))
                hint = f"did you mean {near!r}?" if near else f"known settings: {', '.join(sorted(names))}"
                raise ConfigError(f"{'.'.join(parts)}: unknown setting {part!r}; {hint}")
            kind = get_type_hints(kind)[names[part]]
        else:
            raise ConfigError(f"{'.'.join(parts)}: {where} is no object")


def _text_of(path: Path) -> tuple[str, Any]:
    document = read_document(path)
    return (path.read_bytes().decode("utf-8-sig", "replace") if path.exists() else "", document)


def _typed(value: str) -> Any:
    try:
        (document,) = parse(f"value: {value}\n")
    except (ManifestError, ValueError):
        return value
    return document.data["value"] if set(document.data) == {"value"} else value


def _with(data: JsonObject, parts: list[str], value: Any) -> JsonObject:
    first, *rest = parts
    below = data.get(first)
    if rest:
        value = _with(below if isinstance(below, dict) else {}, rest, value)
    return {**data, first: value}


def _without(data: JsonObject, parts: list[str]) -> JsonObject:
    """Objects that are empty then go too."""
    first, *rest = parts
    out = {key: value for key, value in data.items() if key != first}
    if rest and (below := _without(data[first], rest)):
        return {**data, first: below}
    return out


def _write(path: Path, text: str, *, secret: bool) -> None:
    """Replace the file at once; others may not read it when it holds a secret."""
    target = path.resolve()  # a link stays a link
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            temporary = Path(name)
            temporary.chmod(0o600 if secret else mode)
            temporary.replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as err:
        raise ConfigError(
            f"{path}: the file cannot be written: {err.strerror}; check its directory's permissions"
        ) from err


# ---------------------------------------------------------------------------------------------- text

_DEPTH = 100


def _changed_text(text: str, data: JsonObject, parts: Sequence[str], value: Any, wanted: JsonObject) -> str:
    """Return ``text`` (which means ``data``) with ``value`` at ``parts``, so that it means ``wanted``."""
    return _checked(_with_value(text, data, list(parts), value), wanted)


def _shortened_text(text: str, parts: Sequence[str], wanted: JsonObject) -> str:
    """Return ``text`` without the key ``parts``, so that it means ``wanted``."""
    # The object that became empty goes, not only its last key.
    known, remaining = list(parts[:1]), wanted
    for part in parts[1:]:
        if known[-1] not in remaining:
            break
        remaining = remaining[known[-1]]
        known.append(part)
    return _checked(_without_lines(text, known), wanted)


def _checked(text: str | None, wanted: JsonObject) -> str:
    if text is not None:
        try:
            found = [document.data for document in parse(text)]
        except ManifestError:
            found = []
            if not wanted and not _content(text):
                return text
        if found == [wanted]:
            return text
    return dump([wanted]) if wanted else ""


def _content(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


def _walk(root: Any, parts: list[str]) -> list[tuple[Any, Any, Any]]:
    """Return (mapping, key node, value node) of each part, as far as they exist."""
    out: list[tuple[Any, Any, Any]] = []
    node = root
    for part in parts:
        if not isinstance(node, MappingNode):
            break
        pair = next(((key, value) for key, value in node.value if key.value == part), None)
        if pair is None:
            break
        out.append((node, *pair))
        node = pair[1]
    return out


def _inline(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return orjson.dumps(value).decode()
    text = dump([{"x": value}]).removeprefix("x:").strip("\n")
    return (orjson.dumps(value).decode() if "\n" in text else text).strip()


def _end(text: str, node: Any) -> int:
    """Offset after the last character of a value; the parser counts the blank lines behind a block to it."""
    end = int(node.end_mark.index)
    if isinstance(node, ScalarNode) and node.style not in ("|", ">"):
        return end
    if getattr(node, "flow_style", False):
        return end
    if isinstance(node, MappingNode) and node.value:
        return _end(text, node.value[-1][1])
    if not isinstance(node, ScalarNode) and node.value:
        return _end(text, node.value[-1])
    return int(node.start_mark.index) + len(text[node.start_mark.index : end].rstrip())


def _with_value(text: str, data: JsonObject, parts: list[str], value: Any) -> str | None:
    if not data:
        separator = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{separator}{dump([_nest(parts, value)])}"
    root = compose_one(text, _DEPTH)
    if not isinstance(root, MappingNode):
        return None
    found = _walk(root, parts)
    if len(found) == len(parts):
        mapping, key, node = found[-1]
        start, end = node.start_mark.index, _end(text, node)
        if not mapping.flow_style and not (isinstance(node, ScalarNode) or node.flow_style):
            # A block gives way to a block; what stands in its place inline would need another indentation.
            begin, space = key.start_mark.index, " " * key.start_mark.column
            lines = dump([{parts[-1]: value}]).rstrip("\n").replace("\n", f"\n{space}")
            return f"{text[:begin]}{lines}{text[end:]}"
        space = " " if text[start - 1 : start] == ":" else ""
        return f"{text[:start]}{space}{_inline(value)}{text[end:]}"
    mapping = found[-1][2] if found else root
    rest = parts[len(found) :]
    if isinstance(mapping, ScalarNode) and found and not mapping.value:
        indent = found[-1][1].start_mark.column + 2
        return _insert(text, mapping.start_mark.index, indent, _nest(rest, value))
    if not isinstance(mapping, MappingNode):
        return None
    if mapping.flow_style:
        at = mapping.end_mark.index - 1
        comma = ", " if mapping.value else ""
        inner = orjson.dumps(_nest(rest, value)).decode()[1:-1]
        return f"{text[:at].rstrip()}{comma}{inner}{text[at:]}"
    return _insert(text, _end(text, mapping), mapping.value[0][0].start_mark.column, _nest(rest, value))


def _insert(text: str, offset: int, indent: int, data: JsonObject) -> str:
    """Put ``data`` on lines of its own after the line of ``offset``."""
    at = text.find("\n", offset)
    head, tail = (text, "") if at < 0 else (text[:at], text[at + 1 :])
    lines = "".join(" " * indent + line + "\n" for line in dump([data]).splitlines())
    return f"{head}\n{lines}{tail}"


def _nest(parts: Sequence[str], value: Any) -> JsonObject:
    *outer, last = parts
    out: JsonObject = {last: value}
    for part in reversed(outer):
        out = {part: out}
    return out


def _without_lines(text: str, parts: list[str]) -> str | None:
    found = _walk(compose_one(text, _DEPTH), parts)
    if len(found) < len(parts):
        return None
    mapping, key, value = found[-1]
    if mapping.flow_style:
        return None
    begin = text.rfind("\n", 0, key.start_mark.index) + 1
    end = text.find("\n", max(_end(text, value), key.end_mark.index))
    return text[:begin] + (text[end + 1 :] if end >= 0 else "")
