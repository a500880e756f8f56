"""``kastra plugins lock``: what is recorded, that it is stable, and that whatever an upgrade loses is told."""

from __future__ import annotations

import copy
import os
import shutil
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kastra_core import ResourceKind, hookimpl
from kastra_core.api.kind import Scale
from kastra_core.cli.plugins_compare import compare
from kastra_core.cli.plugins_fields import allows, demands, fields_of, holds_field
from kastra_core.cli.plugins_lockfile import lock_data, lock_text
from kastra_core.plugins import PluginManager, entry_points
from kastra_core.registrations import (
    CommandRegistration,
    ControllerRegistration,
    MigratorRegistration,
    ModelProviderRegistration,
    OperationRegistration,
    StoreRegistration,
)

Kastra = Callable[..., Any]
LOCK = "kastra-plugins.lock"
OURS = ",".join(point.name for point in entry_points() if point.distribution.startswith("kastra-plugin-"))


@pytest.fixture(autouse=True)
def alone(environment: dict[str, str], kastra: Kastra, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own plugins only: what others offer takes its time to tell and is no matter here."""
    environment["KASTRA_PLUGINS_BLOCK"] = OURS
    monkeypatch.setenv("KASTRA_PLUGINS_BLOCK", OURS)


FIRST = """
import attrs
from typing import Literal
from kastra_core import ResourceKind, hookimpl
from kastra_core.api.kind import Scale
from kastra_core.registrations import CommandRegistration, OperationRegistration, StoreRegistration

KASTRA_API_VERSION = 1


@attrs.frozen(kw_only=True)
class Inner:
    depth: int = 1


@attrs.frozen(kw_only=True)
class Spec:
    size: int
    color: Literal["red", "green"] = "red"
    inner: Inner = attrs.field(factory=Inner)
    note: str = ""


@hookimpl
def kastra_resource_kinds():
    yield ResourceKind(kind="Gadget", plural="gadgets", group="lock.example", short_names=("ga",),
                       spec_type="widget_set:Spec", conversions={"v0": "widget_set:convert"}, runner="widget_set:R")


@hookimpl
def kastra_stores():
    yield StoreRegistration(name="box", schemes=("box", "crate"), factory="widget_set:open")


@hookimpl
def kastra_operations():
    yield OperationRegistration(name="gadget.turn", handler="widget_set:turn")


@hookimpl
def kastra_commands():
    yield CommandRegistration(name="turn", command="widget_set:cmd")
"""


def install(plugins: Any, source: str = FIRST, version: str = "1.0") -> None:
    """Put the plugin ``gadget`` there in place of what it was."""
    for info in plugins.path.glob("gadget-*.dist-info"):
        shutil.rmtree(info)
    shutil.rmtree(plugins.path / "__pycache__", ignore_errors=True)
    plugins.install("gadget", source, module="widget_set", version=version)


def differences(shell: Kastra) -> tuple[int, dict[str, list[str]]]:
    """Exit code of a check of the lock file, and the messages for the plugin ``gadget`` by level."""
    done = shell("plugins", "lock", "--check", "-o", "json")
    found: dict[str, list[str]] = {"lost": [], "changed": [], "new": []}
    for difference in orjson.loads(done.out)["differences"]:
        if difference["plugin"] == "gadget":
            found[difference["level"]].append(difference["message"])
    return done.code, found


# ------------------------------------------------------------------------------------------------ the file


def test_the_file_tells_what_plugins_offer_and_nothing_of_the_machine(
    shell: Kastra, plugins: Any, project: Path
) -> None:
    install(plugins)
    done = shell("plugins", "lock")
    assert done.code == 0, done.err
    text = (project / LOCK).read_text(encoding="utf-8")
    assert done.out.startswith(f"{project / LOCK}: written, ")
    data = orjson.loads(text)
    assert data["format"] == 1
    assert data["plugins"]["gadget"] == {
        "distribution": "gadget",
        "version": "1.0",
        "hooks": 1,
        "offers": {
            "kinds": {
                "Gadget.lock.example": {
                    "plural": "gadgets",
                    "singular": "gadget",
                    "shortNames": ["ga"],
                    "scope": "Namespaced",
                    "can": ["be run"],
                    "versions": {
                        "lock.example/v0": {},
                        "lock.example/v1": {
                            "spec": "object, required",
                            "spec.color": '"green" | "red"',
                            "spec.inner": "object",
                            "spec.inner.depth": "integer",
                            "spec.note": "string",
                            "spec.size": "integer, required",
                        },
                    },
                }
            },
            "stores": ["box", "crate"],
            "operations": ["gadget.turn"],
            "commands": ["turn"],
        },
    }
    assert data["plugins"]["kastra-core"]["offers"]["stores"] == ["memory"]
    for machine in (str(project), str(plugins.path), f"{Path.home()}/"):
        assert machine not in text


def test_the_same_plugins_give_the_same_bytes_and_nothing_is_written_twice(shell: Kastra, project: Path) -> None:
    assert shell("plugins", "lock").code == 0
    file = project / LOCK
    before = (file.read_bytes(), file.stat().st_ino, file.stat().st_mtime_ns)
    done = shell("plugins", "lock")
    assert ": unchanged, " in done.out
    assert (file.read_bytes(), file.stat().st_ino, file.stat().st_mtime_ns) == before
    assert shell("plugins", "lock", "--file", "other.lock").code == 0
    assert (project / "other.lock").read_bytes() == before[0]
    assert sorted(path.name for path in project.iterdir()) == [LOCK, "other.lock"]
    assert ", all as the file says" in shell("plugins", "lock", "--check").out


def test_the_file_keeps_its_mode_and_a_link_stays_one(kastra: Kastra, project: Path) -> None:
    (project / "real.lock").write_text("{}", encoding="utf-8")
    (project / "real.lock").chmod(0o640)
    (project / LOCK).symlink_to("real.lock")
    assert kastra("plugins", "lock", "--force").code == 0
    assert (project / LOCK).is_symlink()
    assert (project / "real.lock").stat().st_mode & 0o777 == 0o640
    assert orjson.loads((project / "real.lock").read_bytes())["format"] == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '{"format": 2, "plugins": {}}',
            "has format 2, this kastra-core reads format 1; upgrade kastra-core, or write it anew",
        ),
        ("{", "is damaged"),
        ("[]", "expected an object with format 1"),
        ('{"format": true, "plugins": {}}', "expected an object with format 1"),
        ('{"format": 1}', "plugins: expected an object"),
        ('{"format": 1, "plugins": {"a": 5}}', "plugins.a: expected distribution"),
        (
            '{"format": 1, "plugins": {"a": {"distribution": "a", "version": "1", "offers": {"stores": [1]}}}}',
            "plugins.a.offers.stores: expected a list of names",
        ),
        (
            '{"format": 1, "plugins": {"a": {"distribution": "a", "version": "1", "offers": {"kinds": {"K": {}}}}}}',
            "plugins.a.offers.kinds: expected kinds with plural",
        ),
        (
            '{"format": 1, "plugins": {"a": {"distribution": "a", "version": "1", "offers": {"kinds": {"K": {"plural": '
            '"k", "singular": "k", "shortNames": [{}], "scope": "Namespaced", "can": [], "versions": {}}}}}}}',
            "plugins.a.offers.kinds: expected kinds with plural",
        ),
        ("{\n<<<<<<< ours\n=======\n>>>>>>> theirs\n}", "the marks of a merge that was not settled"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_and_kept_until_forced(
    kastra: Kastra, project: Path, text: str, told: str
) -> None:
    (project / LOCK).write_text(text, encoding="utf-8")
    for args in (("--check",), ()):
        done = kastra("plugins", "lock", *args)
        assert done.code == 1
        assert told in done.err
        assert "kastra plugins lock --force" in done.err
        assert (project / LOCK).read_text(encoding="utf-8") == text
    assert kastra("plugins", "lock", "--force").code == 0
    assert kastra("plugins", "lock", "--check").code == 0


def test_a_check_without_a_file_says_how_to_make_one(kastra: Kastra, project: Path) -> None:
    done = kastra("plugins", "lock", "--check")
    assert done.code == 1
    assert f"there is no lock file {project / LOCK}; `kastra plugins lock` writes it" in done.err
    assert kastra("plugins", "lock", "--check", "--force").code == 2


def test_a_file_that_cannot_be_written_is_told(kastra: Kastra) -> None:
    done = kastra("plugins", "lock", "--file", "nowhere/x.lock")
    assert done.code == 1
    assert "cannot be written: No such file or directory" in done.err


def test_what_is_no_file_is_neither_waited_for_nor_replaced(kastra: Kastra, project: Path) -> None:
    os.mkfifo(project / "pipe")
    (project / "loop").symlink_to("loop")
    (project / LOCK).symlink_to("later.lock")
    for name, told in (("pipe", "is no regular file"), ("-", "--file names a file"), ("loop", "Too many levels")):
        for args in ((), ("--check",), ("--force",)):
            done = kastra("plugins", "lock", "--file", name, *args)
            assert done.code in (1, 2)
            assert told in done.err
    assert (project / "pipe").is_fifo()
    # A link may lead to what is not there yet.
    assert "there is no lock file" in kastra("plugins", "lock", "--check").err
    assert kastra("plugins", "lock").code == 0
    assert (project / "later.lock").is_file()


# ------------------------------------------------------------------------------------------------ broken plugins


def test_clashes_and_sick_plugins_are_told_beside_the_file(kastra: Kastra, plugins: Any) -> None:
    source = (plugins.path / "acme_widgets.py").read_text(encoding="utf-8")
    plugins.install("bolt", source)
    done = kastra("plugins", "lock")
    assert done.code == 0
    assert "warning: kind 'Widget.acme.example' is offered by plugin 'acme' and by plugin 'bolt'" in done.err
    plugins.install("sick", "1 / 0")
    checked = kastra("plugins", "lock", "--check")
    assert checked.code == 0
    assert "plugin 'sick' is quarantined" in checked.err


def test_nothing_is_written_while_a_plugin_is_quarantined_unless_forced(
    kastra: Kastra, plugins: Any, project: Path
) -> None:
    plugins.install("sick", "raise ValueError('no luck')")
    done = kastra("plugins", "lock")
    assert done.code == 3
    assert "plugin 'sick' is quarantined: import failed: ValueError: no luck; nothing was written" in done.err
    assert not (project / LOCK).exists()
    forced = kastra("plugins", "lock", "--force")
    assert forced.code == 0
    assert "warning: left out: plugin 'sick' is quarantined" in forced.err
    assert "sick" not in orjson.loads((project / LOCK).read_bytes())["plugins"]


def test_a_kind_whose_class_cannot_be_imported_is_told_as_well(kastra: Kastra, plugins: Any, project: Path) -> None:
    plugins.install(
        "vague",
        "from kastra_core import ResourceKind, hookimpl\n@hookimpl\ndef kastra_resource_kinds():\n"
        "    yield ResourceKind(kind='Fog', plural='fogs', group='vague.example', spec_type='nowhere:Spec')\n",
    )
    done = kastra("plugins", "lock")
    assert done.code == 3
    assert "the fields of Fog.vague.example of plugin 'vague' cannot be told: ModuleNotFoundError" in done.err
    assert kastra("plugins", "lock", "--force").code == 0
    assert "Fog" not in (project / LOCK).read_text(encoding="utf-8")
    assert "cannot be told" in kastra("plugins", "lock", "--check").err


def test_a_blocked_plugin_is_left_out_and_lost_where_the_file_has_it(kastra: Kastra, project: Path) -> None:
    assert kastra("plugins", "lock").code == 0
    checked = kastra("--no-plugin", "acme", "plugins", "lock", "--check")
    assert checked.code == 3
    assert (
        "lost     plugin 'acme' (acme 1.0) is blocked by --no-plugin acme; the file has it with kind Wid" in checked.out
    )
    written = kastra("--no-plugin", "acme", "plugins", "lock")
    assert written.code == 0
    assert "note: left out: plugin 'acme' is blocked by --no-plugin acme" in written.err
    assert "acme" not in orjson.loads((project / LOCK).read_bytes())["plugins"]
    again = kastra("plugins", "lock", "--check")
    assert again.code == 0
    assert "new      plugin 'acme' (acme 1.0) is not in the file" in again.out


# ------------------------------------------------------------------------------------------------ upgrades

LOSSES = {
    "a kind": (('kind="Gadget"', 'kind="Gizmo"'), "kind Gadget.lock.example is gone"),
    "a version": (('conversions={"v0": "widget_set:convert"}, ', ""), "version lock.example/v0 is gone"),
    "a plural": (('plural="gadgets"', 'plural="gizmos"'), "its plural was gadgets and is gizmos now"),
    "a short name": (('("ga",)', "()"), "its short name ga is gone"),
    "its runs": ((', runner="widget_set:R"', ""), "it cannot be run any more"),
    "its singular": ((", runner=", ', singular="gizmo", runner='), "its singular was gadget and is gizmo now"),
    "its scope": (('group="lock', 'namespaced=False, group="lock'), "its scope was Namespaced and is Cluster now"),
    "a field": (("    note: str", "    memo: str"), "lock.example/v1 has no field spec.note any more"),
    "a field within": (("depth: int", "height: int"), "lock.example/v1 has no field spec.inner.depth any more"),
    "a type": (("size: int", "size: str"), "the field spec.size was integer and is string now"),
    "that a field may be left out": (
        ('note: str = ""', "note: str"),
        "the field spec.note is required now, manifests could do without it",
    ),
    "that another field may be left out": (
        ('note: str = ""', 'note: str = ""\n    must: int'),
        "the field spec.must is required now, manifests could do without it",
    ),
    "a value": (('Literal["red", "green"]', 'Literal["red", "blue"]'), 'spec.color was "green" | "red" and is "blue"'),
    "a scheme": (('"box", "crate"', '"box",'), "store scheme crate is gone"),
    "an operation": (("gadget.turn", "gadget.twist"), "operation gadget.turn is gone"),
    "a command": (('name="turn"', 'name="twist"'), "command turn is gone"),
}


@pytest.fixture(scope="module")
def locked() -> dict[str, bytes]:
    """The lock file of the first version, made once."""
    return {}


@pytest.mark.parametrize("what", LOSSES)
def test_what_an_upgrade_lost_is_told(
    shell: Kastra, plugins: Any, project: Path, locked: dict[str, bytes], what: str
) -> None:
    (old, new), told = LOSSES[what]
    assert FIRST.count(old) == 1
    if not locked:
        install(plugins)
        assert shell("plugins", "lock").code == 0
        locked["first"] = (project / LOCK).read_bytes()
    (project / LOCK).write_bytes(locked["first"])
    install(plugins, FIRST.replace(old, new), "2.0")
    code, found = differences(shell)
    assert code == 3
    assert [message for message in found["lost"] if told in message] == found["lost"]
    assert len(found["lost"]) == 1
    assert found["changed"] == ["plugin 'gadget' is gadget 2.0, the file has gadget 1.0"]


def test_what_an_upgrade_adds_or_widens_is_no_loss(shell: Kastra, plugins: Any, project: Path) -> None:
    install(plugins)
    assert shell("plugins", "lock").code == 0
    wider = FIRST.replace("size: int", "size: float").replace("note: str", 'more: str = ""\n    note: str')
    wider = wider.replace('"crate"', '"crate", "sack"').replace('("ga",)', '("ga", "gad")')
    install(plugins, wider.replace('Literal["red", "green"]', 'Literal["red", "green", "blue"]'), "1.1")
    code, found = differences(shell)
    assert (code, found["lost"]) == (0, [])
    assert len(found["changed"]) == 3  # the version, and two types
    assert [m.partition(": ")[2] or m for m in found["new"]] == [
        "the short name gad is not in the file",
        "lock.example/v1: the field spec.more is not in the file",
        "plugin 'gadget' offers store scheme sack, which is not in the file",
    ]
    rewritten = shell("plugins", "lock")
    assert "changed  plugin 'gadget' is gadget 1.1" in rewritten.out
    assert ": written, " in rewritten.out
    assert differences(shell) == (0, {"lost": [], "changed": [], "new": []})


def test_a_plugin_that_is_gone_is_told_with_what_it_offered_and_what_brings_it_back(
    shell: Kastra, plugins: Any
) -> None:
    install(plugins)
    assert shell("plugins", "lock").code == 0
    shutil.rmtree(plugins.path / "gadget-1.0.dist-info")
    done = shell("plugins", "lock", "--check")
    assert done.code == 3
    assert done.out == (
        "lost     plugin 'gadget' (gadget 1.0) is not installed; the file has it with kind Gadget.lock.example, "
        "store scheme box, store scheme crate, operation gadget.turn, command turn; pip install gadget==1.0\n"
    )


def test_a_plugin_that_got_sick_is_told_with_the_cause(shell: Kastra, plugins: Any) -> None:
    install(plugins)
    assert shell("plugins", "lock").code == 0
    install(plugins, "import surely_not_there", "2.0")
    code, found = differences(shell)
    assert code == 3
    assert "is quarantined: import failed: ModuleNotFoundError" in found["lost"][0]


# ------------------------------------------------------------------------------------------------ any set


@attrs.frozen
class Shape:
    """Of a kind that a schema describes; a lock file asks for nothing but that."""

    schema: Mapping[str, Any]

    def prune(self, manifest: Any) -> Any:
        raise NotImplementedError

    def default(self, manifest: Any) -> Any:
        raise NotImplementedError

    def validate(self, manifest: Any, old: Any = None) -> Any:
        raise NotImplementedError


def plugin(offers: list[tuple[str, Any]]) -> types.ModuleType:
    """A module of hooks that yields these records."""
    module = types.ModuleType("made")
    for name in dict.fromkeys(hook for hook, _ in offers):
        setattr(module, name, hookimpl(yielding([record for hook, record in offers if hook == name])))
    return module


def yielding(records: list[Any]) -> Callable[[], list[Any]]:
    def hook() -> list[Any]:
        return records

    return hook


def locked_set(*plugins: list[tuple[str, Any]]) -> Any:
    """What a lock file says of these plugins, as it is written and read."""
    extra = [(f"p{number}", plugin(offers)) for number, offers in enumerate(plugins)]
    data, failed = lock_data(PluginManager(extra=extra, discover=False))
    assert failed == {}
    return orjson.loads(lock_text(data))


NAMES = st.text("abcde", min_size=1, max_size=3)
TYPES = st.sampled_from(["string", "integer", "boolean"])
FIELDS = st.dictionaries(
    NAMES,
    st.recursive(
        TYPES.map(lambda kind: {"type": kind}),
        lambda below: st.one_of(
            st.dictionaries(NAMES, below, min_size=1, max_size=3).map(
                lambda properties: {"type": "object", "properties": properties}
            ),
            below.map(lambda items: {"type": "array", "items": items}),
            below.map(lambda values: {"type": "object", "additionalProperties": values}),
        ),
        max_leaves=5,
    ),
    min_size=1,
    max_size=3,
)


def kind_of(name: str, fields: Any) -> ResourceKind:
    spec = {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}
    return ResourceKind(kind=name.title(), plural=f"{name}s", group="made.example", structure=Shape(spec))


def offer_of(hook: str, name: str, fields: Any) -> tuple[str, Any]:
    records: Mapping[str, Callable[[], Any]] = {
        "kastra_resource_kinds": lambda: kind_of(name, fields),
        "kastra_controllers": lambda: ControllerRegistration(name=name, kind=name[0], group="x", factory="a:b"),
        "kastra_stores": lambda: StoreRegistration(name=name, schemes=(name,), factory="a:b"),
        "kastra_model_providers": lambda: ModelProviderRegistration(name=name, providers=(name,), factory="a:b"),
        "kastra_migrators": lambda: MigratorRegistration(name=name, factory="a:b"),
        "kastra_operations": lambda: OperationRegistration(name=name, handler="a:b"),
        "kastra_commands": lambda: CommandRegistration(name=name, command="a:b"),
    }
    return hook, records[hook]()


WORDS = {
    "kastra_resource_kinds": "kind {}.made.example",
    "kastra_controllers": "controller {}",
    "kastra_stores": "store scheme {}",
    "kastra_model_providers": "model provider {}",
    "kastra_migrators": "migrator {}",
    "kastra_operations": "operation {}",
    "kastra_commands": "command {}",
}
OFFERS = st.dictionaries(st.tuples(st.sampled_from(list(WORDS)), NAMES), FIELDS, min_size=1, max_size=6).map(
    lambda found: [offer_of(hook, name, fields) for (hook, name), fields in found.items()]
)


@settings(max_examples=60)
@given(OFFERS, st.integers(0, 5), st.randoms())
def test_a_set_loses_nothing_to_itself_and_any_offer_that_is_taken_away_is_told(
    offers: list[tuple[str, Any]], at: int, random: Any
) -> None:
    middle = random.randrange(len(offers) + 1)
    plugins = [offers[:middle], offers[middle:]]
    before = locked_set(*plugins)
    shuffled = [random.sample(those, len(those)) for those in plugins]
    assert lock_text(locked_set(*shuffled)) == lock_text(before)
    assert compare(before, before, {}) == []
    gone = offers[at % len(offers)]
    hook, record = gone
    left = locked_set(*([offer for offer in those if offer is not gone] for those in plugins))
    title = WORDS[hook].format(record.kind if hook == "kastra_resource_kinds" else record.name)
    (found,) = compare(before, left, {})
    assert found.message.startswith(f"{title} is gone: ")
    # Nobody names a controller: one that has another beside it for its kind leaves nothing undone.
    stays = hook == "kastra_controllers" and any(
        h == hook and r is not record and r.kind == record.kind for h, r in offers
    )
    assert found.level == ("changed" if stays else "lost")
    assert [f.level for f in compare(left, before, {})] == ["new"]


def leaves(fields: Any) -> Iterator[tuple[Any, str]]:
    """(properties, name) of each field."""
    for name, below in fields.items():
        yield fields, name
        while "items" in below or "additionalProperties" in below:
            below = below.get("items") or below["additionalProperties"]
        yield from leaves(below.get("properties", {}))


def made(fields: Any) -> Any:
    return locked_set([("kastra_resource_kinds", kind_of("thing", fields))])


@settings(max_examples=60)
@given(FIELDS, st.data())
def test_any_field_that_is_taken_away_or_becomes_another_is_told(fields: Any, data: st.DataObject) -> None:
    before = made(fields)
    less, other = copy.deepcopy(fields), copy.deepcopy(fields)
    number = data.draw(st.integers(0, len(list(leaves(fields))) - 1))
    properties, name = list(leaves(less))[number]
    del properties[name]
    found = compare(before, made(less), {})
    assert [f.level for f in found] == ["lost"]
    assert found[0].message.endswith(f"{name} any more")
    properties, name = list(leaves(other))[number]
    properties[name] = {"type": "null"}
    assert "lost" in {f.level for f in compare(before, made(other), {})}


def objects(schema: Any) -> Iterator[Any]:
    """Each schema of an object with properties."""
    if schema.get("properties"):
        yield schema
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for one in filter(None, below):
        yield from objects(one)


@settings(max_examples=60)
@given(FIELDS, st.data())
def test_any_field_that_must_be_there_from_now_on_is_told(fields: Any, data: st.DataObject) -> None:
    before, strict, more = made(fields), copy.deepcopy(fields), copy.deepcopy(fields)
    found = list(objects({"properties": strict}))[1:]
    assume(found)
    number = data.draw(st.integers(0, len(found) - 1))
    name = data.draw(st.sampled_from(sorted(found[number]["properties"])))
    found[number]["required"] = [name]
    ((level, message),) = [(d.level, d.message) for d in compare(before, made(strict), {})]
    assert level == "lost"
    assert message.endswith(f"{name} is required now, manifests could do without it")
    assert [d.level for d in compare(made(strict), before, {})] == ["changed"]
    place = list(objects({"properties": more}))[1:][number]
    place["properties"]["new"] = {"type": "string"}
    place["required"] = ["new"]
    assert [d.level for d in compare(before, made(more), {})] == ["lost", "new"]
    assert [d.level for d in compare(made(more), before, {})] == ["lost"]


@pytest.mark.parametrize(
    ("before", "after", "demanded"),
    [
        ({"spec.a": "object"}, {"spec.a": "object", "spec.a.b": "string, required"}, ["spec.a.b"]),
        ({"spec.a": "object"}, {"spec.a": "object", "spec.n": "object", "spec.n.b": "string, required"}, []),
        ({"spec.a": "string"}, {"spec.a": "object | string", "spec.a.b": "string, required"}, []),
        ({"spec.a": "string"}, {"spec.a": "object | string, required"}, ["spec.a"]),
        ({"spec.a": "any"}, {"spec.a": "object", "spec.a.b": "object", "spec.a.b.c": "any, required"}, ["spec.a.b.c"]),
        ({"spec.a[*]": "object"}, {"spec.a[*]": "object", "spec.a[*].b": "any, required"}, ["spec.a[*].b"]),
        ({"spec.a": "string, required"}, {"spec.a": "string, required"}, []),
        ({}, {"spec": "object, required"}, ["spec"]),
    ],
)
def test_what_is_inside_of_something_new_is_demanded_of_nobody(before: Any, after: Any, demanded: list[str]) -> None:
    assert [path for path in after if demands(after, before, path)] == demanded


ABILITIES: dict[str, tuple[str, Any, dict[str, Any], str]] = {
    "runs": ("kastra_resource_kinds", kind_of("k", {}), {"runner": "a:b"}, "it cannot be run any more"),
    "pictures": ("kastra_resource_kinds", kind_of("k", {}), {"graph": "a:b"}, "it cannot be drawn any more"),
    "kinds": ("kastra_resource_kinds", kind_of("k", {}), {"defines": "a:b"}, "it cannot define kinds any more"),
    "replicas": (
        "kastra_resource_kinds",
        kind_of("k", {}),
        {"scale": Scale(spec_replicas_path=".spec.n")},
        "it cannot be scaled any more",
    ),
    "maintenance": (
        "kastra_stores",
        StoreRegistration(name="s", schemes=("box",), factory="a:b"),
        {"admin": "a:b"},
        "maintenance of store scheme box is gone",
    ),
    "embeddings": (
        "kastra_model_providers",
        ModelProviderRegistration(name="m", providers=("p",), factory="a:b"),
        {"embeddings": "e"},
        "embeddings of model provider p is gone",
    ),
    "exports": (
        "kastra_migrators",
        MigratorRegistration(name="m", factory="a:b"),
        {"exporter": "a:b"},
        "exporter m is gone",
    ),
    "old objects": (
        "kastra_migrators",
        MigratorRegistration(name="m", factory="a:b"),
        {"api_versions": ("old/v1",)},
        "migration of stored apiVersion old/v1 is gone",
    ),
}


@pytest.mark.parametrize("what", ABILITIES)
def test_what_a_record_can_no_longer_do_is_told(what: str) -> None:
    hook, record, able, told = ABILITIES[what]
    less, more = locked_set([(hook, record)]), locked_set([(hook, attrs.evolve(record, **able))])
    (found,) = compare(more, less, {})
    assert found.level == "lost"
    assert told in found.message
    assert [found.level for found in compare(less, more, {})] == ["new"]


# ------------------------------------------------------------------------------------------------ fields


@attrs.frozen(kw_only=True)
class Leaf:
    value: int | None = 0


@attrs.frozen(kw_only=True)
class Tree:
    mode: Literal["a | b", "c"] | None = None
    leaf: Leaf
    branches: tuple[Tree, ...] = ()
    by_name: Mapping[str, Leaf] = attrs.field(factory=dict)
    open: Any = None


def test_the_fields_of_a_class_are_told_with_what_is_below_them() -> None:
    def fill(manifest: Any) -> Any:
        return manifest

    kind = ResourceKind(kind="Tree", plural="trees", spec_type=Tree, default=fill)
    assert fields_of(kind) == {
        "spec": "object",
        "spec.branches": "array",
        "spec.branches[*]": "object",
        "spec.byName": "object",
        "spec.byName.*": "object",
        "spec.byName.*.value": "integer | null",
        "spec.leaf": "object",
        "spec.leaf.value": "integer | null",
        "spec.mode": '"a | b" | "c" | null',
        "spec.open": "any",
    }


def test_a_kind_without_a_class_takes_any_field() -> None:
    fields = fields_of(ResourceKind(kind="Free", plural="frees"))
    assert fields == {"spec": "object", "spec.*": "any"}
    assert holds_field(fields, "spec.a[*].b")


@pytest.mark.parametrize(
    ("new", "old", "allowed"),
    [
        ("any", "string", True),
        ("string", "any", False),
        ("string", '"a | b" | "c"', True),
        ('"a"', '"a | b"', False),
        ("number", "integer", True),
        ("integer", "number", False),
        ("boolean | integer", "1 | true", True),
        ("number", "1.5", True),
        ("integer", "1.5", False),
        ("null | string", "string", True),
        ("string", "null | string", False),
    ],
)
def test_a_type_allows_what_another_did(new: str, old: str, allowed: bool) -> None:
    assert allows(new, old) == allowed


@pytest.mark.parametrize(
    ("fields", "path", "holds"),
    [
        ({"spec.ab": "string"}, "spec.a", False),
        ({"spec.a": "any"}, "spec.a.b[*].c", True),
        ({"spec.a": "object", "spec.a.*": "any"}, 'spec.a."x.y".z', True),
        ({"spec.a": "object", "spec.a.*": "string"}, "spec.a.b", False),
        ({"*": "any"}, "spec", True),
    ],
)
def test_a_field_is_there_by_name_or_below_what_takes_any(fields: Any, path: str, holds: bool) -> None:
    assert holds_field(fields, path) == holds


def test_the_fields_of_every_installed_kind_are_told() -> None:
    data, failed = lock_data(PluginManager())
    assert failed == {}
    kinds = {
        name: kind for plugin in data["plugins"].values() for name, kind in plugin["offers"].get("kinds", {}).items()
    }
    for name in ("Agent.mastra.ai", "Tool.mastra.ai", "Workflow.mastra.ai"):
        assert len(kinds[name]["versions"]["mastra.ai/v1"]) > 30
    assert "v1" in {version.rpartition("/")[2] for kind in kinds.values() for version in kind["versions"]}
    assert compare(data, data, {}) == []
