"""Finding plugins, loading them late, and keeping a broken one from hurting the rest."""

# ruff: noqa: E501 - tables of cases read better in long lines
from __future__ import annotations

import importlib.metadata
import logging
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.kind import ResourceKind
from kastra_core.errors import PluginConflictError, PluginLoadError, SamePluginNameError
from kastra_core.hookspecs import hookimpl
from kastra_core.plugins import ENTRY_POINT_GROUP, PluginManager, entry_points
from kastra_core.registrations import (
    CommandRegistration,
    ControllerRegistration,
    MigratorRegistration,
    ModelProviderRegistration,
    OperationRegistration,
    StoreRegistration,
)

HEAD = """\
from kastra_core.hookspecs import hookimpl
from kastra_core.registrations import *
"""


class Site:
    """A directory on sys.path with distributions in it."""

    def __init__(self, root: Path) -> None:
        self.root, self.modules = root, list[str]()

    def install(self, name: str, code: str, *, info: str = "", text: str | None = None, version: str = "1.0") -> None:
        """Write ``<name>.py`` and its metadata, as an installer does."""
        (self.root / f"{name}.py").write_text(HEAD + code, encoding="utf-8")
        self.modules.append(name)
        folder = self.root / (info or f"{name}-{version}.dist-info")
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        text = f"[{ENTRY_POINT_GROUP}]\n{name} = {name}\n" if text is None else text
        (folder / "entry_points.txt").write_text(text, encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Alone on the path but for the standard library and what is loaded already."""
    found = Site(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("kastra_core.plugins.entry_points", lambda: entry_points([str(tmp_path)]))
    yield found
    for name in found.modules:
        sys.modules.pop(name, None)


GOOD = """
@hookimpl
def kastra_operations():
    yield OperationRegistration(name="{0}.do", handler="nowhere:at_all")
"""


def only_fault(manager: PluginManager) -> str:
    (fault,) = manager.faults
    return str(fault)


# ------------------------------------------------------------------------------------------ discovery


def installed(path: list[str] | None = None) -> list[tuple[str, str]]:
    points: Any = (
        importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
        if path is None
        else [
            point
            for distribution in importlib.metadata.distributions(path=path)
            for point in distribution.entry_points
            if point.group == ENTRY_POINT_GROUP
        ]
    )
    return sorted({(point.name, point.value.split("[")[0].strip()) for point in points})


def test_discovery_gives_what_importlib_metadata_gives() -> None:
    found = [(point.name, point.module) for point in entry_points()]
    assert found == installed()
    assert ("agent", "kastra_plugin_agent.hooks") in found


def test_discovery_knows_distribution_and_version() -> None:
    point = next(point for point in entry_points() if point.name == "agent")
    assert point.distribution == "kastra-plugin-agent"
    assert point.version == importlib.metadata.version("kastra-plugin-agent")


def test_discovery_reads_entry_points_as_importlib_metadata(site: Site) -> None:
    text = (
        "# a comment\n[console_scripts]\nkastra = a:b\n\n[kastra]\n one = pkg.hooks \n# no = x\ntwo=pkg.two [extra]\n"
        "\n[kastra.other]\nthree = pkg.three\n[other]\nkastra = pkg.four\n"
    )
    site.install("several", "", text=text)
    site.install("none_at_all", "", text="")
    site.install("upper_Case", "")
    found = [(point.name, point.module) for point in entry_points([str(site.root)])]
    assert found == installed([str(site.root)])
    assert found == [("one", "pkg.hooks"), ("two", "pkg.two"), ("upper_Case", "upper_Case")]


def test_of_two_versions_of_a_distribution_the_first_on_the_path_counts(tmp_path: Path) -> None:
    first, second = Site(tmp_path / "1"), Site(tmp_path / "2")
    for place in (first, second):
        place.root.mkdir()
    first.install("acme", "", info="acme_plug-2.0.dist-info", text="[kastra]\nnew = new_module\n")
    second.install("acme", "", info="Acme.Plug-1.0.dist-info", text="[kastra]\nold = old_module\n")
    path = [str(first.root), str(tmp_path / "missing"), str(second.root), str(first.root)]
    assert [(point.name, point.distribution, point.version) for point in entry_points(path)] == [
        ("new", "acme-plug", "2.0")
    ]


def test_two_distributions_with_a_plugin_of_one_name_are_both_named(site: Site) -> None:
    site.install("kp_first", GOOD.format("first"), info="a_tools-1.0.dist-info", text="[kastra]\nacme = kp_first\n")
    site.install("kp_second", GOOD.format("second"), info="b_tools-2.0.dist-info", text="[kastra]\nacme = kp_second\n")
    manager = PluginManager()
    info = manager.load()["acme"]
    assert (info.module, info.distribution, info.state) == ("kp_first", "a-tools", "loaded")
    told = "two distributions have a plugin named 'acme': a-tools 1.0 and b-tools 2.0; the first is used, uninstall one"
    assert [str(fault).startswith(told) for fault in manager.faults] == [True]
    assert isinstance(info.conflicts[0], SamePluginNameError)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("ResourceKind(kind='X', plural=4)", "ResourceKind.plural is 4, expected a text"),
        (
            "ResourceKind(kind='X', plural='x', short_names=('a', 1))",
            "short_names is ('a', 1), expected a tuple of texts",
        ),
        ("ResourceKind(kind='X', plural='x', short_names='a')", "ResourceKind.short_names is 'a', expected a tuple"),
        ("ResourceKind(kind='X', plural='x', namespaced='no')", "namespaced is 'no', expected true or false"),
        ("ResourceKind(kind='X', plural='x', runner='no module')", "expected an object, or its name as"),
        ("ControllerRegistration(name='a', kind=None, factory=print)", "kind is None, expected a text"),
        (
            "ControllerRegistration(name='a', kind='A', factory=None)",
            "factory is None, expected an object, or its name",
        ),
        ("ControllerRegistration(name='a', kind='A', factory='a.b')", "factory is 'a.b', expected an object, or its"),
        (
            "ModelProviderRegistration(name='x', providers=5, factory='a:b')",
            "providers is 5, expected a tuple of texts",
        ),
        ("ControllerRegistration(name='a', kind='A', factory='a:b', workers=True)", "expected a whole number"),
        ("ResourceKind(kind='a b', plural='x')", "ResourceKind.kind is 'a b', expected letters and digits"),
        ("ResourceKind(kind='X', plural='../x')", "ResourceKind.plural is '../x', expected lower case letters"),
        ("ResourceKind(kind='X', plural='x', group='A b')", "group is 'A b', expected a domain"),
        ("ResourceKind(kind='X', plural='x', description='\\udc80')", "description is '\\udc80', expected a text"),
        ("ResourceKind(kind='X', plural='x', conversions='v0')", "expected a map of which each value is an object"),
        ("ResourceKind(kind='X', plural='x', printer_columns=(5,))", "expected a tuple of PrinterColumn"),
        ("ControllerRegistration(name='', kind='A', factory='a:b')", "name is '', expected a name without blanks"),
    ],
)
def test_a_field_of_a_record_that_is_of_another_type_quarantines_its_plugin(site: Site, record: str, told: str) -> None:
    hook = {"R": "resource_kinds", "C": "controllers", "M": "model_providers"}[record[0]]
    code = f"from kastra_core.registrations import *\n@hookimpl\ndef kastra_{hook}():\n    yield {record}\n"
    site.install("kp_wrong", code)
    info = PluginManager().load()["kp_wrong"]
    assert info.state == "quarantined"
    assert told in str(info.error)


def test_a_provider_whose_plugin_is_chosen_is_no_clash(site: Site) -> None:
    code = "from kastra_core.registrations import *\n@hookimpl\ndef kastra_model_providers():\n"
    for name in ("kp_one", "kp_two"):
        site.install(
            name, f"{code}    yield ModelProviderRegistration(name='{name}', providers=('p',), factory='a:b')\n"
        )
    assert [fault.name for fault in PluginManager().faults if isinstance(fault, PluginConflictError)] == ["p"]
    assert PluginManager(providers={"p": "kp_two"}).faults == []
    assert len(PluginManager(providers={"p": "kp_gone"}).faults) == 1


def test_discovery_steps_over_what_it_cannot_read(site: Site) -> None:
    site.install("acme", "")
    broken = site.root / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_bytes(b"[kastra]\nx = \xff\xfe\n")
    (site.root / "file-1.0.dist-info").write_text("", encoding="utf-8")
    (site.root / "egg-1.0-py3.11.egg-info").write_text("", encoding="utf-8")
    places: list[Any] = [str(site.root), str(site.root / "acme.py"), "\0", None, 5]
    # What is no UTF-8 is told when it is loaded.
    assert [point.name for point in entry_points(places)] == ["acme", "x"]
    assert "expected MODULE or MODULE:OBJECT" in only_fault(PluginManager())


def test_what_an_interrupted_installation_put_aside_is_no_plugin(site: Site) -> None:
    site.install("acme", "", info="~acme-1.0.dist-info")
    assert entry_points([str(site.root)]) == []


def test_of_what_was_installed_in_development_mode_the_metadata_tell_the_version(site: Site) -> None:
    site.install("acme", "", info="acme.egg-info", version="3.2")
    assert [point.version for point in entry_points([str(site.root)])] == ["3.2"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kp odd = kp_odd", "its name is 'kp odd', expected letters"),
        ("a,b = kp_odd", "its name is 'a,b', expected letters"),
        ("kp_odd =", "it names '', expected MODULE"),
        ("kp_odd = .kp_odd", "it names '.kp_odd', expected MODULE"),
        ("kp_odd = kp_odd\nkp_two = kp_odd", "its module kp_odd is the plugin 'kp_odd' already"),
        ("kp_odd = kp_odd\nkp_odd = kp_two", "kp-odd 1.0 (kp_odd) and kp-odd 1.0 (kp_two)"),
    ],
)
def test_an_entry_point_that_nobody_can_use_is_told(site: Site, text: str, told: str) -> None:
    site.install("kp_odd", "", text=f"[{ENTRY_POINT_GROUP}]\n{text}\n")
    assert told in only_fault(PluginManager())


# ------------------------------------------------------------------------------------------ loading


def test_making_a_manager_loads_nothing(site: Site) -> None:
    site.install("kp_lazy", GOOD.format("lazy"))
    manager = PluginManager()
    assert "kp_lazy" not in sys.modules
    assert ("kp_lazy", "lazy.do") in [(name, r.name) for name, r in manager.records("kastra_operations")]
    assert "kp_lazy" in sys.modules


def test_importing_the_manager_imports_no_plugin_and_no_importlib_metadata() -> None:
    code = (
        "import sys; from kastra_core.plugins import PluginManager; PluginManager(); "
        "print([m for m in sys.modules if m.startswith('kastra_plugin')], 'asyncio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[] False"


def test_a_plugin_is_loaded_once(site: Site) -> None:
    site.install("kp_once", "import sys\nsys.kp_once = getattr(sys, 'kp_once', 0) + 1\n" + GOOD.format("once"))
    manager = PluginManager()
    try:
        assert manager.records("kastra_operations") == manager.records("kastra_operations")
        assert manager.load() is manager.load()
        assert sys.kp_once == 1  # type: ignore[attr-defined]
    finally:
        del sys.kp_once  # type: ignore[attr-defined]


def test_records_come_in_the_order_of_plugin_names_the_core_first(site: Site) -> None:
    for name in ("kp_b", "kp_a", "kp_c"):
        site.install(name, GOOD.format(name))
    names = [name for name, _ in PluginManager().records("kastra_operations")]
    own = names.count("kastra-core")
    assert own > 1
    assert names == ["kastra-core"] * own + ["kp_a", "kp_b", "kp_c"]


def test_an_entry_point_may_name_an_object(site: Site) -> None:
    code = "class Hooks:\n    @hookimpl\n    def kastra_operations(self):\n        yield OperationRegistration(name='o.do', handler='x:y')\nhooks = Hooks()\n"
    site.install("kp_object", code, text="[kastra]\nthing = kp_object:hooks\n")
    manager = PluginManager()
    assert manager.faults == []
    assert "thing" in dict(manager.records("kastra_operations"))
    assert "kp_object" in manager.packages()


def test_extra_plugins_are_modules_by_name_or_objects(site: Site) -> None:
    site.install("kp_named", GOOD.format("named"), text="")
    manager = PluginManager(
        extra=[("by-name", "kp_named"), ("by-object", plugin(operations=["obj.do"]))], discover=False
    )
    assert manager.faults == []
    names = [name for name, _ in manager.records("kastra_operations")]
    assert [name for name in names if name != "kastra-core"] == ["by-name", "by-object"]


def test_a_blocked_plugin_is_not_even_imported(site: Site) -> None:
    site.install("kp_blocked", "raise SystemError('imported')\n")
    manager = PluginManager(block=["kp_blocked", "kp_unheard_of"])
    assert manager.load()["kp_blocked"].state == "blocked"
    assert manager.faults == []
    assert "kp_blocked" not in sys.modules


def test_the_core_itself_cannot_be_blocked() -> None:
    manager = PluginManager(block=["kastra-core"], discover=False)
    assert [record.kind for _, record in manager.records("kastra_resource_kinds")] == ["Run", "Event"]


# ------------------------------------------------------------------------------------------ quarantine

BROKEN: list[tuple[str, str, str, str]] = [
    ("import error", "import not_there_at_all", "import", "ModuleNotFoundError: No module named 'not_there_at_all'"),
    ("syntax error", "def broken(:", "import", "SyntaxError"),
    ("exit at import", "import sys; sys.exit(3)", "import", "SystemExit: 3"),
    ("raise without text", "raise ValueError", "import", "ValueError"),
    ("raise with lines", "raise ValueError('a\\n  b')", "import", "ValueError: a b"),
    (
        "raise in a hook",
        "@hookimpl\ndef kastra_stores():\n    raise OSError('no luck')",
        "hook kastra_stores",
        "OSError: no luck",
    ),
    (
        "raise late in a hook",
        GOOD.format("late") + "    raise OSError('late')",
        "hook kastra_operations",
        "OSError: late",
    ),
    (
        "exit in a hook",
        "@hookimpl\ndef kastra_stores():\n    raise SystemExit(1)",
        "hook kastra_stores",
        "SystemExit: 1",
    ),
    (
        "wrong record",
        "@hookimpl\ndef kastra_stores():\n    yield 5",
        "hook kastra_stores",
        "it yielded 5, expected StoreRegistration records",
    ),
    (
        "record of another hook",
        "@hookimpl\ndef kastra_stores():\n    yield OperationRegistration(name='a.b', handler='x:y')",
        "hook kastra_stores",
        "expected StoreRegistration",
    ),
    ("not iterable", "@hookimpl\ndef kastra_stores():\n    return 5", "hook kastra_stores", "expected an iterable of"),
    (
        "bad record",
        "@hookimpl\ndef kastra_stores():\n    yield StoreRegistration(nam='x')",
        "hook kastra_stores",
        "TypeError",
    ),
    (
        "misspelt hook",
        "@hookimpl\ndef kastra_store():\n    return ()",
        "registration",
        "'kastra_store' is no hook; did you mean 'kastra_stores'?",
    ),
    ("unheard-of hook", "@hookimpl\ndef zzz():\n    return ()", "registration", "hooks are kastra_resource_kinds"),
    (
        "unmarked hook",
        "def kastra_stores():\n    return ()",
        "registration",
        "'kastra_stores' is not marked: put @hookimpl above it",
    ),
    ("arguments", "@hookimpl\ndef kastra_stores(register):\n    return ()", "registration", "register"),
    (
        "version",
        "KASTRA_API_VERSION = 99",
        "registration",
        "it was made for version 99 of the hooks",
    ),
    (
        "twice the same name",
        GOOD.format("x") + GOOD.format("x").split(":\n")[1],
        "hook kastra_operations",
        "yields the operation 'x.do' twice",
    ),
    (
        "wrapper",
        "@hookimpl(wrapper=True)\ndef kastra_stores():\n    return (yield)",
        "hook kastra_stores",
        "it yielded None",
    ),
]


@pytest.mark.parametrize(("code", "stage", "cause"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_plugin_is_quarantined_and_the_rest_goes_on(site: Site, code: str, stage: str, cause: str) -> None:
    site.install("kp_broken", GOOD.format("broken") + code if stage == "registration" else code)
    site.install("kp_well", GOOD.format("well"))
    manager = PluginManager()
    records = [name for hook in ("kastra_operations", "kastra_stores") for name, _ in manager.records(hook)]
    assert "kp_well" in records
    assert "kp_broken" not in records
    info = manager.load()["kp_broken"]
    assert (info.state, info.records) == ("quarantined", {})
    assert isinstance(info.error, PluginLoadError)
    assert info.error.stage == stage
    assert cause in info.error.cause
    assert "\n" not in info.error.cause
    assert "Traceback" in info.debug
    assert only_fault(manager) == str(info.error)
    assert "kp_broken" not in manager.packages()


def test_control_c_while_a_plugin_loads_is_control_c_and_names_it(site: Site) -> None:
    site.install("kp_slow", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt, match=r"plugin 'kp_slow' .* --no-plugin kp_slow leaves it out"):
        PluginManager().load()


def test_an_import_that_takes_long_is_told_meanwhile(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kastra_core._plugin_checks._SLOW_S", 0.01)
    told = "import logging, time\nend = time.monotonic() + 20\n"
    site.install(
        "kp_slow", told + "while 'logged' not in globals() and time.monotonic() < end:\n    time.sleep(0.01)\n"
    )

    class Stop(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            sys.modules["kp_slow"].logged = True  # type: ignore[attr-defined]

    stop = Stop()
    logging.getLogger("kastra.plugins").addHandler(stop)
    try:
        PluginManager().load()
    finally:
        logging.getLogger("kastra.plugins").removeHandler(stop)
    assert "the import of plugin 'kp_slow' (kp_slow) takes more than 0.01 s; --no-plugin kp_slow" in caplog.text


def test_what_an_import_does_to_the_process_is_undone(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.install("kp_rude", "import os, sys\nprint('hello')\nos.chdir('/')\nsys.stdout = None\nsys.path.clear()\n")
    before = (Path.cwd(), list(sys.path), sys.stdout)
    assert PluginManager().faults == []
    assert (Path.cwd(), list(sys.path), sys.stdout) == before
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize("stated", ["True", "1.0", "'1'", "10**30", "'\\udc80'"])
def test_a_version_of_the_hooks_is_a_whole_number(site: Site, stated: str) -> None:
    site.install("kp_odd", f"KASTRA_API_VERSION = {stated}\n")
    assert "expected a whole number" in only_fault(PluginManager())
    assert PluginManager().load()["kp_odd"].api_version is None


def test_whatever_a_plugin_raises_can_be_told(site: Site) -> None:
    site.install("kp_mute", "class E(Exception):\n    def __str__(self): raise ValueError\nraise E\n")
    site.install("kp_loud", "raise ValueError('x' * 9999 + '\\udc80')\n")
    site.install("kp_end", "raise GeneratorExit\n")
    told = [str(fault) for fault in PluginManager().faults]
    assert "GeneratorExit" in told[0]
    assert len(told[1]) < 1200
    assert "E: (its text cannot be had)" in told[2]


# ------------------------------------------------------------------------------------------ clashes


def plugin(**offers: list[Any]) -> Any:
    """A module with hooks: ``kinds=[(kind, plural)], controllers=[name], stores=[schemes], providers=[names], ...``."""
    make: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "kinds": ("kastra_resource_kinds", lambda v: ResourceKind(kind=v[0], plural=v[1], group=(*v, "mastra.ai")[2])),
        "controllers": ("kastra_controllers", lambda v: ControllerRegistration(name=v, kind="K", factory="x:y")),
        "stores": ("kastra_stores", lambda v: StoreRegistration(name=v[0], schemes=v, factory="x:y")),
        "providers": ("kastra_model_providers", lambda v: ModelProviderRegistration(name=v[0], providers=v, factory="x:y")),
        "fallbacks": ("kastra_model_providers", lambda v: ModelProviderRegistration(name=v[0], providers=v, factory="x:y", fallback=True)),
        "migrators": ("kastra_migrators", lambda v: MigratorRegistration(name=v, factory="x:y")),
        "operations": ("kastra_operations", lambda v: OperationRegistration(name=v, handler="x:y")),
        "commands": ("kastra_commands", lambda v: CommandRegistration(name=v, command="x:y")),
    }  # fmt: skip
    module = types.ModuleType("kp_made")
    for offer, values in offers.items():
        hook, record = make[offer]
        setattr(module, hook, hookimpl(lambda values=values, record=record: [record(value) for value in values]))
    return module


def two(first: Any, second: Any) -> PluginManager:
    return PluginManager(extra=[("b-second", second), ("a-first", first)], discover=False)


CLASHES: list[tuple[str, Any, Any, str, str]] = [
    ("kinds", ("Thing", "things"), ("Thing", "others"), "kind", "Thing.mastra.ai"),
    ("kinds", ("Thing", "things"), ("Other", "things"), "kind", "plural things.mastra.ai"),
    ("controllers", "c", "c", "controller", "c"),
    ("stores", ("acme",), ("acme",), "store scheme", "acme"),
    ("providers", ("p",), ("p",), "model provider", "p"),
    ("migrators", "m", "m", "migrator", "m"),
    ("operations", "o.do", "o.do", "operation", "o.do"),
    ("commands", "c", "c", "command", "c"),
]


@pytest.mark.parametrize(("offer", "mine", "theirs", "what", "name"), CLASHES)
def test_a_clash_is_told_once_and_the_first_keeps_its_name(
    offer: str, mine: Any, theirs: Any, what: str, name: str
) -> None:
    manager = two(plugin(**{offer: [mine]}), plugin(**{offer: [theirs], "operations": ["left.over"]})
                  if offer != "operations" else plugin(operations=[theirs, "left.over"]))  # fmt: skip
    (fault,) = manager.faults
    assert isinstance(fault, PluginConflictError)
    assert (fault.what, fault.name, fault.first, fault.second) == (what, name, "a-first", "b-second")
    infos = manager.load()
    assert (infos["a-first"].state, infos["b-second"].state) == ("loaded", "loaded")
    assert infos["a-first"].conflicts == infos["b-second"].conflicts == [fault]
    (kept,) = [records for hook, records in infos["a-first"].records.items() if records]
    assert len(kept) == 1
    assert "left.over" in [record.name for _, record in manager.records("kastra_operations")]


def test_the_loser_of_a_clash_is_not_used() -> None:
    manager = two(plugin(kinds=[("Thing", "things")]), plugin(kinds=[("Thing", "others"), ("More", "mores")]))
    kinds = [(name, record.plural) for name, record in manager.records("kastra_resource_kinds")]
    assert kinds[2:] == [("a-first", "things"), ("b-second", "mores")]


def test_the_core_wins_every_clash() -> None:
    manager = PluginManager(extra=[("a", plugin(kinds=[("Run", "jogs")], stores=[("memory",)]))], discover=False)
    assert {(fault.first, fault.second) for fault in manager.faults if isinstance(fault, PluginConflictError)} == {
        ("kastra-core", "a")
    }
    assert [name for name, _ in manager.records("kastra_stores")] == ["kastra-core"]


def test_the_same_kind_in_another_group_is_no_clash() -> None:
    manager = two(plugin(kinds=[("Thing", "things")]), plugin(kinds=[("Thing", "things", "acme.example")]))
    assert manager.faults == []


def test_a_store_keeps_the_schemes_that_nobody_else_has() -> None:
    manager = two(plugin(stores=[("one", "both")]), plugin(stores=[("both", "two")]))
    assert [record.schemes for _, record in manager.records("kastra_stores")][1:] == [("one", "both"), ("two",)]


def test_a_model_provider_that_clashes_stays_to_be_chosen() -> None:
    manager = two(plugin(providers=[("p",)]), plugin(providers=[("p", "q")]))
    assert [(name, record.providers) for name, record in manager.records("kastra_model_providers")] == [
        ("a-first", ("p",)), ("b-second", ("p", "q")),
    ]  # fmt: skip
    assert len(manager.faults) == 1


def test_a_fallback_clashes_with_nobody() -> None:
    manager = PluginManager(
        extra=[
            ("a", plugin(fallbacks=[("*",), ("p",)])), ("b", plugin(fallbacks=[("*",)])), ("c", plugin(providers=[("p",)])),
        ],
        discover=False,
    )  # fmt: skip
    assert manager.faults == []


def test_three_plugins_with_one_name_give_a_fault_each_for_the_two_that_lost() -> None:
    offers = [(name, plugin(commands=["go"])) for name in ("c", "a", "b")]
    manager = PluginManager(extra=offers, discover=False)
    assert [(f.first, f.second) for f in manager.faults if isinstance(f, PluginConflictError)] == [
        ("a", "b"), ("a", "c"),
    ]  # fmt: skip
    assert [name for name, _ in manager.records("kastra_commands")] == ["a"]


def test_a_quarantined_plugin_takes_no_names() -> None:
    broken = plugin(commands=["go"])
    broken.KASTRA_API_VERSION = 99
    manager = two(broken, plugin(commands=["go"]))
    assert [name for name, _ in manager.records("kastra_commands")] == ["b-second"]
    assert "quarantined" in only_fault(manager)


def test_installed_plugins_load_without_faults() -> None:
    manager = PluginManager()
    assert [str(fault) for fault in manager.faults] == []
    assert {"kastra_plugin_agent", "kastra_plugin_tool"} <= manager.packages()
