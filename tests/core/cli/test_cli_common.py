"""The parts that the commands are made of."""

from __future__ import annotations

import asyncio
import doctest
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.api.meta import ResourceKey
from kastra_core.cli import jsonpath, tables
from kastra_core.cli.common import DURATION, CliState, KubectlCommand, file_of
from kastra_core.cli.tables import clip, display_width, format_table


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliState:
    monkeypatch.setenv("KASTRA_CONFIG_HOME", str(tmp_path))
    made = CliState()
    made.project, made.store = tmp_path, "memory:"
    return made


def test_a_read_that_does_not_wait_needs_no_event_loop(state: CliState) -> None:
    async def read(runtime: Any) -> bool:
        await runtime.client.get(ResourceKey("mastra.ai", "Agent", "default", "a"))
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return True

    assert state.read(read)


@pytest.mark.parametrize("wait", [lambda: asyncio.sleep(0), lambda: asyncio.sleep(0.001)])
def test_a_read_that_waits_is_begun_again_in_an_event_loop(state: CliState, wait: Any) -> None:
    calls = []

    async def read(runtime: Any) -> str:
        calls.append("begun")
        await wait()
        return "done"

    assert state.read(read) == "done"
    assert calls == ["begun", "begun"]


def test_an_error_of_a_read_is_raised_as_it_is(state: CliState) -> None:
    async def read(runtime: Any) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        state.read(read)


@pytest.mark.parametrize(
    ("args", "values"),
    [
        ([], (True, False)),
        (["--wait=false"], (False, False)),
        (["--wait=true", "--dry-run=server"], (True, True)),
        (["--no-wait", "--dry-run"], (False, True)),
        (["--dry-run=none"], (True, False)),
    ],
)
def test_flags_may_be_written_as_kubectls(args: list[str], values: tuple[bool, bool]) -> None:
    found = []

    @click.command(cls=KubectlCommand)
    @click.option("--wait/--no-wait", default=True)
    @click.option("--dry-run", is_flag=True)
    def call(wait: bool, dry_run: bool) -> None:
        found.append((wait, dry_run))

    call.main(args, standalone_mode=False)
    assert found == [values]


SPANS = {"30": 30, "1.5": 1.5, "30s": 30, "1m30s": 90, "2h": 7200, "500ms": 0.5, "1d": 86400, "2w": 1209600}


@pytest.mark.parametrize(("text", "seconds"), SPANS.items())
def test_durations(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "1x", "-3", "1 m", "soon"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:a.db", "a.db"),
        ("file:/a/b.db", "/a/b.db"),
        ("file:///a/b.db?durability=relaxed", "/a/b.db"),
        ("file:a%20b.db", "a b.db"),
        ("memory:", None),
    ],
)
def test_the_file_of_a_store(url: str, path: str | None) -> None:
    assert file_of(url) == (None if path is None else Path(path))


cells = st.text(alphabet="ab食é ", max_size=12)


@given(st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=5))
def test_columns_begin_at_one_place_in_every_line(rows: list[list[str]]) -> None:
    marked = [[f"<{cell}", f"|{cell}", f"!{cell}"] for *_, cell in rows]
    at = {display_width(line[: line.index("!")]) for line in format_table(marked).splitlines()}
    assert len(at) == 1


@given(cells, st.integers(1, 12))
def test_a_clipped_text_fits(text: str, width: int) -> None:
    assert display_width(clip(text, width)) <= width


def test_a_table_is_cut_to_the_terminal_and_keeps_its_names() -> None:
    rows = [["a-rather-long-name", "x" * 80, "y" * 30]]
    line = format_table(rows, limit=72).rstrip("\n")
    assert display_width(line) <= 72
    assert line.startswith("a-rather-long-name ")
    assert "…" in line


@pytest.mark.parametrize("module", [jsonpath, tables])
def test_examples_in_docstrings(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("where", "code", "told"), [(">/dev/full", 1, "error: No space left on device\n"), (">&-", 0, "")]
)
def test_an_output_that_takes_nothing_is_no_fault_in_kastra(
    project: Path, environment: dict[str, str], where: str, code: int, told: str
) -> None:
    command = f'"{sys.executable}" -c "import sys; from kastra_core.cli import main; sys.exit(main())" plugins {where}'
    done = subprocess.run(
        ["sh", "-c", command], cwd=project, env=environment, stderr=subprocess.PIPE, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (code, told)
