"""``kastra plugins doctor``: each check fires where something is wrong, and only there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from kastra_core import __version__
from kastra_core.cli import plugins_doctor, plugins_doctor_imports
from kastra_core.cli.plugins_doctor_checks import Finding, Scene
from kastra_core.plugins import entry_points

Kastra = Callable[..., Any]

OURS = {point.name for point in entry_points() if point.distribution.startswith("kastra-plugin-")}
OFF = ",".join(sorted(OURS - {"libsql"}))
"""Plugins that are no matter here."""
WELL = "KASTRA_API_VERSION = 1\n"
CHECKS = [
    "configuration",
    "loading",
    "clashes",
    "hooks",
    "blocked",
    "entry points",
    "distributions",
    "requirements",
    "providers",
    "store",
    "lock file",
]


class Found(NamedTuple):
    level: str
    check: str
    subject: str
    message: str
    remedy: str


class Doctor:
    """Calls the doctor; what our own plugins require is left out, as a checkout may be installed in parts."""

    def __init__(self, kastra: Kastra) -> None:
        self._kastra = kastra
        self.code, self.healthy = 0, True

    def __call__(self, *args: str, before: tuple[str, ...] = ()) -> list[Found]:
        done = self._kastra(*before, "plugins", "doctor", "-o", "json", *args)
        assert "Traceback" not in done.err
        data = orjson.loads(done.out)
        self.code, self.healthy = done.code, data["healthy"]
        assert self.healthy == (done.code == 0)
        found = [Found(**{name: finding[name] for name in Found._fields}) for finding in data["findings"]]
        assert sum(data["counts"].values()) == len(found)
        assert all(one.remedy for one in found if one.level == "FAIL" and one.check != "lock file")
        ours = {*OURS, *(f"kastra-plugin-{name}" for name in OURS)}
        return [one for one in found if one.subject not in ours or one.check != "requirements"]

    def of(self, check: str, *args: str, before: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        """(level, subject) of what one check found."""
        return [(one.level, one.subject) for one in self(*args, before=before) if one.check == check]

    def one(self, check: str, *args: str, before: tuple[str, ...] = ()) -> Found:
        """The one thing that a check found and that is not OK."""
        (found,) = [one for one in self(*args, before=before) if one.check == check and one.level != "OK"]
        return found


@pytest.fixture
def doctor(kastra: Kastra, plugins: Any, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    monkeypatch.setenv("KASTRA_PLUGINS_BLOCK", OFF)
    source = plugins.path / "acme_widgets.py"
    source.write_text(source.read_text(encoding="utf-8") + f"\n{WELL}", encoding="utf-8")
    return Doctor(kastra)


# ------------------------------------------------------------------------------------------------ the command


def test_all_is_well_in_a_project_in_which_all_is(doctor: Doctor) -> None:
    found = doctor()
    assert [one for one in found if one.level != "OK"] == []
    assert list(dict.fromkeys(one.check for one in found)) == [*CHECKS]
    assert doctor.code == 0


def test_the_page_has_a_line_for_each_finding_and_its_remedy_below(
    kastra: Kastra, doctor: Doctor, plugins: Any
) -> None:
    plugins.install("old", "KASTRA_API_VERSION = 0")
    plugins.install("mute", "")
    done = kastra("plugins", "doctor")
    assert done.code == 3
    lines = done.out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("FAIL  loading        plugin 'old' is quarantined"))
    assert lines[at + 1].startswith(f"{'':21}remedy: pip install --upgrade old; ")
    assert re.search(r"^WARN  hooks +plugin 'mute' states no KASTRA_API_VERSION", done.out, re.MULTILINE)
    assert lines[-1].startswith("1 failed, ")
    plugins.install("none", WELL)
    assert kastra("plugins", "doctor", "-o", "yaml").out.startswith("healthy: false\n")


def test_a_check_that_breaks_down_is_told_and_the_others_go_on(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(scene: Scene) -> Iterator[Finding]:
        yield Finding(level="WARN", message="so far")
        raise LookupError("a fault")

    monkeypatch.setitem(plugins_doctor._CHECKS, "hooks", (breaks, ""))
    found = doctor()
    assert [(one.level, one.message) for one in found if one.check == "hooks"] == [
        ("WARN", "so far"),
        ("FAIL", "this could not be looked at: LookupError: a fault"),
    ]
    assert doctor.code == 3
    assert {one.check for one in found} == {*CHECKS}


def test_it_works_where_everything_is_broken(
    shell: Kastra, plugins: Any, project: Path, environment: dict[str, str]
) -> None:
    (project / ".kastra").mkdir()
    (project / ".kastra" / "config.yaml").write_text("store: [\nprovidrs: 5\n", encoding="utf-8")
    (project / "kastra-plugins.lock").write_bytes(b"\xff")
    plugins.install("exits", "import sys\nsys.exit(9)")
    plugins.install("lacks", "import surely_not_there")
    plugins.install("twin", WELL, distribution="kastra-plugin-twin")
    plugins.install("twin", WELL, distribution="another-twin", module="other_twin")
    (plugins.install("torn", WELL) / "METADATA").write_bytes(b"\xff\xfe\x00")
    (plugins.install("void", WELL) / "entry_points.txt").write_bytes(b"[kastra\nvoid")
    environment["KASTRA_PLUGINS_BLOCK"] = OFF
    done = shell("plugins", "doctor")
    assert done.code == 3
    assert done.err == ""
    for line in (
        "FAIL  configuration  ",
        "FAIL  loading        plugin 'exits' is quarantined: import failed: SystemExit: 9",
        "FAIL  loading        plugin 'lacks' is quarantined",
        "FAIL  entry points   another-twin 1.0 and kastra-plugin-twin 1.0 announce a plugin 'twin'",
        "WARN  distributions  ",
        "WARN  providers      not looked at",
        "WARN  store          not looked at",
        "WARN  lock file      not looked at",
    ):
        assert f"\n{line}" in f"\n{done.out}", line
    assert "Traceback" in shell("--debug", "plugins", "doctor").err


def test_what_plugins_print_does_not_get_into_the_data(shell: Kastra, plugins: Any) -> None:
    plugins.install("loud", f"print('hello from a plugin')\n{WELL}")
    done = shell("plugins", "doctor", "-o", "json")
    assert orjson.loads(done.out)["findings"]
    assert done.err == "hello from a plugin\n"


def test_it_works_where_the_directory_is_gone(shell: Kastra, plugins: Any, project: Path) -> None:
    plugins.install("rmdir", f"import shutil\nshutil.rmtree({str(project)!r}, ignore_errors=True)\n{WELL}")
    done = shell("plugins", "doctor")
    assert "Traceback" not in done.err
    assert "FAIL  " in done.out or done.code == 0


# ------------------------------------------------------------------------------------------------ the set


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("import surely_not_there", "install what has the module surely_not_there"),
        ("import sys\nsys.exit()", "mend sick_plugin in "),
        ("KASTRA_API_VERSION = 2", "pip install --upgrade kastra-core"),
        (
            "from kastra_core import hookimpl\n@hookimpl\ndef kastra_stores():\n    return ['x']\n",
            "mend sick_plugin in ",
        ),
    ],
)
def test_a_quarantined_plugin_fails(doctor: Doctor, plugins: Any, source: str, remedy: str) -> None:
    plugins.install("sick", source)
    found = doctor.one("loading")
    assert (found.level, found.subject) == ("FAIL", "sick")
    assert remedy in found.remedy
    assert doctor.code == 3


CLASH = """
from kastra_core import ModelProviderRegistration, OperationRegistration, hookimpl
KASTRA_API_VERSION = 1


@hookimpl
def kastra_model_providers():
    yield ModelProviderRegistration(name="{name}", providers=("dupai",), factory="a:b")
"""


def test_a_clash_fails_until_the_configuration_settles_it(kastra: Kastra, doctor: Doctor, plugins: Any) -> None:
    plugins.install("one", CLASH.format(name="one"))
    plugins.install("two", CLASH.format(name="two"))
    found = doctor.one("clashes")
    assert (found.level, found.subject) == ("FAIL", "two")
    assert found.remedy == "choose: `kastra config set providers.dupai.plugin PLUGIN` with one or two"
    kastra("config", "set", "providers.dupai.plugin", "two")
    assert doctor.of("clashes") == [("OK", "")]
    kastra("config", "unset", "providers.dupai.plugin")
    assert doctor.of("clashes", before=("--no-plugin", "one")) == [("OK", "")]


def test_a_plugin_that_states_no_version_of_the_hooks_is_a_warning(doctor: Doctor, plugins: Any) -> None:
    plugins.install("mute", "")
    found = doctor.one("hooks")
    assert (found.level, found.subject) == ("WARN", "mute")
    assert found.remedy == "put KASTRA_API_VERSION = 1 into mute_plugin"
    assert doctor.code == 0


def test_what_is_blocked_is_told_with_what_blocks_it(kastra: Kastra, doctor: Doctor, project: Path) -> None:
    (told,) = [one for one in doctor(before=("--no-plugin", "acme")) if one.subject == "acme"]
    assert (told.level, told.message) == ("OK", "plugin 'acme' is blocked by --no-plugin acme")


def test_where_the_configuration_blocks_is_told(kastra: Kastra, project: Path) -> None:
    kastra("config", "set", "plugins.block", "[acme, acmee, kastra-core]")
    found = [one for one in Doctor(kastra)() if one.check == "blocked"]
    file = project / ".kastra" / "config.yaml"
    assert [(one.level, one.message.partition(f" in {file}:")[0]) for one in found] == [
        ("OK", "plugin 'acme' is blocked by plugins.block"),
        ("WARN", "plugins.block"),
        ("WARN", "plugins.block"),
    ]
    assert found[1].message.endswith("blocks 'acmee', and no installed plugin is called so")
    assert found[2].message.endswith("blocks 'kastra-core', which is the core itself and is loaded all the same")


def test_the_environment_blocks_where_the_configuration_cannot_be_read(
    kastra: Kastra, doctor: Doctor, plugins: Any, project: Path
) -> None:
    (project / ".kastra").mkdir()
    (project / ".kastra" / "config.yaml").write_text("storee: x\n", encoding="utf-8")
    found = doctor(before=("--no-plugin", "acme"))
    assert [one.level for one in found if one.check == "configuration"] == ["FAIL"]
    assert ("OK", "acme") in [(one.level, one.subject) for one in found if one.check == "blocked"]
    assert {one.check for one in found} == {*CHECKS}


# ------------------------------------------------------------------------------------------------ distributions


def test_two_distributions_that_announce_one_plugin_fail(doctor: Doctor, plugins: Any) -> None:
    plugins.install("twin", WELL, distribution="kastra-plugin-twin")
    plugins.install("twin", WELL, distribution="z-twin", module="other_twin")
    found = doctor.one("entry points")
    assert (found.level, found.subject) == ("FAIL", "twin")
    assert "that of kastra-plugin-twin 1.0 is used" in found.message
    assert found.remedy == "keep one of them: pip uninstall z-twin"


def test_a_plugin_with_the_name_of_the_core_fails(doctor: Doctor, plugins: Any) -> None:
    plugins.install("kastra-core", WELL, distribution="impostor", module="impostor")
    found = doctor.one("entry points")
    assert (found.level, found.subject, found.remedy) == ("FAIL", "kastra-core", "pip uninstall impostor")


def test_a_distribution_called_as_a_plugin_that_announces_none_is_a_warning(doctor: Doctor, plugins: Any) -> None:
    plugins.install("idle", WELL, distribution="kastra-plugin-idle", points="[console_scripts]\nidle = idle:main\n")
    plugins.install("other", WELL, distribution="other-things", points="")
    found = doctor.one("entry points")
    assert (found.level, found.subject) == ("WARN", "kastra-plugin-idle")
    assert "it has no entry point in the group 'kastra'" in found.message


def test_a_distribution_that_is_there_twice_is_a_warning(doctor: Doctor, plugins: Any, tmp_path: Path) -> None:
    plugins.install("pair", WELL, version="1.0")
    second = plugins.install("pair", WELL, version="2.0")
    found = doctor.one("distributions")
    assert found.message == "pair is there twice, as pair-1.0.dist-info (used) and pair-2.0.dist-info"
    second.rename(second.with_name("pair.egg-info"))
    assert "and pair.egg-info" in doctor.one("distributions").message


def test_a_distribution_that_another_place_hides_is_a_warning(
    doctor: Doctor, plugins: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "front"))
    front = type(plugins)(tmp_path / "front")
    front.install("pair", WELL, version="2.0")
    assert doctor.of("distributions") == [("OK", "")]
    plugins.install("pair", WELL, version="1.0")
    found = doctor.one("distributions")
    assert (found.level, found.subject) == ("WARN", "pair")
    assert found.message == f"pair 2.0 in {front.path} hides pair 1.0 in {plugins.path}"


def test_metadata_that_cannot_be_read_and_leftovers_are_warnings(doctor: Doctor, plugins: Any) -> None:
    (plugins.install("torn", WELL) / "METADATA").unlink()
    (plugins.path / "~astra_plugin_x-1.0.dist-info").mkdir()
    (plugins.path / "~umpy-1.0.dist-info").mkdir()
    found = [one for one in doctor() if one.check == "distributions"]
    assert [(one.level, one.subject) for one in found] == [("WARN", "torn"), ("WARN", "~astra_plugin_x-1.0.dist-info")]
    assert found[0].remedy == "remove it, then pip install --force-reinstall torn"


def test_what_nobody_can_uninstall_or_read_is_a_warning(doctor: Doctor, plugins: Any) -> None:
    (plugins.install("lost", WELL) / "INSTALLER").write_text("pip\n", encoding="utf-8")
    points = plugins.install("dark", WELL) / "entry_points.txt"
    points.unlink()
    points.mkdir()
    found = [one for one in doctor() if one.check == "distributions"]
    assert [(one.level, one.subject) for one in found] == [("WARN", "lost"), ("WARN", "entry_points.txt")]
    assert "has no RECORD: nobody can upgrade or uninstall it" in found[0].message
    assert "cannot be read (Is a directory)" in found[1].message


def test_a_command_that_bears_a_name_of_the_core_fails(doctor: Doctor, plugins: Any) -> None:
    command = "yield CommandRegistration(name='get', command='a:b')"
    head = "from kastra_core import hookimpl\nfrom kastra_core.registrations import CommandRegistration\n"
    plugins.install("getter", f"{WELL}{head}@hookimpl\ndef kastra_commands():\n    {command}\n")
    found = doctor.one("clashes")
    assert (found.level, found.subject) == ("FAIL", "getter")
    assert found.message.startswith("command 'get' of plugin getter is never called")


def test_a_distribution_that_announces_a_plugin_twice_fails(doctor: Doctor, plugins: Any) -> None:
    plugins.install("twice", WELL, points="[kastra]\ntwice = twice_plugin\ntwice = json\n")
    found = doctor.one("entry points")
    assert (found.level, found.subject) == ("FAIL", "twice")
    assert "twice 1.0 announces 2 plugins 'twice'" in found.message


NEEDS = {
    "is there": (f"Requires-Dist: kastra-core>={__version__}\nRequires-Dist: click", None),
    "not installed": ("Requires-Dist: surely-not-there>=2", ("FAIL", "surely-not-there>=2 (not installed)")),
    "too old": ("Requires-Dist: kastra-core>=99", ("FAIL", f"kastra-core>=99 ({__version__} is installed)")),
    "of another platform": ('Requires-Dist: surely-not-there ; sys_platform == "amiga"', None),
    "of an extra": ('Requires-Dist: surely-not-there ; extra == "x"', None),
    "an extra that is there": ("Requires-Dist: kastra-core[remote]", None),
    "no such extra": ("Requires-Dist: kastra-core[moon]", ("WARN", "which has no such extra")),
    "unreadable": ("Requires-Dist: ???", ("WARN", "??? (cannot be read; not installed)")),
    "odd marker": ('Requires-Dist: click ; planet == "mars"', ("WARN", "(cannot be read; ")),
    "another Python": ("Requires-Python: >=4", ("FAIL", "requires Python >=4; this is 3.")),
    "this Python": ("Requires-Python: >=3.8,<4", None),
}


@pytest.mark.parametrize("case", NEEDS)
def test_what_a_plugin_requires_is_looked_at(doctor: Doctor, plugins: Any, case: str) -> None:
    line, expected = NEEDS[case]
    plugins.install("needy", WELL, fields=f"{line}\n")
    found = [one for one in doctor() if one.check == "requirements" and one.subject == "needy"]
    if expected is None:
        assert found == []
        return
    (one,) = found
    assert one.level == expected[0]
    assert expected[1] in one.message
    assert (doctor.code == 3) == (one.level == "FAIL")
    blocked = doctor(before=("--no-plugin", "needy"))
    assert [one for one in blocked if one.check == "requirements" and one.subject == "needy"] == []


def test_what_an_extra_requires_is_looked_at_with_its_name(doctor: Doctor, plugins: Any) -> None:
    extra = 'Provides-Extra: big\nRequires-Dist: surely-not-there ; extra == "big"\n'
    plugins.install("base", WELL, fields=extra)
    assert doctor.of("requirements") == [("OK", "")]
    plugins.install("needy", WELL, fields="Requires-Dist: base[big]\n")
    found = doctor.one("requirements")
    assert (found.level, found.subject) == ("FAIL", "needy")
    assert found.message == "needy 1.0 requires surely-not-there of base[big] (not installed)"


# ------------------------------------------------------------------------------------------------ the project

PROVIDER = """
from kastra_core import ModelProviderRegistration, hookimpl
KASTRA_API_VERSION = 1


@hookimpl
def kastra_model_providers():
    yield ModelProviderRegistration(name="rich", providers=("richai",), factory="a:b")
"""


@pytest.mark.parametrize(
    ("settings", "before", "expected"),
    [
        ({}, (), None),
        ({"defaultModel": "richai/large", "providers.richai.apiBase": "http://localhost"}, (), None),
        ({"providers.richai.plugin": "rich"}, (), None),
        ({"defaultModel": "richie/large"}, (), ("FAIL", "defaultModel names the model provider 'richie'")),
        ({"model": "richai/large"}, ("--no-plugin", "rich"), ("FAIL", "model names the model provider 'richai'")),
        ({"defaultEmbeddings": "moon/e"}, (), ("FAIL", "defaultEmbeddings names the model provider 'moon'")),
        ({"providers.moon.apiBase": "http://localhost"}, (), ("WARN", "providers.moon names the model provider")),
        ({"providers.richai.plugin": "poor"}, (), ("FAIL", "no plugin 'poor' is installed")),
        ({"providers.richai.plugin": "rich"}, ("--no-plugin", "rich"), ("FAIL", "plugin 'rich' is blocked")),
        ({"providers.richai.plugin": "acme"}, (), ("FAIL", "'acme', which does not serve 'richai'")),
    ],
)
def test_providers_that_the_configuration_names(
    kastra: Kastra,
    doctor: Doctor,
    plugins: Any,
    settings: dict[str, str],
    before: tuple[str, ...],
    expected: tuple[str, str] | None,
) -> None:
    plugins.install("rich", PROVIDER)
    for key, value in settings.items():
        assert kastra("config", "set", key, value).code == 0
    found = [one for one in doctor(before=before) if one.check == "providers" and one.level != "OK"]
    assert [one.level for one in found] == ([expected[0]] if expected else [])
    if expected:
        assert expected[1] in found[0].message


def test_a_store_whose_scheme_nobody_serves_fails(doctor: Doctor) -> None:
    found = doctor.one("store", before=("--store", "fiel:x.db"))
    assert (found.level, found.subject, found.remedy) == ("FAIL", "fiel", "did you mean 'file'?")
    found = doctor.one("store", before=("--no-plugin", "libsql", "--store", "file:x.db"))
    assert "bring one back that is off: " in found.remedy
    assert "libsql" in found.remedy


def test_a_store_that_is_not_there_yet_is_no_fault_and_is_not_made(doctor: Doctor, project: Path) -> None:
    (found,) = [one for one in doctor() if one.check == "store"]
    assert found.level == "OK"
    assert found.message.endswith("is not there yet")
    assert list(project.iterdir()) == []


def test_a_store_that_cannot_be_read_fails(doctor: Doctor, project: Path) -> None:
    (project / "no.db").write_bytes(b"this is no database" * 400)
    found = doctor.one("store", before=("--store", "file:no.db"))
    assert found.level == "FAIL"
    assert "cannot be read" in found.message
    found = doctor.one("store", before=("--store", "plain.db"))
    assert "write for example file:plain.db" in found.message


def test_kinds_that_nobody_offers_any_more_are_named_with_their_plugin(
    kastra: Kastra, doctor: Doctor, plugins: Any, widgets: str
) -> None:
    assert kastra("apply", "-f", widgets).code == 0
    (found,) = [one for one in doctor() if one.check == "store"]
    assert (found.level, found.message.partition("; ")[2]) == ("OK", "all its kinds are offered")
    found = doctor.one("store", before=("--no-plugin", "acme"))
    assert (found.level, found.subject) == ("WARN", "acme")
    assert "2 resources orphaned: Widget.acme.example is of acme 1.0, which is blocked" in found.message
    assert doctor.code == 0
    shutil.rmtree(plugins.path / "acme-1.0.dist-info")
    found = doctor.one("store")
    assert (found.level, found.subject) == ("FAIL", "acme")
    assert found.remedy == "pip install acme brings it back"


def test_the_lock_file_is_looked_at_where_there_is_one(
    kastra: Kastra, doctor: Doctor, plugins: Any, project: Path
) -> None:
    assert doctor.of("lock file") == [("OK", "")]
    assert kastra("plugins", "lock").code == 0
    assert doctor.of("lock file") == [("OK", "")]
    found = doctor.one("lock file", before=("--no-plugin", "acme"))
    assert (found.level, found.subject) == ("FAIL", "acme")
    info = plugins.path / "acme-1.0.dist-info"
    info.rename(info.with_name("acme-1.1.dist-info"))
    found = doctor.one("lock file")
    assert (found.level, found.message) == ("WARN", "plugin 'acme' is acme 1.1, the file has acme 1.0")
    assert doctor.code == 0
    plugins.install("new", WELL)
    assert "; new and not in it: 1 " in next(one.message for one in doctor() if one.message.startswith("nothing of"))
    (project / "kastra-plugins.lock").write_text("{", encoding="utf-8")
    found = doctor.one("lock file")
    assert (found.level, found.subject) == ("FAIL", "kastra-plugins.lock")


# ------------------------------------------------------------------------------------------------ imports

SLOW = """
import heavy_library
from kastra_core import OperationRegistration, hookimpl
KASTRA_API_VERSION = 1


@hookimpl
def kastra_operations():
    yield OperationRegistration(name="slow.{what}", handler="{handler}")
"""


def test_slow_imports_and_names_that_lead_nowhere_are_found_when_asked_for(doctor: Doctor, plugins: Any) -> None:
    (plugins.path / "heavy_library.py").write_text("import time\ntime.sleep(0.45)\n", encoding="utf-8")
    plugins.install("slow", SLOW.format(what="well", handler="json:loads"))
    quick = SLOW.replace("import heavy_library\n", "")
    plugins.install("lost", quick.format(what="lost", handler="lost_plugin:no_such_thing"))
    assert "imports" not in {one.check for one in doctor()}
    found = [one for one in doctor("--imports", before=("--no-plugin", "libsql")) if one.check == "imports"]
    assert ("FAIL", "lost") in [(one.level, one.subject) for one in found]
    (slow,) = [one for one in found if one.subject == "slow"]
    assert slow.level == "WARN"
    assert "(heavy_library 0." in slow.message
    (lost,) = [one for one in found if one.subject == "lost" and one.level == "FAIL"]
    assert "handler of OperationRegistration slow.lost names lost_plugin:no_such_thing" in lost.message


def test_imports_that_end_the_process_are_told(doctor: Doctor, plugins: Any) -> None:
    (plugins.path / "deadly.py").write_text("import os\nos._exit(7)\n", encoding="utf-8")
    quick = SLOW.replace("import heavy_library\n", "")
    plugins.install("dies", quick.format(what="dies", handler="deadly:x"))
    found = doctor.one("imports", "--imports", before=("--no-plugin", "libsql", "--no-plugin", "acme"))
    assert (found.level, found.subject) == ("FAIL", "dies")
    assert "a process that imports it ended with code 7" in found.message


def test_imports_that_would_end_this_process_or_never_end_are_told_and_left_out(
    doctor: Doctor, plugins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins_doctor_imports, "_LONGEST_S", 4.0)
    plugins.install("dead", "import os\nos._exit(0)\n")
    plugins.install("still", "import threading\nthreading.Event().wait()\n")
    plugins.install("rude", f"import os\nprint('x')\nos.chdir('/')\nos.environ['RUDE'] = '1'\n{WELL}")
    found = doctor("--imports", before=("--no-plugin", "libsql", "--no-plugin", "acme"))
    told = {one.subject: one.message for one in found if one.check == "imports" and one.level == "FAIL"}
    assert told == {
        "dead": "plugin 'dead': a process that imports it ended with code 0",
        "still": "plugin 'still': the import of its hooks did not end within 4 s",
    }
    assert [one.message for one in found if one.subject == "rude"] == [
        "plugin 'rude': its import prints to stdout",
        "plugin 'rude': its import changes the current directory",
        "plugin 'rude': its import changes environment variables (RUDE)",
    ]
