"""Docstrings and schemas become Markdown that says what they say."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs
import pytest

from api_lab import part
from kastra_core import ResourceKind

kind_fields, markdown, page_python, reasons = map(part, ("kind_fields", "markdown", "page_python", "reasons"))

DOCSTRING = """Return the wait before the next try: doubling from ``base_s``, at most `cap_s` < 1000.

    See :func:`~acme.waits.jitter` and :class:`acme.Clock`. A *try* of a <kind> counts from [0, 1).

    - one item, whose text goes on
      in a second line
    - another

    Settings:
        fast: no wait at all,
            or nearly none.
        slow: ten of them.

    Args:
        failures: failed tries in a row, >= 1;
            None is refused.
        base_s, cap_s: seconds.
    Returns:
        seconds.
    Raises: ValueError: failures < 1.
    Example:
        @acme.retried
        def fetch(): ...

    Later::

        not python at all

    >>> backoff_s(4)
    0.04
    """
TOLD = """Return the wait before the next try: doubling from `base_s`, at most `cap_s` \\< 1000.

See [`jitter`](waits.md#jitter) and `acme.Clock`. A *try* of a \\<kind> counts from \\[0, 1).

- one item, whose text goes on
  in a second line
- another

Settings:

- `fast`: no wait at all, or nearly none.
- `slow`: ten of them.

**Arguments:**

- `failures`: failed tries in a row, >= 1; None is refused.
- `base_s`, `cap_s`: seconds.

**Returns:** seconds.

**Raises:**

- `ValueError`: failures \\< 1.

```python
@acme.retried
def fetch(): ...
```

Later::

```text
not python at all
```

```pycon
>>> backoff_s(4)
0.04
```"""


def test_a_docstring_is_markdown() -> None:
    links = {"acme.waits.jitter": "waits.md#jitter"}
    assert markdown.docstring(DOCSTRING, lambda path: links.get(path, "")) == TOLD


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a `b<c>` and <d>", "a `b<c>` and \\<d>"),
        ('("*",) and *word*', '("\\*",) and *word*'),
        ("spec.tools[0] of _Private", "spec.tools\\[0\\] of \\_Private"),
        ("``a | b``", "`a | b`"),
        ("snake_case_name stays", "snake_case_name stays"),
    ],
)
def test_signs_that_markdown_would_take_are_escaped(text: str, told: str) -> None:
    assert markdown.inline(text) == told


def test_a_table_has_no_empty_column_and_no_bar_in_a_cell() -> None:
    assert markdown.table(["name", "default", "meaning"], [["`a | b`", "", "x\ny"]]) == (
        "| name | meaning |\n| --- | --- |\n| `a \\| b` | x y |"
    )
    assert markdown.table(["name"], []) == ""


@attrs.frozen(kw_only=True)
class Shelf:
    """A board with things on it."""

    width_cm: int = 80
    """Of the board."""


@attrs.frozen(kw_only=True)
class Crate:
    label: str
    inside: tuple[Crate, ...] = ()
    """Smaller ones."""


@attrs.frozen(kw_only=True)
class CabinetSpec:
    top: Shelf | None = None
    bottom: Shelf | None = None
    crates: dict[str, Crate] = attrs.field(factory=dict)


def _paths(rows: Sequence[object]) -> list[str]:
    return [str(row.path) + (f" as {','.join(row.as_paths)}" if row.as_paths else "") for row in rows]  # type: ignore[attr-defined]


def test_fields_of_a_kind_are_told_at_each_place_but_not_within_themselves() -> None:
    kind = ResourceKind(kind="Cabinet", plural="cabinets", group="acme.example", spec_type=CabinetSpec)
    rows = kind_fields.fields_of_kind(kind)
    assert _paths(rows) == [
        "spec",
        "spec.top",
        "spec.top.widthCm",
        "spec.bottom",
        "spec.bottom.widthCm",
        "spec.crates",
        "spec.crates.*.label",
        "spec.crates.*.inside as spec.crates.*",
    ]
    assert (rows[2].type, rows[2].default, rows[2].description) == ("integer", 80, "Of the board.")
    assert (rows[5].type, rows[6].required, rows[7].type) == ("map of objects", True, "list of objects")
    assert _paths(kind_fields.fields_of_kind(kind, once=True))[3:5] == ["spec.bottom as spec.top", "spec.crates"]


def test_reasons_are_found_where_a_helper_makes_the_condition() -> None:
    found = {(one.condition, one.reason, one.status, one.by) for one in reasons.reasons()}
    assert ("ToolsResolved", "ToolNotFound", "False", "agent") in found
    assert ("MemoryReady", "NoEmbeddings", "False", "agent") in found
    assert ("", "OutcomeUnknown", "", "core") in found


def test_each_heading_of_the_python_reference_has_an_anchor_of_its_own() -> None:
    pages = page_python.python_pages()
    anchors: dict[str, list[str]] = {}
    for name, text in pages.items():
        outside = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
        anchors[name] = [markdown.slug(heading) for heading in re.findall(r"^#+ (.*)$", outside, re.MULTILINE)]
        assert len(anchors[name]) == len(set(anchors[name])), name
        assert not re.search(r":(?:class|meth|func|mod):`", text), name
    for name, text in pages.items():
        for target, anchor in re.findall(r"\]\(([\w/.-]*)#([\w-]+)\)", text):
            page = f"{name.rpartition('/')[0]}/{target}".lstrip("/") if target else name
            assert anchor in anchors[page], f"{name}: {target}#{anchor}"
