"""Differences of public names are found and rated, and a fragment tells them by any of their spellings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api_lab import BASE, RETIRED, Read, part, reader

changes, surface = part("changes"), part("surface")


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Public names of a module ``acme.boxes`` with this text."""
    return reader(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "kind", "name"),
    [
        ("things: list[str], *", "stuff: list[str], *", "changed", "acme.boxes.pack"),  # a parameter's name
        ("tight: bool = False", "tight: bool", "changed", "acme.boxes.pack"),  # a default
        ("tight: bool = False", "tight: bool = True", "changed", "acme.boxes.pack"),
        ("things: list[str], *", "things: list[str], where: str, *", "changed", "acme.boxes.pack"),
        ("things: list[str], *", "things: tuple[str, ...], *", "changed", "acme.boxes.pack"),
        ("tight: bool = False", "tight: bool = False, dry: bool = False", "added", "acme.boxes.pack"),
        ("priority: int = 0", "priority: int = 0, later: bool = False", "added", "acme.boxes.send"),
        ("to: str, priority", "priority", "changed", "acme.boxes.send"),
        ("to: str, priority: int = 0", "priority: int = 0, *, to: str", "changed", "acme.boxes.send"),
        ("to: str, priority: int = 0", "to: str = '', priority: int = 0", "added", "acme.boxes.send"),
        ("async def send", "def send", "changed", "acme.boxes.send"),
        ("-> None: ...\n\nclass _Thing", "-> int: ...\n\nclass _Thing", "changed", "acme.boxes.send"),
        ('"Lid", "pack"', '"pack"', "removed", "acme.boxes.Lid"),
        ("LIMIT = 10", "LIMIT = 20", "changed", "acme.boxes.LIMIT"),
        ("def weigh", "def weight", "removed", "acme.boxes.Lid.weigh"),  # of a private base: a member of the class
        ("width_cm: int\n", "width_cm: int = 5\n", "added", "acme.boxes.Box.width_cm"),
        ('label: str = ""', "label: str", "changed", "acme.boxes.Box.label"),
        ('label: str = ""', 'label: str = ""\n    note: str = ""', "added", "acme.boxes.Box.note"),
        ("width_cm: int\n", "width_cm: int\n    depth_cm: int\n", "changed", "acme.boxes.Box.label"),  # its place
        ("def open(self, force", "def open(self, hard", "changed", "acme.boxes.Box.open"),
        ("def empty(self) -> bool", "def empty(self) -> int", "changed", "acme.boxes.Box.empty"),
        ("    @property\n", "", "changed", "acme.boxes.Box.empty"),
        ("class Lid(_Thing)", "class Lid", "removed", "acme.boxes.Lid.weigh"),
    ],
)
def test_a_difference_is_found(read: Read, old: str, new: str, kind: str, name: str) -> None:
    assert old in BASE
    found = changes.changes(read(BASE), read(BASE.replace(old, new)))
    assert (f"python {name}", kind) in [(change.name, change.types[0]) for change in found]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def _helper(x)", "def _helper(x, y)"),
        ("_shake(self, times: int)", "_shake(self)"),
        ("_hidden: int = 0", "_concealed: str = ''"),
        ("    def open", "    @property\n    def _size(self) -> int: ...\n\n    def open"),
        ("class _Thing:", "class _Thing:\n    def _sum(self) -> float: ..."),
        ("LIMIT = 10", '"""A module."""\nLIMIT = 10'),
    ],
)
def test_what_is_private_does_not_matter(read: Read, old: str, new: str) -> None:
    assert old in BASE
    assert changes.changes(read(BASE), read(BASE.replace(old, new))) == []


def test_a_method_may_move_to_a_public_base(read: Read) -> None:
    named = BASE.replace('"pack"', '"Thing", "pack"').replace("_Thing", "Thing")
    [new, base] = changes.changes(read(BASE), read(named))
    assert (new.name, new.types[0]) == ("python acme.boxes.Lid", "changed")  # it has a base now, and weigh is there
    assert (base.name, base.types[0]) == ("python acme.boxes.Thing", "added")


def test_a_definition_may_move_when_the_name_stays(read: Read) -> None:
    alias = "from acme.crates import Box, LIMIT, Lid, pack, send\n\n__all__ = ['LIMIT', 'Box', 'Lid', 'pack', 'send']\n"
    found = changes.changes(read(BASE), read(alias, crates=BASE))
    assert {change.types[0] for change in found} == {"added"}
    assert all(change.name.startswith("python acme.crates.") for change in found)


def test_who_implements_a_protocol_is_told_of_any_change(read: Read) -> None:
    base = "from typing import Protocol\n\n__all__ = ['Box']\n\nclass Box(Protocol):\n    def open(self) -> None: ...\n"
    optional = base.replace("open(self)", "open(self, *, force: bool = False)")
    more = base + "    def close(self) -> None: ...\n"
    for new in (optional, more):
        [change] = changes.changes(read(base), read(new))
        assert change.types == ("changed",)


def _entry(name: str, what: str, deprecated: str = "") -> Any:
    return surface.Entry(name, what, deprecated)


@pytest.mark.parametrize(
    ("name", "old", "new", "types"),
    [
        ("kind Crate.acme.example/v1 spec.size", "one of s | m", "one of s | m | l", ("added", "changed")),
        ("kind Crate.acme.example/v1 spec.size", "one of s | m", "one of s", ("changed",)),
        ("kind Crate.acme.example/v1 spec.size", "one of s | m, required", "one of s | m", ("added", "changed")),
        ("kind Crate.acme.example/v1 spec.size", "one of s | m", "one of s | m, required", ("changed",)),
        ("kind Crate.acme.example/v1 spec.size", "string", "string or integer", ("added", "changed")),
        ("kind Crate.acme.example/v1 spec.size", "string", "integer", ("changed",)),
        ("kind Crate.acme.example/v1 spec.size", 'string, default "s"', 'string, default "m"', ("changed",)),
        ("kind Crate.acme.example/v1 spec.size", "string", "string, length <= 5", ("changed",)),
        ("cli kastra pack --size", "text N", "text N, also -s", ("added", "changed")),
        ("cli kastra pack --size", "text N, also -s", "text N", ("changed",)),
        ("hook kastra_crates", "def() -> Iterable[Crate]", "def(size: int) -> Iterable[Crate]", ("added", "changed")),
        ("hook kastra_crates", "def(size: int) -> Iterable[Crate]", "def() -> Iterable[Crate]", ("changed",)),
        ("hook KASTRA_API_VERSION", "1", "2", ("changed",)),
    ],
)
def test_what_is_more_than_before_is_an_addition(name: str, old: str, new: str, types: tuple[str, ...]) -> None:
    [change] = changes.changes([_entry(name, old)], [_entry(name, new)])
    assert change.types == types


@pytest.mark.parametrize("what", ["string, required", "list of strings, required, items >= 1"])
def test_a_new_field_that_must_be_there_is_a_change(what: str) -> None:
    kind = _entry("kind Crate.acme.example", "namespaced")
    field = _entry("kind Crate.acme.example/v1 spec.size", what)
    [change] = changes.changes([kind], [kind, field])
    assert change.types == ("changed",)
    [whole] = changes.changes([], [kind, field])
    assert (whole.name, whole.types[0]) == (kind.name, "added")


def test_a_new_command_speaks_for_its_options() -> None:
    command = _entry("cli kastra pack", "command")
    option = _entry("cli kastra pack --size", "text N, required")
    assert [change.name for change in changes.changes([], [command, option])] == ["cli kastra pack"]
    assert [change.types for change in changes.changes([command], [command, option])] == [("changed",)]


# ------------------------------------------------------------------------------------------------ deprecation


def test_what_is_deprecated_is_marked(read: Read) -> None:
    told = {entry.name: str(entry) for entry in read(RETIRED)}
    assert told["python acme.boxes.pack"].endswith("-> Box [deprecated since 0.2 until 0.4]")
    assert told["python acme.boxes.Lid"].endswith(": looked up in acme.lids.Cover [deprecated since 0.2 until 0.4]")
    assert "python acme.boxes.Lid.close" not in told
    assert surface.parse_line(told["python acme.boxes.pack"]).deprecated == "[deprecated since 0.2 until 0.4]"


def test_a_deprecation_is_told_by_its_fragment_alone(read: Read) -> None:
    found = changes.changes(read(BASE), read(RETIRED))
    assert [(change.name, change.types) for change in found] == [
        ("python acme.boxes.Lid", ("deprecated",)),
        ("python acme.boxes.pack", ("deprecated",)),
    ]


def test_the_text_of_a_field_may_say_that_it_goes(read: Read) -> None:
    text = 'label: str = ""\n    """Deprecated since 0.3 until 0.5: use note."""'
    [change] = changes.changes(read(BASE), read(BASE.replace('label: str = ""', text)))
    assert (change.name, change.types) == ("python acme.boxes.Box.label", ("deprecated",))
    assert change.new.deprecated == "[deprecated since 0.3 until 0.5]"


def test_what_goes_was_deprecated_before(read: Read) -> None:
    gone = BASE.replace('"Lid", "pack"', '"pack"')
    told = [changes.Fragment(Path("lids.removed.md"), "lids", "removed", "`Lid` is gone.")]
    [wrong] = changes.untold(read(BASE), read(gone), told)
    assert "the last release did not deprecate it" in wrong
    assert changes.untold(read(RETIRED.replace("@deprecated", "#")), read(gone), told) == []


def test_a_list_of_names_that_are_not_there_is_an_error(read: Read) -> None:
    with pytest.raises(ValueError, match=r"acme\.boxes\.__all__ lists 'Drawer', which is not there"):
        read(BASE.replace('"Lid"', '"Drawer"'))


# ------------------------------------------------------------------------------------------------ fragments


def _fragment(kind: str, text: str) -> Any:
    return changes.Fragment(Path(f"boxes.{kind}.md"), "boxes", kind, text)


def test_an_untold_change_says_how_to_tell_it(read: Read) -> None:
    new = read(BASE.replace("def open(self, force", "def open(self, hard"))
    [wrong] = changes.untold(read(BASE), new, [])
    assert wrong.splitlines() == [
        "python acme.boxes.Box.open changed",
        "    was: def(self, force: bool = False) -> None",
        "    is:  def(self, hard: bool = False) -> None",
        "    write docs/changes/TOPIC.changed.md, for users, with `Box.open` in it",
    ]
    [wrong] = changes.untold(read(BASE), new, [_fragment("added", "`Box.open` is quicker.")])
    assert "(it is named in a fragment of type added, which is for other things)" in wrong


@pytest.mark.parametrize(
    "text",
    ["`Box.open` takes hard.", "`boxes.Box.open()`", "see `acme.boxes.Box.open(hard=True)`", "all of `acme.boxes.*`"],
)
def test_a_name_may_be_written_in_several_ways(read: Read, text: str) -> None:
    new = read(BASE.replace("def open(self, force", "def open(self, hard"))
    assert changes.untold(read(BASE), new, [_fragment("changed", text)]) == []


@pytest.mark.parametrize("text", ["`open` takes hard.", "Box.open takes hard.", "`Box`", "`Lid.open`"])
def test_another_name_does_not_tell_it(read: Read, text: str) -> None:
    new = read(BASE.replace("def open(self, force", "def open(self, hard"))
    assert changes.untold(read(BASE), new, [_fragment("changed", text)])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cli kastra pack --size", "`kastra pack --size`"),
        ("cli kastra pack argument 1", "`kastra pack`"),
        ("config providers.*.region", "`providers.NAME.region`"),
        ("config providers.*.region", "`providers.*.region`"),
        ("env KASTRA_DEPTH", "`KASTRA_DEPTH`"),
        ("hook kastra_crates", "`kastra_crates`"),
        ("kind Crate.acme.example/v1 spec.size", "`Crate.spec.size`"),
        ("kind Crate.acme.example", "`Crate`"),
        ("kind Crate.acme.example name cr", "`cr`"),
        ("offer operation acme.pack", "`acme.pack`"),
        ("offer store acme", "`acme:`"),
    ],
)
def test_names_of_every_area_can_be_told(name: str, text: str) -> None:
    entry = _entry(name, "text")
    assert changes.untold([], [entry], [_fragment("added", f"There is {text} now.")]) == []
    assert changes.untold([], [entry], [_fragment("added", "There is `more` now.")])


def test_a_fragment_with_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("How it works.", encoding="utf-8")
    (tmp_path / "boxes.added.md").write_text("`Box` is new.\n", encoding="utf-8")
    assert [one.type for one in changes.read_fragments(tmp_path)] == ["added"]
    (tmp_path / "boxes.md").write_text("x", encoding="utf-8")
    (tmp_path / "boxes.news.md").write_text("x", encoding="utf-8")
    (tmp_path / "lids.fixed.md").write_text(" \n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"boxes\.md: the name") as told:
        changes.read_fragments(tmp_path)
    assert "boxes.news.md: the name of a fragment is TOPIC.TYPE.md with TYPE one of added, changed" in str(told.value)
    assert "lids.fixed.md: it says nothing" in str(told.value)
