"""``kastra store`` on a small store of a plugin, whose admin keeps the contract over a JSON file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from kastra_core.cli.store_view import comparison, status_page
from kastra_core.protocols.store_admin import FacetStatus, StoreAdmin, StoreStatus

Kastra = Callable[..., Any]

HERE = Path(__file__).parent
URL = "cabinet:kitchen.json"
SUBCOMMANDS = ("status", "check", "backup", "restore", "migrate", "compact")


def cabinet(schema: int = 3, **more: Any) -> dict[str, Any]:
    """The content of a cabinet with two drawers."""
    drawers: dict[str, Any] = {"spices": {"text": "salt", "until": None}, "bread": {"text": "rye", "until": 1.0}}
    if schema == 2:
        drawers = {name: {"text": drawer["text"]} for name, drawer in drawers.items()}
    elif schema == 1:
        drawers = {name: drawer["text"] for name, drawer in drawers.items()}
    return {"cabinet": schema, "version": 1207, "oldest": 7, "workers": {}, "drawers": drawers, **more}


def put(project: Path, data: dict[str, Any]) -> Path:
    """Write a cabinet; return its file."""
    path = project / "kitchen.json"
    path.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    return path


@pytest.fixture
def store(kastra: Kastra, plugins: Any, project: Path) -> Kastra:
    """``kastra --store URL store ARGS`` on a cabinet with two drawers."""
    plugins.install("cabinet", (HERE / "acme_cabinet.py").read_text(encoding="utf-8"), module="acme_cabinet")
    put(project, cabinet())
    return lambda *args: kastra("--store", URL, "store", *args)


class Terminal:
    """A command on a terminal of its own: what it shows, and its exit code."""

    def __init__(self, project: Path, environment: dict[str, str], forks: Any) -> None:
        self._project, self._environment, self._forks = project, environment, forks

    def __call__(self, *args: str, asks: str = "", answer: str = "", **environment: str) -> tuple[int, str]:
        pty = pytest.importorskip("pty", reason="this system has no pseudo terminals")
        ours, theirs = pty.openpty()
        process = self._forks.begin(
            ["--store", URL, "store", *args],
            cwd=self._project,
            env={**self._environment, "TERM": "xterm", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            terminal=True,
        )
        os.close(theirs)
        shown = b""
        try:
            while True:
                try:
                    got = os.read(ours, 65536)
                except OSError:  # so Linux says that nobody has the other side any more
                    break
                if not got:
                    break
                shown += got
                if asks and asks.encode() in shown:
                    os.write(ours, answer.encode())
                    asks = ""
            return process.wait(timeout=60), shown.decode().replace("\r\n", "\n")
        finally:
            process.kill()
            process.wait()
            os.close(ours)


@pytest.fixture
def terminal(store: Kastra, project: Path, environment: dict[str, str], forks: Any) -> Terminal:
    return Terminal(project, environment, forks)


# ------------------------------------------------------------------------------------------------ the group


def test_the_cabinets_admin_keeps_the_protocol(store: Kastra) -> None:
    assert store("status").code == 0  # imports it
    assert isinstance(sys.modules["acme_cabinet"].CabinetAdmin(URL, {}), StoreAdmin)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_subcommand_has_help(kastra: Kastra, name: str) -> None:
    done = kastra("store", name, "--help")
    assert done.code == 0
    assert f"Usage: kastra store {name}" in done.out
    assert "..." not in next(line for line in kastra("store", "--help").out.splitlines() if f"  {name} " in line)


def test_completion_offers_the_subcommands(shell: Kastra) -> None:
    done = shell(_KASTRA_COMPLETE="bash_complete", COMP_WORDS="kastra store ", COMP_CWORD="2")
    assert sorted(done.out.split()) == sorted(f"plain,{name}" for name in SUBCOMMANDS)


def test_other_commands_import_nothing_of_it(project: Path, environment: dict[str, str]) -> None:
    probe = (
        "import sys\nfrom kastra_core.cli import main\nmain(sys.argv[1:])\n"
        "sys.exit('LOADED: ' + ' '.join(name for name in sys.modules if name.startswith('kastra_core.cli.store')))"
    )
    for args in (("--version",), ("--help",), ("get", "widgets"), ("status",)):
        done = subprocess.run(
            [sys.executable, "-c", probe, *args], cwd=project, env=environment, capture_output=True, text=True
        )
        assert done.stderr.endswith("LOADED: \n"), args


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_a_store_without_maintenance_says_so(kastra: Kastra, project: Path, name: str) -> None:
    (project / "b").touch()
    done = kastra("--store", "memory:", "store", name, *(["b"] if name == "restore" else []))
    assert done.code == 1
    assert "the store 'memory' offers no maintenance" in done.err


@pytest.mark.parametrize(("url", "code"), [("nosuch:x", 3), ("kitchen.json", 4)])
def test_a_url_that_nobody_serves_is_told(kastra: Kastra, url: str, code: int) -> None:
    assert kastra("--store", url, "store", "status").code == code


def test_an_admin_that_cannot_be_imported_names_its_plugin(kastra: Kastra, plugins: Any) -> None:
    source = (HERE / "acme_cabinet.py").read_text(encoding="utf-8")
    plugins.install("cabinet", source.replace("acme_cabinet:CabinetAdmin", "nowhere:at_all"), module="acme_cabinet")
    done = kastra("--store", URL, "store", "status")
    assert done.code == 3
    assert "plugin 'cabinet'" in done.err
    assert "No module named 'nowhere'" in done.err


def test_the_options_of_the_configured_store_arrive(store: Kastra, kastra: Kastra) -> None:
    assert store("status").out.count("Kim") == 0
    kastra("config", "set", "store", URL)
    kastra("config", "set", "storeOptions.owner", "Kim")
    assert re.search(r"^Owner: +Kim$", kastra("store", "status").out, re.MULTILINE)


# ------------------------------------------------------------------------------------------------ status, check


def test_status_shows_schema_size_versions_content_and_details(store: Kastra, project: Path) -> None:
    done = store("status")
    size = (project / "kitchen.json").stat().st_size
    assert done.code == 0
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines == [
        f"Store: {URL}",
        "Engine: JSON",
        "Schema: 3 (the newest, made by acme 1.0)",
        f"Size: {size} B, {(project / 'kitchen.json').read_bytes().count(b' ')} B of it free",
        "Resource version: 1207",
        "Watches begin at: 7 or later",
        "Workers: <none>",
        "Path: kitchen.json",
        "Lock free: yes",
        "Owner: <none>",
        "",
        "FACET ITEMS SIZE",
        "resources 2 7 B",
        "history 1,200 <none>",
    ]


def test_status_for_programs_is_the_whole_report(store: Kastra) -> None:
    found = orjson.loads(store("status", "-o", "json").out)
    assert found["exists"] is True
    assert (found["schema"], found["latestSchema"], found["resourceVersion"]) == (3, 3, "1207")
    assert found["facets"][1] == {"name": "history", "items": 1200, "sizeBytes": None}
    assert found["details"]["lockFree"] is True
    assert found["problems"] == []
    assert "latestSchema: 3" in store("status", "-o", "yaml").out


def test_a_store_that_is_not_there_is_no_problem(store: Kastra, project: Path) -> None:
    (project / "kitchen.json").unlink()
    done = store("status")
    assert done.code == 0
    assert "It is not there yet" in done.out
    assert orjson.loads(store("status", "-o", "json").out)["exists"] is False
    for name in ("check", "backup", "migrate", "compact"):
        refused = store(name)
        assert refused.code == 1, name
        assert refused.err.endswith("not found; `kastra apply` makes it\n"), name


def test_status_of_an_older_schema_that_opening_leaves_names_the_command(store: Kastra, project: Path) -> None:
    put(project, cabinet(1))
    done = store("status")
    assert done.code == 0
    newest = "1 (this program's newest is 3, made by acme 1.0; `kastra store migrate` brings it up)"
    assert newest in done.out


def test_a_store_that_cannot_be_asked_is_not_said_to_be_missing(
    store: Kastra, shell: Kastra, project: Path, plugins: Any
) -> None:
    module = plugins.path / "acme_cabinet.py"
    (project / "kitchen.json").unlink()
    source = module.read_text(encoding="utf-8")
    answer = "schema=0, latest_schema=LATEST"
    assert answer in source
    module.write_text(source.replace(answer, f"{answer}, problems=('the token is wrong',)"), encoding="utf-8")
    done = shell("--store", URL, "store", "status")
    assert done.code == 3
    assert "Problem: the token is wrong\n" in done.out
    assert "not there yet" not in done.out


def test_sizes_have_units_and_a_path_is_not_told_twice() -> None:
    known: dict[str, Any] = {
        "url": "file:/srv/k.db?durability=full",
        "exists": True,
        "engine": "",
        "schema": 2,
        "latest_schema": 2,
    }
    page = status_page(StoreStatus(**known, details={"path": "/srv/k.db", "pageSize": 4096, "readers": 4096}))
    assert re.search(r"^Page size: +4.0 KiB$", page, re.MULTILINE)
    assert re.search(r"^Readers: +4,096$", page, re.MULTILINE)
    assert "Path:" not in page
    known["url"] = "file:k.db"
    assert "Path:" in status_page(StoreStatus(**known, details={"path": "/srv/k.db"}))


def test_the_schema_of_a_file_is_brought_up_by_opening_it() -> None:
    found = StoreStatus(url="file:/srv/k.db", exists=True, engine="", schema=1, latest_schema=2)
    assert "1 (this program's newest is 2; the next opening brings it up)" in status_page(found)


def test_what_cannot_be_read_is_not_counted_as_nothing() -> None:
    facets = (FacetStatus(name="resources", items=2), FacetStatus(name="blobs", items=0))
    known: dict[str, Any] = {"url": "file:/srv/k.db", "exists": True, "engine": "", "latest_schema": 2}
    backup = StoreStatus(**known, schema=2, size_bytes=5, resource_version="7", facets=facets)
    half = StoreStatus(**known, schema=2, size_bytes=5, problems=("damaged",))
    unasked = StoreStatus(**{**known, "exists": False}, schema=0, problems=("no answer",))
    missing = StoreStatus(**{**known, "exists": False}, schema=0)
    for now, cells in (
        (None, ["<unreadable>", "?", "?", "?", "?", "?"]),
        (unasked, ["<unreadable>", "?", "?", "?", "?", "?"]),
        (half, ["2", "?", "5 B", "?", "?", "?"]),
        (missing, ["<none>", "", "", "", "", ""]),
        (backup, ["2", "<none>", "5 B", "7", "2", "0"]),
    ):
        lines = comparison(now, backup).splitlines()
        begin, end = lines[0].index("NOW"), lines[0].index("BACKUP")
        assert [line[begin:end].strip() for line in lines[1:]] == cells


def test_status_names_workers(store: Kastra, project: Path) -> None:
    put(project, cabinet(workers={"w-1": 9e9, "gone": 1.0}))
    assert re.search(r"Workers: +w-1\n", store("status").out)


def test_problems_are_shown_and_end_with_code_3(store: Kastra, project: Path) -> None:
    put(project, cabinet(9))
    for args in ((), ("-o", "json")):
        done = store("status", *args)
        assert done.code == 3
        assert "schema 9 is newer than 3; install a newer acme" in done.out


@pytest.mark.parametrize("name", ["status", "check"])
def test_a_store_that_cannot_be_read_is_described_without_traceback(store: Kastra, project: Path, name: str) -> None:
    (project / "kitchen.json").write_text("{", encoding="utf-8")
    done = store(name)
    assert done.code == 3
    assert f"{URL}\n" in done.out
    assert "Problem: cabinet kitchen.json is no JSON; restore it from a backup\n" in done.out
    assert done.err == ""
    found = orjson.loads(store(name, "-o", "json").out)
    assert found["url"] == URL
    assert found["problems"] == ["cabinet kitchen.json is no JSON; restore it from a backup"]


def test_secrets_of_the_url_are_not_shown(kastra: Kastra, store: Kastra, project: Path) -> None:
    (project / "kitchen.json").write_text("{", encoding="utf-8")
    done = kastra("--store", "cabinet://nobody:word@kitchen.json?key=secret", "store", "check")
    assert "word" not in done.out + done.err
    assert "secret" not in done.out + done.err


def test_check_prints_what_it_checked(store: Kastra) -> None:
    done = store("check")
    assert done.code == 0
    assert re.search(r"drawers +2\n", done.out)
    assert done.out.endswith("no problem found\n")
    assert orjson.loads(store("check", "-o", "json").out)["checked"] == {"drawers": 2}


def test_check_lists_each_problem(store: Kastra, project: Path) -> None:
    data = cabinet(oldest=2000)
    data["drawers"]["spices"]["text"] = 5
    put(project, data)
    done = store("check")
    assert done.code == 3
    assert "Problem: drawer 0 holds 5\nProblem: the history begins after its end\n2 problems; " in done.out
    assert done.out.endswith(
        "`kastra store restore BACKUP` puts a backup in its place (`--force` when too little can be read)\n"
    )


def test_a_check_that_could_not_be_made_advises_no_restore(store: Kastra, project: Path) -> None:
    put(project, cabinet(9))
    done = store("check")
    assert done.code == 3
    assert "Problem: " in done.out
    assert done.out.endswith("it could not be checked\n")
    assert "restore" not in done.out


# ------------------------------------------------------------------------------------------------ backup, restore


def test_backup_makes_a_file_and_says_what_is_in_it(store: Kastra, project: Path) -> None:
    done = store("backup", "one.backup")
    assert done.code == 0
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines == [
        f"Backup: {project / 'one.backup'}",
        f"Size: {(project / 'one.backup').stat().st_size} B",
        "Schema: 3",
        "Resource version: 1207",
        "Holds: 2 resources",
        "Verified: yes: it was read back and is whole",
    ]


def test_backup_names_the_file_after_the_store_and_the_time(store: Kastra, project: Path) -> None:
    (project / "safe").mkdir()
    for args, place in (((), project), (("safe",), project / "safe")):
        found = orjson.loads(store("backup", *args, "-o", "json").out)
        assert re.fullmatch(r"kitchen-\d{8}T\d{6}Z\.backup", Path(found["path"]).name)
        assert Path(found["path"]).parent == place
        assert found["items"] == {"resources": 2, "blobs": 0}


def test_backup_overwrites_nothing(store: Kastra, project: Path) -> None:
    (project / "one.backup").write_text("mine", encoding="utf-8")
    (project / "link").symlink_to("nowhere")
    for name in ("one.backup", "link"):
        done = store("backup", name)
        assert done.code == 1
        assert "exists and is not overwritten" in done.err
    assert (project / "one.backup").read_text(encoding="utf-8") == "mine"


def test_restore_brings_the_backup_back_and_says_where_the_former_content_is(store: Kastra, project: Path) -> None:
    store("backup", "one.backup")
    put(project, cabinet(drawers={}))
    done = store("restore", "one.backup", "--yes")
    assert done.code == 0
    kept = re.search(r"^Former content: +(.*)$", done.out, re.MULTILINE)
    assert kept is not None
    assert orjson.loads((project / kept[1]).read_bytes())["drawers"] == {}
    data = orjson.loads((project / "kitchen.json").read_bytes())
    assert data["drawers"] == cabinet()["drawers"]
    assert data["oldest"] == 1208


def test_restore_without_a_terminal_wants_yes(store: Kastra, project: Path) -> None:
    store("backup", "one.backup")
    before = (project / "kitchen.json").read_bytes()
    done = store("restore", "one.backup")
    assert done.code == 1
    assert "nothing was changed, add --yes" in done.err
    assert (project / "kitchen.json").read_bytes() == before


def test_restore_of_a_store_that_is_not_there_asks_nothing(store: Kastra, project: Path) -> None:
    store("backup", "one.backup")
    (project / "kitchen.json").unlink()
    done = store("restore", "one.backup")
    assert done.code == 0
    assert re.search(r"Former content: +there was none", done.out)


def test_a_damaged_store_can_be_restored(store: Kastra, project: Path) -> None:
    store("backup", "one.backup")
    (project / "kitchen.json").write_text("{", encoding="utf-8")
    done = store("restore", "one.backup", "--yes")
    assert done.code == 0
    assert "Problem: cabinet kitchen.json is no JSON" in done.out
    assert store("check").code == 0


def test_a_damaged_backup_is_refused_and_nothing_changes(store: Kastra, project: Path) -> None:
    (project / "one.backup").write_text("{", encoding="utf-8")
    before = (project / "kitchen.json").read_bytes()
    done = store("restore", "one.backup", "--yes")
    assert done.code == 1
    assert "is no whole backup" in done.err
    assert (project / "kitchen.json").read_bytes() == before
    assert store("restore", "nowhere.backup").code == 2


def test_restore_under_workers_wants_force(store: Kastra, project: Path) -> None:
    store("backup", "one.backup")
    put(project, cabinet(workers={"w-1": 9e9}))
    done = store("restore", "one.backup", "--yes")
    assert done.code == 1
    assert (
        "workers use the store: w-1; end them, or add --force (a worker that was killed counts for up to 15 s)"
        in done.err
    )
    assert store("restore", "one.backup", "--yes", "--force").code == 0


def test_programs_get_nothing_but_data_of_a_restore(store: Kastra) -> None:
    store("backup", "one.backup")
    done = store("restore", "one.backup", "--yes", "-o", "json")
    assert orjson.loads(done.out)["items"] == {"resources": 2}
    assert "Backup:" in done.err


@pytest.mark.parametrize(("answer", "code", "drawers"), [("y\n", 0, 2), ("n\n", 1, 0), ("\n", 1, 0), ("\x04", 1, 0)])
def test_a_terminal_is_asked_before_a_restore(
    store: Kastra, terminal: Terminal, project: Path, answer: str, code: int, drawers: int
) -> None:
    store("backup", "one.backup")
    put(project, cabinet(drawers={}))
    ended, shown = terminal("restore", "one.backup", asks="[y/N]", answer=answer)
    assert ended == code, shown
    assert f"Backup: {project / 'one.backup'}" in shown
    assert ("not confirmed; nothing was changed" in shown) is (code == 1)
    assert len(orjson.loads((project / "kitchen.json").read_bytes())["drawers"]) == drawers


def test_a_terminal_is_not_steered_by_what_a_store_holds(terminal: Terminal, project: Path) -> None:
    put(project, cabinet(workers={"w\x1b]0;title\x07": 9e9}))
    _, shown = terminal("status")
    assert "\x1b]" not in shown
    assert "\\u001b]0;title" in shown


def test_what_takes_long_is_told_on_a_terminal_only(
    store: Kastra, terminal: Terminal, project: Path, plugins: Any
) -> None:
    module = plugins.path / "acme_cabinet.py"
    slow = module.read_text(encoding="utf-8").replace("begun = time.perf_counter()", "begun = 0.0; time.sleep(1.6)")
    module.write_text(slow, encoding="utf-8")
    code, shown = terminal("check")
    assert code == 0
    assert "\rchecking … 1s\x1b[K" in shown
    assert "checking" not in terminal("check", TERM="dumb")[1]
    done = store("check")
    assert (done.code, done.err) == (0, "")


# ------------------------------------------------------------------------------------------------ migrate, compact


def test_migrate_brings_an_old_store_up_after_a_backup(store: Kastra, project: Path) -> None:
    put(project, cabinet(1))
    done = store("migrate")
    assert done.code == 0
    assert re.search(r"up to 2 +drawers are objects +nothing\n", done.out)
    assert "Schema: 3 (was 1)\nBackup: kitchen.schema-1.backup\n" in done.out
    assert orjson.loads((project / "kitchen.json").read_bytes())["cabinet"] == 3
    assert orjson.loads((project / "kitchen.schema-1.backup").read_bytes()) == cabinet(1)


def test_a_dry_run_changes_nothing(store: Kastra, project: Path) -> None:
    before = put(project, cabinet()).read_bytes()
    done = store("migrate", "--to", "1", "--dry-run")
    assert done.code == 0
    assert re.search(r"down from 3 +drawers have an end +when a drawer expires\n", done.out)
    assert done.out.endswith("nothing was changed (dry run)\n")
    assert (project / "kitchen.json").read_bytes() == before
    assert [path.name for path in project.iterdir()] == ["kitchen.json"]
    assert orjson.loads(store("migrate", "--to", "1", "--dry-run", "-o", "json").out)["dryRun"] is True


def test_a_step_that_loses_something_wants_yes_without_a_terminal(store: Kastra, project: Path) -> None:
    done = store("migrate", "--to", "2")
    assert done.code == 1
    assert "add --yes" in done.err
    assert orjson.loads((project / "kitchen.json").read_bytes())["cabinet"] == 3
    done = store("migrate", "--to", "2", "--yes", "--no-backup")
    assert done.code == 0
    assert done.out.endswith("Schema: 2 (was 3)\n")
    assert "note: this program does not open the store until `kastra store migrate` brings it up again" in done.err
    assert [path.name for path in project.iterdir()] == ["kitchen.json"]


def test_a_step_that_loses_nothing_asks_nothing(store: Kastra, project: Path) -> None:
    put(project, cabinet(2))
    found = orjson.loads(store("migrate", "--to", "1", "-o", "json").out)
    assert (found["before"], found["after"], found["steps"][0]["loses"]) == (2, 1, "")
    assert found["backup"]["path"] == "kitchen.schema-2.backup"


@pytest.mark.parametrize(("answer", "schema"), [("y\n", 1), ("n\n", 3)])
def test_a_terminal_is_asked_before_something_is_lost(
    terminal: Terminal, project: Path, answer: str, schema: int
) -> None:
    code, shown = terminal("migrate", "--to", "1", asks="[y/N]", answer=answer)
    assert "Give up what is listed under LOSES (the backup that is made first keeps it)? [y/N]" in shown
    assert code == (0 if schema == 1 else 1)
    assert orjson.loads((project / "kitchen.json").read_bytes())["cabinet"] == schema


def test_migrate_of_what_is_there_already_says_so(store: Kastra) -> None:
    done = store("migrate")
    assert (done.code, done.out) == (0, "the store has schema 3 already\n")


@pytest.mark.parametrize(("to", "code"), [("9", 1), ("0", 2), ("x", 2)])
def test_a_schema_that_there_is_no_way_to_is_refused(store: Kastra, to: str, code: int) -> None:
    assert store("migrate", "--to", to).code == code


def test_compact_prints_sizes_and_what_it_removed(store: Kastra, project: Path) -> None:
    before = (project / "kitchen.json").stat().st_size
    done = store("compact")
    assert done.code == 0
    after = (project / "kitchen.json").stat().st_size
    assert [" ".join(line.split()) for line in done.out.splitlines()] == [
        f"Before: {before} B",
        f"After: {after} B",
        "Removed: 1 expired drawers, 1,200 versions in the history",
    ]
    assert orjson.loads(store("compact", "-o", "json").out)["removed"] == {"expired drawers": 0, "history": 0}
    assert store("compact").out.endswith("nothing\n")


# ------------------------------------------------------------------------------------------------ interrupts

INTERRUPT = "__import__('os').kill(__import__('os').getpid(), 2)"
WORK = {
    "backup": ("return BackupInfo(", ("one.backup",)),
    "restore": ("return RestoreReport(", ("safe.backup", "--yes")),
    "migrate": ("return MigrationReport(", ("--to", "1", "--yes")),
    "compact": ("return CompactReport(", ()),
}
"""By command: the end of what it does, and its arguments."""


def interrupted(plugins: Any, name: str, with_what: str) -> tuple[str, ...]:
    """Let the cabinet be interrupted when its work is done, and do something more; returns the command line."""
    end, args = WORK[name]
    module = plugins.path / "acme_cabinet.py"
    source = module.read_text(encoding="utf-8")
    assert end in source
    # A migration is also tried, a backup is also made before one.
    only = {"migrate": "if not dry_run: ", "backup": "if 'one' in target.name: "}.get(name, "")
    work = f"{only}{INTERRUPT}{with_what}"
    module.write_text(source.replace(end, f"{work}\n        {end}"), encoding="utf-8")
    return ("--store", URL, "store", name, *args)


@pytest.mark.skipif(sys.platform == "win32", reason="a process interrupts itself by a signal")
@pytest.mark.parametrize("name", WORK)
def test_what_was_done_when_it_is_interrupted_is_told(
    store: Kastra, shell: Kastra, project: Path, plugins: Any, name: str
) -> None:
    store("backup", "safe.backup")
    command = interrupted(plugins, name, "")
    done = shell(*command)
    assert done.code == 130
    assert "interrupted, when this was done already\n" in done.err
    told = {"backup": "Verified:", "restore": "Former content:", "migrate": "Schema: 1", "compact": "Removed:"}
    assert told[name] in done.out
    if name == "backup":
        (project / "one.backup").unlink()
    assert isinstance(orjson.loads(shell(*command, "-o", "json").out), dict)


@pytest.mark.skipif(sys.platform == "win32", reason="a process interrupts itself by a signal")
@pytest.mark.parametrize("name", WORK)
def test_what_is_stopped_by_an_interrupt_says_what_is_left(
    store: Kastra, shell: Kastra, plugins: Any, name: str
) -> None:
    store("backup", "safe.backup")
    done = shell(*interrupted(plugins, name, "; await __import__('asyncio').sleep(60)"))
    assert done.code == 130
    left = {
        "backup": "no backup was made",
        "restore": "the store has its former content or that of the backup; `kastra store status` tells which",
        "migrate": "all steps were taken or none; `kastra store status` tells which",
        "compact": "nothing was removed that anybody needs; the next one does the rest",
    }
    assert done.err.strip().splitlines()[-1] == f"interrupted: {left[name]}"
    assert "Traceback" not in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="a process interrupts itself by a signal")
def test_a_third_interrupt_ends_what_does_not_stop(store: Kastra, shell: Kastra, plugins: Any) -> None:
    store("backup", "safe.backup")
    done = shell(*interrupted(plugins, "compact", f"; {INTERRUPT}; {INTERRUPT}; __import__('time').sleep(60)"))
    assert (done.code, done.err.strip()) == (130, "interrupted")
