"""Every hook with its contract, and the record that it yields."""

from __future__ import annotations

from collections.abc import Callable

import griffe

from _generate.markdown import docstring, inline, table
from _generate.page_python import link_from
from _generate.python_api import decorated, fields_of, kastra

__all__ = ["hooks_page"]

_SPECS = "kastra_core.hookspecs"
_RECORDS = "kastra_core.registrations"
_PARTS = ("kastra_core.api.kind.GroupVersionKind", "kastra_core.api.kind.PrinterColumn", "kastra_core.api.kind.Scale")
"""Of what records are made."""


def hooks_page() -> str:
    """Hooks in the order of the module, then records by name."""
    package, link = kastra(), link_from("hooks.md")
    module = package.modules[_SPECS]
    parts = [
        "# Hooks",
        f"Made from `{_SPECS}` and `{_RECORDS}` by `docs/generate.py`. "
        "The [guide](../plugins/index.md) shows them at work.",
        docstring(module.docstring.value if module.docstring else "", link),
    ]
    for name, item in module.members.items():
        if isinstance(item, griffe.Function) and decorated(item, "hookspec"):
            record = str(item.returns).partition("[")[2].rstrip("]")
            parts += [f"## {name}", f"Yields [`{record}`](#{record.lower()}).", _text(item, link)]
    parts.append("## Records")
    records = package.modules[_RECORDS]
    found = [package.find(records, name) for name in package.exports(records)]
    found += [package.find(package.modules[path.rpartition(".")[0]], path.rpartition(".")[2]) for path in _PARTS]
    for cls in sorted(found, key=lambda cls: cls.name):
        assert isinstance(cls, griffe.Class)
        parts += [f"### {cls.name}", _text(cls, link), _fields(cls, link)]
    return "\n\n".join(filter(None, parts))


def _text(item: griffe.Object, link: Callable[[str], str]) -> str:
    return docstring(item.docstring.value if item.docstring else "", link)


def _fields(cls: griffe.Class, link: Callable[[str], str]) -> str:
    rows = [
        [
            f"`{field.name}`",
            f"`{field.type}`",
            "required" if field.default is None else f"`{field.default}`",
            inline(" ".join(field.docstring.split()), link),
        ]
        for field in fields_of(cls)
    ]
    return table(["field", "type", "default", "meaning"], rows)
