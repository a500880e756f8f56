"""Python functions that somebody has to write, offered as stubs: a signature, what it is for, and an honest error."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.migration.names import identifier
from kastra_core.migration.secret_texts import one_line

__all__ = ["STUB_MODULE", "Stubs"]

STUB_MODULE = "migrated_tools"
_TYPES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list[Any]",
    "object": "dict[str, Any]",
}


@attrs.frozen(kw_only=True)
class _Stub:
    function: str
    schema: Mapping[str, Any] | None
    description: str
    origin: str


class Stubs:
    """Collects stubs; falsy while there are none."""

    def __init__(self) -> None:
        self._stubs: dict[str, dict[str, _Stub]] = {}

    def __bool__(self) -> bool:
        return bool(self._stubs)

    @property
    def modules(self) -> list[str]:
        """Names of the modules that the stubs make, sorted."""
        return sorted(self._stubs)

    def add(
        self,
        name: str,
        *,
        schema: Mapping[str, Any] | None = None,
        description: str = "",
        origin: str = "",
        module: str = STUB_MODULE,
    ) -> str:
        """Offer a function. Return ``module:function``, for ``spec.python.function`` of a Tool.

        The same name twice gives one function when both have the same schema, else a second one.

        Args:
            name: what the source calls it; an identifier is made of it.
            schema: JSON schema of its arguments (an object); None: it takes whatever it is given.
            description: what it does.
            origin: where it stood ("pod.yaml:23, inline JavaScript"), for who writes it.
        """
        stubs = self._stubs.setdefault(module, {})
        plain = function = identifier(name, "tool")
        number = 1
        while function in stubs and stubs[function].schema != schema:
            number += 1
            function = f"{plain}_{number}"
        stubs.setdefault(function, _Stub(function=function, schema=schema, description=description, origin=origin))
        return f"{module}:{function}"

    def files(self) -> dict[str, str]:
        """Path -> text of each module."""
        return {f"{module}.py": _module(stubs) for module, stubs in sorted(self._stubs.items())}


def _module(stubs: Mapping[str, _Stub]) -> str:
    bodies = "".join(f"\n\n{_function(stub)}" for stub in stubs.values())
    imports = "from typing import Any\n" if "Any" in bodies else ""
    head = '"""Functions that could not be migrated: write their bodies."""\n\nfrom __future__ import annotations\n'
    return f"{head}\n{imports}{bodies}" if imports else f"{head}{bodies}"


def _function(stub: _Stub) -> str:
    text = one_line(stub.description) or f"Stand in for {stub.function}."
    doc = text.replace("\\", "\\\\").replace('"', "'")
    origin = one_line(stub.origin).replace("\\", "\\\\").replace('"', "'")
    lines = [f"def {stub.function}({_parameters(stub.schema)}) -> Any:", f'    """{doc}']
    if origin:
        lines += ["", f"    Made from {origin}."]
    lines.append('    """')
    if not origin:
        lines[1:] = [f'    """{doc}"""']
    told = f"{stub.function} is not written yet" + (f" (made from {origin})" if origin else "")
    lines.append(f"    raise NotImplementedError({told!r})")
    return "\n".join(lines) + "\n"


def _parameters(schema: Mapping[str, Any] | None) -> str:
    properties = schema.get("properties") if schema is not None else None
    if not isinstance(properties, Mapping) or not all(_is_name(name) for name in properties):
        return "**arguments: Any"
    required = schema.get("required") if schema is not None else ()
    needed = {one for one in required if isinstance(one, str)} if isinstance(required, (list, tuple)) else set()
    first = [f"{name}: {_type(item)}" for name, item in properties.items() if name in needed]
    rest = [f"{name}: {_optional(item)} = None" for name, item in properties.items() if name not in needed]
    return ", ".join(["*", *first, *rest]) if first or rest else ""


def _is_name(name: str) -> bool:
    # Python takes other spellings of a name, such as its ligatures, for the same one.
    same = unicodedata.normalize("NFKC", name) == name
    return name.isidentifier() and same and not keyword.iskeyword(name) and not name.startswith("_")


def _type(schema: Any) -> str:
    word = schema.get("type") if isinstance(schema, Mapping) else None
    return _TYPES.get(word, "Any") if isinstance(word, str) else "Any"


def _optional(schema: Any) -> str:
    word = _type(schema)
    return word if word == "Any" else f"{word} | None"
