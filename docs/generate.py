"""Write the pages of docs/reference that are made from the code: ``python docs/generate.py``.

A test compares what stands there with what this would write, so the pages cannot fall behind.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click

__all__ = ["PAGES", "main", "pages"]

REFERENCE = Path(__file__).parent / "reference"
WIDTH = 100
"""Columns of the help texts, whatever the terminal has."""


def cli_page() -> str:
    """The help of every command, those of the installed plugins included."""
    from kastra_core.cli.app import app

    parts = [
        "# Command line\n",
        "Made from the commands by `docs/generate.py`; `kastra COMMAND --help` shows the same.\n",
    ]
    parts.extend(f"{'#' * level} {name}\n\n```text\n{text}\n```\n" for level, name, text in _commands(app))
    return "\n".join(parts)


def _commands(group: click.Command) -> Iterator[tuple[int, str, str]]:
    root = _context(group, "kastra", None)
    yield 2, "kastra", _help(group, root)
    assert isinstance(group, click.Group)
    for name in group.list_commands(root):
        command = group.get_command(root, name)
        assert command is not None
        if command.hidden:
            continue
        context = _context(command, name, root)
        yield 2, f"kastra {name}", _help(command, context)
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                leaf = command.get_command(context, inner)
                assert leaf is not None
                if not leaf.hidden:
                    yield 3, f"kastra {name} {inner}", _help(leaf, _context(leaf, inner, context))


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    settings = command.context_settings
    return click.Context(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH, **settings
    )


def _help(command: click.Command, context: click.Context) -> str:
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def hooks_page() -> str:
    """Every hook with its contract, and the record that it yields."""
    from kastra_core import hookspecs, registrations
    from kastra_core.api.kind import GroupVersionKind, PrinterColumn

    parts = [
        "# Hooks\n",
        "Made from `kastra_core.hookspecs` and `kastra_core.registrations` by `docs/generate.py`.\n",
        f"{_markdown(inspect.getdoc(hookspecs) or '')}\n",
    ]
    for name, item in vars(hookspecs).items():
        if name.startswith("kastra_") and hasattr(item, "kastra_spec"):
            record = str(inspect.signature(item).return_annotation).partition("[")[2].rstrip("]")
            parts.append(f"## {name}\n\nYields [`{record}`](#{record.lower()}).\n\n{_docstring(item)}\n")
    parts.append("## Records\n")
    records = [getattr(registrations, name) for name in registrations.__all__]
    parts.extend(
        f"### {record_type.__name__}\n\n{_docstring(record_type)}\n\n{_fields(record_type)}\n"
        for record_type in sorted([*records, PrinterColumn, GroupVersionKind], key=lambda cls: str(cls.__name__))
    )
    return "\n".join(parts)


def _docstring(item: object) -> str:
    """A docstring as Markdown: the part under ``Example:`` is code."""
    text, found, example = (inspect.getdoc(item) or "").partition("Example:\n")
    code = f"\n\n```python\n{textwrap.dedent(example).strip()}\n```" if found else ""
    return _markdown(text.strip()) + code


def _markdown(text: str) -> str:
    for role in (":class:", ":meth:", ":func:"):
        text = text.replace(f"{role}`~", "`").replace(f"{role}`", "`")
    return text.replace("``", "`")


def _fields(record: type) -> str:
    told = _field_texts(record)
    rows = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for entry in attrs.fields(record):
        default = "required" if entry.default is attrs.NOTHING else f"`{_default(entry.default)}`"
        kind = str(entry.type).replace("|", "\\|")
        rows.append(f"| `{entry.name}` | `{kind}` | {default} | {told.get(entry.name, '')} |")
    return "\n".join(rows)


def _default(value: Any) -> str:
    return f"{value.factory.__name__}()" if isinstance(value, attrs.Factory) else repr(value)  # type: ignore[arg-type]


def _field_texts(record: type) -> Mapping[str, str]:
    """Field -> the string below it in the class's source."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(record))).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for before, after in zip(definition.body, definition.body[1:]):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            texts[before.target.id] = _markdown(" ".join(str(after.value.value).split())).replace("|", "\\|")
    return texts


def python_page() -> str:
    """What ``kastra_core`` exports, one line each."""
    import kastra_core

    rows = ["| name | what it is |", "| --- | --- |"]
    for name in sorted(kastra_core.__all__):
        item = getattr(kastra_core, name)
        if name == "__version__":
            first = "version of kastra-core"
        elif callable(item):
            first = (inspect.getdoc(item) or "").partition("\n\n")[0]
        else:
            first = "marks hook implementations"
        told = _markdown(" ".join(first.split()))
        rows.append(f"| `{name}` | {told} |".replace("\\|", "|"))
    head = (
        "# Python names\n\nWhat `import kastra_core` offers; made by `docs/generate.py`. `help(NAME)` tells more.\n\n"
    )
    return head + "\n".join(rows) + "\n"


PAGES = {"cli.md": cli_page, "hooks.md": hooks_page, "python.md": python_page}


def pages() -> dict[Path, str]:
    """Path -> text of every generated page."""
    return {REFERENCE / name: make().rstrip() + "\n" for name, make in PAGES.items()}


def main() -> int:
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
