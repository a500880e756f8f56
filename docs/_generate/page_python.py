"""The Python reference: a page for each part of the core, and an index of all names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import griffe

from _generate.markdown import WIDTH, docstring, first_sentence, inline, signature_block, slug, table
from _generate.python_api import (
    Field,
    Package,
    decorated,
    deprecation_of,
    fields_of,
    is_protocol,
    kastra,
    parameters_of,
    retired_names,
)
from _generate.python_homes import FRONT_DOOR, PARTS, Part, Reference

__all__ = ["link_from", "python_pages"]


@cache
def _reference() -> Reference:
    return Reference(kastra())


def python_pages() -> dict[str, str]:
    """Path below docs/reference -> text."""
    reference = _reference()
    pages = {"python.md": _index(reference)}
    for part in PARTS:
        pages[f"python/{part.name}.md"] = _page(reference, part)
    return pages


def link_from(page: str) -> Callable[[str], str]:
    """Dotted path of a public name -> link as seen from a page beside ``python.md``; "" for what is not documented."""
    find = _reference().linker(page)

    def link(path: str) -> str:
        found = find(path)
        return f"python/{found}" if found else ""

    return link


# ------------------------------------------------------------------------------------------------ the index


def _index(reference: Reference) -> str:
    link = link_from("python.md")

    package = reference.package
    door = package.modules[FRONT_DOOR]
    rows = []
    for name in sorted(package.exports(door), key=str.lower):
        item = package.find(door, name)
        if item.path == f"{FRONT_DOOR}.{name}":
            rows.append([f"`{name}`", "Version of kastra-core.", ""])
            continue
        page, heading = reference.page_of(item)
        text = first_sentence(_text(item), link)
        rows.append([f"[`{name}`](python/{page}.md#{slug(heading)})", text])
    parts = [
        f"- [{part.title}](python/{part.name}.md): {inline(part.text, link)}"
        for part in PARTS
        if reference.pages[part.name]
    ]
    modules = [
        [f"[`{path}`](python/{part.name}.md#{slug(path)})", first_sentence(_text(package.modules[path]), link)]
        for part in PARTS
        for path in reference.pages[part.name]
    ]
    return "\n\n".join(
        [
            "# Python",
            "Made from the sources by `docs/generate.py`. What is listed is public; [stability](../stability.md) says "
            "what that promises. Most programs and plugins need only the names of `kastra_core`, of its errors and of "
            "`kastra_core.testing`.",
            "## Pages",
            "\n".join(parts),
            "## Names of kastra_core",
            "What `import kastra_core` offers. Each is imported when it is first used.",
            table(["name", "what it is"], [row[:2] for row in rows]),
            "## Modules",
            table(["module", "holds"], sorted(modules)),
        ]
    )


# ------------------------------------------------------------------------------------------------ a page


def _page(reference: Reference, part: Part) -> str:
    link = reference.linker(part.name)
    out = [f"# {part.title}", f"{inline(part.text, link)} Made from the sources by `docs/generate.py`."]
    for path in reference.pages[part.name]:
        out.extend(_module(reference, path, link))
    return "\n\n".join(filter(None, out))


def _module(reference: Reference, path: str, link: Callable[[str], str]) -> Iterator[str]:
    package = reference.package
    module = package.modules[path]
    yield f"## {path}"
    yield docstring(_text(module), link)
    items = [package.find(module, name) for name in reference.names(path)]
    names = dict(zip(reference.names(path), items))
    values = {name: item for name, item in names.items() if not isinstance(item, griffe.Class | griffe.Function)}
    yield _values(values, link)
    for name, item in names.items():
        heading = reference.heading_of(item)
        if isinstance(item, griffe.Class):
            yield from _class(package, name, heading, item, link)
        elif isinstance(item, griffe.Function):
            yield f"### {heading}"
            yield from _function(name, item, link, method=False)
    others = [f"[`{name}`]({link(package.find(module, name).path)})" for name in reference.elsewhere(path)]
    if others:
        yield f"`{path}` offers as well: {', '.join(others)}."
    retired = retired_names(module)
    if retired:
        rows = [
            [f"`{name}`", told.since, told.until, f"`{told.instead}`" if told.instead else ""]
            for name, told in retired.items()
        ]
        yield "Deprecated names:\n\n" + table(["name", "since", "until", "use"], rows)


def _values(values: dict[str, griffe.Object], link: Callable[[str], str]) -> str:
    """Constants and types of a module as headings would be too many: a table."""
    rows = []
    for name, item in values.items():
        assert isinstance(item, griffe.Attribute)
        value = str(item.value) if item.value is not None and len(str(item.value)) <= 80 else ""
        told = f"`{value}`" if value and "\n" not in value else f"`{item.annotation}`" if item.annotation else ""
        rows.append([f"`{name}`", told, inline(" ".join(_text(item).split()), link)])
    return table(["name", "value or type", "meaning"], rows)


def _text(item: griffe.Object) -> str:
    return item.docstring.value if item.docstring is not None else ""


def _class(package: Package, name: str, heading: str, cls: griffe.Class, link: Callable[[str], str]) -> Iterator[str]:
    yield f"### {heading}"
    fields = fields_of(cls)
    members = package.members(cls)
    bases = package.bases(cls)
    shown = ["Protocol"] if is_protocol(cls) else [base.rpartition(".")[2] for base in bases]
    constructor = members.get("__init__")
    if isinstance(constructor, griffe.Function):
        yield signature_block(f"class {name}", parameters_of(constructor, method=True), "")
    elif fields:
        yield signature_block(f"class {name}", _constructor(name, fields), "")
    else:
        yield f"```py\nclass {name}{f'({chr(44).join(shown)})' if shown else ''}\n```"
    if bases:
        told = (f"[`{base.rpartition('.')[2]}`]({link(base)})" if link(base) else f"`{base}`" for base in bases)
        yield f"Is a {', '.join(told)}."
    yield docstring(_text(cls), link)
    yield docstring(_text(constructor), link) if isinstance(constructor, griffe.Function) else ""
    rows = [
        [
            f"`{field.name}`",
            f"`{field.type}`",
            "required" if field.default is None else f"`{field.default}`",
            inline(" ".join(field.docstring.split()), link),
        ]
        for field in fields
    ]
    yield table(["field", "type", "default", "meaning"], rows)
    named = {field.name for field in fields}
    attributes = [
        [
            f"`{key}`",
            f"`{member.annotation}`" if member.annotation else "",
            inline(" ".join(_text(member).split()), link),
        ]
        for key, member in members.items()
        if isinstance(member, griffe.Attribute) and key not in named
    ]
    yield table(["attribute", "type", "meaning"], attributes)
    for key, member in members.items():
        if isinstance(member, griffe.Function) and key != "__init__":
            if key.startswith("__") and not _text(member):
                continue  # the syntax that it stands for says it all
            yield f"#### {heading}.{key}"
            yield from _function(key, member, link, method=True)
        elif isinstance(member, griffe.Class):
            yield from _class(package, f"{name}.{key}", f"{heading}.{key}", member, link)


def _constructor(name: str, fields: Sequence[Field]) -> list[str]:
    """The arguments that attrs makes of fields; of many, those that are needed."""
    keywords = [field for field in fields if field.keyword]
    words = [field.name + ("=..." if field.default is not None else "") for field in fields if not field.keyword]
    words += ["*"] if keywords else []
    words += [field.name + ("=..." if field.default is not None else "") for field in keywords]
    if len(f"class {name}({', '.join(words)})") <= WIDTH:
        return words
    return [*(word for word in words if not word.endswith("=...")), "..."]


def _function(name: str, function: griffe.Function, link: Callable[[str], str], *, method: bool) -> Iterator[str]:
    before = "".join(f"@{word}\n" for word in _DECORATORS if decorated(function, word))
    start = f"{before}{'async ' if 'async' in function.labels else ''}def {name}"
    returns = f" -> {function.returns}" if function.returns is not None else ""
    yield signature_block(
        start, parameters_of(function, method=method and not decorated(function, "staticmethod")), returns
    )
    told = deprecation_of(function)
    if told is not None:
        yield f"Deprecated since {told.since}, goes with {told.until}" + (
            f"; use `{told.instead}`." if told.instead else "."
        )
    yield docstring(_text(function), link)


_DECORATORS: Sequence[str] = ("classmethod", "staticmethod", "abstractmethod", "pytest.fixture")
