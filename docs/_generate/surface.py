"""The public API as lines: ``AREA NAME: WHAT``, sorted. What is in none of them is nobody's promise.

cli       a command, its arguments and options
config    a key of a configuration file
env       an environment variable
hook      a hook of plugins; the fields of its records are among the names of Python
kind      a kind of the core or of a first-party plugin: its names, versions and fields
offer     what else first-party plugins offer by name: operations, store schemes, model providers, migrators
python    a name in ``__all__`` of a public module, and the public members of a class
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import attrs
import click
import griffe

from _generate.first_party import commands, plugins, registry
from _generate.kind_fields import KindField, fields_of_kind
from _generate.python_api import (
    Package,
    decorated,
    deprecation_of,
    fields_of,
    is_protocol,
    kastra,
    retired_names,
    signature,
)
from _generate.settings_data import settings, variables

__all__ = ["MOVED", "Entry", "api_entries", "parse_line", "python_entries", "render"]

MOVED = "looked up in"
"""How a name begins that a module's ``__getattr__`` finds elsewhere."""
_RETIRED = " [deprecated"
_LONGEST_VALUE = 80


@attrs.frozen(order=True)
class Entry:
    """A public name: what it is, and what its deprecation says ("" when it is not deprecated)."""

    name: str
    what: str
    deprecated: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.what}" + (f" {self.deprecated}" if self.deprecated else "")


def parse_line(line: str) -> Entry:
    """The entry of a line of ``docs/api.txt``."""
    name, _, what = line.partition(": ")
    what, found, deprecated = what.partition(_RETIRED)
    return Entry(name, what, f"{_RETIRED.strip()}{deprecated}" if found else "")


def render(entries: Iterable[Entry], version: str) -> str:
    """The text of ``docs/api.txt``."""
    head = (
        f"# The public API of kastra-core {version} and its plugins. Made by `python docs/generate.py --api`.",
        "# docs/stability.md says what it promises, docs/changes/README.md how a change of it is told.",
    )
    return "\n".join([*head, *map(str, sorted(entries))]) + "\n"


@cache
def api_entries() -> tuple[Entry, ...]:
    """The whole public API, as the sources have it, sorted."""
    areas = (python_entries(kastra()), _hooks(), _commands(), _settings(), _kinds(), _offers())
    return tuple(sorted(entry for area in areas for entry in area))


# ------------------------------------------------------------------------------------------------ Python


def python_entries(package: Package) -> Iterator[Entry]:
    """The public names of modules, and the public members of the classes among them."""
    for path, module in package.modules.items():
        for name in package.exports(module):
            yield from _python_name(package, f"{path}.{name}", package.find(module, name))
        for name, told in retired_names(module).items():
            yield Entry(f"python {path}.{name}", f"{MOVED} {told.instead or 'a place of its own'}", str(told))


def _python_name(package: Package, path: str, item: griffe.Object) -> Iterator[Entry]:
    if item.path != path and package.is_public(item.path):
        yield Entry(f"python {path}", f"as {item.path}")
    elif isinstance(item, griffe.Class):
        yield from _class(package, path, item)
    elif isinstance(item, griffe.Function):
        yield Entry(f"python {path}", signature(item), str(deprecation_of(item) or ""))
    else:
        yield Entry(f"python {path}", _attribute(item))


def _class(package: Package, path: str, cls: griffe.Class) -> Iterator[Entry]:
    word = "protocol" if is_protocol(cls) else "class"
    bases = package.bases(cls)
    yield Entry(f"python {path}", word + (f" of {', '.join(bases)}" if bases else ""))
    fields = {field.name: field for field in fields_of(cls)}
    for name, member in package.members(cls).items():
        at = f"python {path}.{name}"
        if name in fields:
            field = fields[name]
            place = "keyword" if field.keyword else f"argument {field.position}"
            value = "required" if field.default is None else f"= {field.default}"
            retired = _retired_by_text(field.docstring)
            yield Entry(at, f"field {field.type}, {place}, {value}", retired)
        elif isinstance(member, griffe.Class):
            yield from _class(package, f"{path}.{name}", member)
        elif isinstance(member, griffe.Function):
            abstract = "abstract " if decorated(member, "abstractmethod") else ""
            fixture = "fixture " if decorated(member, "pytest.fixture", "fixture", "pytest_asyncio.fixture") else ""
            yield Entry(at, abstract + fixture + signature(member), str(deprecation_of(member) or ""))
        else:
            yield Entry(at, _attribute(member))


def _attribute(item: griffe.Object) -> str:
    assert isinstance(item, griffe.Attribute)
    annotation = f" {item.annotation}" if item.annotation is not None else ""
    if "property" in item.labels:
        return f"property{annotation}"
    value = str(item.value) if item.value is not None else ""
    on_class = not isinstance(item.parent, griffe.Class) or "instance-attribute" not in item.labels
    is_version = item.name == "__version__"
    # Values that are names (a default of another module, a type) say something; calls and long tables do not.
    told = value if value and on_class and not is_version and len(value) <= _LONGEST_VALUE and _is_plain(value) else ""
    return f"attribute{annotation}" + (f" = {told}" if told else "")


def _is_plain(value: str) -> bool:
    """Whether source text has no call in it, whose meaning is elsewhere."""
    try:
        tree = ast.parse(value, mode="eval")
    except SyntaxError:
        return False
    return not any(isinstance(node, ast.Call | ast.Lambda | ast.Await) for node in ast.walk(tree))


def _retired_by_text(text: str) -> str:
    """What is known only by its text is retired by it: "Deprecated since 0.2 until 0.4: use X."."""
    first, _, _ = " ".join(text.split()).partition(":")
    return f"[{first[0].lower()}{first[1:]}]" if first.startswith("Deprecated since ") else ""


# ------------------------------------------------------------------------------------------------ hooks, offers


def _hooks() -> Iterator[Entry]:
    from kastra_core import hookspecs

    yield Entry("hook KASTRA_API_VERSION", str(hookspecs.API_VERSION))
    for name, item in vars(hookspecs).items():
        if name.startswith("kastra_") and hasattr(item, "kastra_spec"):
            yield Entry(
                f"hook {name}",
                f"def{inspect.signature(item)}".replace("'", ""),
                _retired_by_text(inspect.getdoc(item) or ""),
            )


def _offers() -> Iterator[Entry]:
    for _, record in plugins().records("kastra_operations"):
        yield Entry(f"offer operation {record.name}", f"counts as {record.counts_as or 'nothing'}")
    for _, record in plugins().records("kastra_stores"):
        for scheme in record.schemes:
            yield Entry(f"offer store {scheme}", f"of {record.name}")
    for _, record in plugins().records("kastra_model_providers"):
        for provider in record.providers:
            fallback = " when no other plugin serves it" if record.fallback else ""
            yield Entry(f"offer provider {provider}", f"of {record.name}{fallback}")
    for _, record in plugins().records("kastra_migrators"):
        exports = ", exports too" if record.exporter is not None else ""
        yield Entry(f"offer migrator {record.name}", f"migrates{exports}")
        for version in record.api_versions:
            yield Entry(f"offer migrator {record.name} of stored {version}", "migrates what is stored")
    for plugin, record in plugins().records("kastra_controllers"):
        yield Entry(f"offer controller {record.name}", f"of {plugin}, for {record.kind}.{record.group}")


# ------------------------------------------------------------------------------------------------ the command line


def _commands() -> Iterator[Entry]:
    from kastra_core.cli.app import EPILOG

    for code, meaning in re.findall(r"^ +(\d+) +(\S.*)$", EPILOG, re.MULTILINE):
        yield Entry(f"exit {code}", meaning)
    for page in commands():
        yield Entry(
            f"cli {page.path}", "group" if isinstance(page.command, click.Group) else "command", _of_click(page)
        )
        number = 0
        for param in page.command.get_params(page.context):
            if isinstance(param, click.Option):
                if param.hidden or "--help" in param.opts:
                    continue
                yield Entry(f"cli {page.path} {_long(param.opts)}", _option(param, page.context), _of_click(param))
            else:
                number += 1
                yield Entry(f"cli {page.path} argument {number}", _argument(param, page.context))


def _of_click(item: Any) -> str:
    """``deprecated="since 0.2 until 0.4: use X"``, as commands and options have it; True says no more."""
    command = getattr(item, "command", item)
    if not command.deprecated:
        return ""
    text = str(command.deprecated).partition(":")[0] if isinstance(command.deprecated, str) else ""
    return f"[deprecated {text}]" if text.startswith("since ") else "[deprecated]"


def _long(names: list[str]) -> str:
    return max(names, key=len)


def _option(param: click.Option, context: click.Context) -> str:
    others = [name for name in param.opts if name != _long(param.opts)]
    if param.is_flag and not param.count:
        what = "flag" + (f" or {', '.join(param.secondary_opts)}" if param.secondary_opts else "")
    else:
        what = _value(param, context)
    more = [f"also {name}" for name in others]
    more += ["repeatable"] if param.multiple or param.count else []
    more += ["required"] if param.required else []
    default = param.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        more.append(f"default {default}")
    elif param.is_flag and default is True:
        more.append("default on")
    return ", ".join([what, *more])


def _argument(param: click.Parameter, context: click.Context) -> str:
    number = "any number" if param.nargs == -1 else "" if param.nargs == 1 else f"{param.nargs} times"
    return ", ".join(filter(None, [_value(param, context), number, "required" if param.required else ""]))


def _value(param: click.Parameter, context: click.Context) -> str:
    if isinstance(param.type, click.Choice):
        return f"one of {' | '.join(map(str, param.type.choices))}"
    shown = param.make_metavar(context).strip("[]").removesuffix("...").strip("[]")
    if "|" in shown and " " not in shown:
        return f"one of {' | '.join(shown.split('|'))}"
    return f"{param.type.name} {shown}"


# ------------------------------------------------------------------------------------------------ configuration, kinds


def _settings() -> Iterator[Entry]:
    for row in settings():
        yield Entry(f"config {row.path}", _field(row), _retired_by_text(row.description))
    for variable, key in variables().items():
        yield Entry(f"env {variable}", f"sets {key}" if key else "read")


def _kinds() -> Iterator[Entry]:
    for kind in registry():
        name = f"kind {kind.kind}.{kind.group}"
        words = ["namespaced" if kind.namespaced else "cluster", *(["executable"] if kind.executable else [])]
        words += ["made by the runtime only"] if kind.ephemeral else []
        yield Entry(name, ", ".join(words))
        for word in dict.fromkeys(kind.names):
            yield Entry(f"{name} name {word}", "plural" if word == kind.plural else "spelling")
        for api_version in kind.served_versions:
            own = api_version == kind.api_version
            version = api_version.rpartition("/")[2]
            warning = kind.warnings.get(version if api_version.startswith(f"{kind.group}/") else api_version, "")
            retired = f"[deprecated: {warning}]" if warning else ""
            yield Entry(f"{name} version {api_version}", "stored" if own else "read", retired)
        if not kind.ephemeral:  # nobody writes a manifest of it
            for version in (kind.version, *kind.structures):
                for row in fields_of_kind(kind, version=version):
                    yield Entry(f"{name}/{version} {row.path}", _field(row), _retired_by_text(row.description))


def _field(row: KindField) -> str:
    words = [row.type, "required" if row.required else ""]
    words += [f"default {json.dumps(row.default, ensure_ascii=False)}"] if row.default is not None else []
    words += [f"fields as {path}" for path in row.as_paths]
    words += row.limits
    return ", ".join(filter(None, words))
