from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from click.testing import CliRunner

from kastra_plugin_local import catalogue, commands
from kastra_plugin_local.catalogue import CatalogueModel

CONTENT = b"weights" * 1000


@pytest.fixture
def tiny(make_entry: Callable[..., CatalogueModel], model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> CatalogueModel:
    """The one model of the catalogue, with real bytes behind it."""
    entry = make_entry(CONTENT)
    monkeypatch.setattr(catalogue, "CATALOGUE", (entry,))
    monkeypatch.setattr(commands, "CATALOGUE", (entry,))
    return entry


def run(*arguments: str) -> Any:
    return CliRunner().invoke(commands.model, list(arguments), prog_name="kastra model")


def test_list_shows_size_licence_and_what_it_is_good_for(model_dir: Path) -> None:
    result = run("list")
    assert result.exit_code == 0
    head, *rows = result.output.splitlines()
    assert head.split() == ["NAME", "SIZE", "INSTALLED", "LICENCE", "TOOLS", "GOOD", "FOR"]
    assert rows[0].split()[:6] == ["qwen2.5-coder-0.5b", "491", "MB", "no", "Apache-2.0", "yes"]
    assert len(rows) == 3


@pytest.mark.parametrize(("output", "read"), [("json", orjson.loads), ("yaml", yaml.safe_load)])
def test_list_is_given_to_programs_too(model_dir: Path, output: str, read: Callable[[str], Any]) -> None:
    data = read(run("list", "-o", output).output)
    assert [entry["name"] for entry in data] == ["qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "smollm2-135m"]
    assert data[0]["installed"] is False
    assert data[0]["sizeBytes"] == 491_400_064


def test_list_of_names_is_one_a_line(model_dir: Path) -> None:
    assert run("list", "-o", "name").output.split() == ["qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "smollm2-135m"]


def test_show_names_hash_and_sources(model_dir: Path) -> None:
    data = yaml.safe_load(run("show", "smollm2").output)
    assert data["sha256"].startswith("b179c952")
    assert data["sources"][0].startswith("https://huggingface.co/")
    assert data["path"] is None


def test_pull_path_and_rm_go_together(tiny: CatalogueModel, hub: Any, model_dir: Path) -> None:
    hub.content = CONTENT
    pulled = run("pull", "tiny")
    assert pulled.exit_code == 0, pulled.output
    assert pulled.stdout == ""
    assert "tiny pulled, 7 kB, SHA-256 verified" in pulled.stderr
    assert "licence of the weights: Apache-2.0" in pulled.stderr
    assert "tiny download 100 % (hub acme/tiny)" in pulled.stderr
    shown = run("path", "tiny")
    assert Path(shown.output.strip()).read_bytes() == CONTENT
    assert yaml.safe_load(run("show", "tiny").output)["installed"] is True
    assert "was here already, verified" in run("pull", "tiny").stderr
    removed = run("rm", "tiny")
    assert (removed.exit_code, removed.output.split(",")[0]) == (0, "tiny removed")
    assert run("path", "tiny").exit_code == 1


def test_pull_from_a_file_downloads_nothing(tiny: CatalogueModel, hub: Any, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(CONTENT)
    assert run("pull", "tiny", "--from", str(own)).exit_code == 0
    assert hub.requests == []


def test_failed_pull_exits_1_and_names_the_sources(tiny: CatalogueModel, hub: Any) -> None:
    hub.status = 404
    result = run("pull", "tiny")
    assert result.exit_code == 1
    assert "Error: cannot pull tiny: no source gave the file" in result.output
    assert "hub acme/tiny: HTTP 404" in result.output


@pytest.mark.parametrize("command", ["pull", "rm", "path", "show"])
def test_unknown_name_exits_1_and_names_the_catalogue(command: str, model_dir: Path) -> None:
    result = run(command, "gpt-4")
    assert result.exit_code == 1
    assert "the catalogue has no model 'gpt-4'; it has " in result.output
    assert "smollm2-135m" in result.output


@pytest.mark.parametrize(
    ("command", "said"), [(("rm", "smollm2"), "is not installed"), (("path", "auto"), "pull NAME")]
)
def test_what_is_not_installed_is_said_with_exit_code_1(command: tuple[str, ...], said: str, model_dir: Path) -> None:
    result = run(*command)
    assert result.exit_code == 1
    assert said in result.output


@pytest.mark.parametrize("command", ["list", "pull", "rm", "path", "show"])
def test_help_has_an_example(command: str) -> None:
    assert f"kastra model {command}" in run(command, "--help").output.partition("\n\n")[2]


def test_group_works_in_a_process_of_its_own(tmp_path: Path) -> None:
    code = "from kastra_plugin_local.commands import model; model()"
    result = subprocess.run(
        [sys.executable, "-c", code, "list"],
        env={**os.environ, "KASTRA_MODEL_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("NAME")


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize(
    "code",
    [
        "from kastra_plugin_local.commands import model; model(['pull', 'smollm2'])",
        "import sys; from kastra_core.cli import main; sys.exit(main(['model', 'pull', 'smollm2']))",
    ],
    ids=["the group", "kastra"],
)
def test_progress_bar_is_drawn_on_a_terminal(hub: Any, model_dir: Path, code: str) -> None:
    import pty

    hub.status = 404
    leader, follower = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stderr=follower, stdout=follower) as process:
        os.close(follower)
        shown = b""
        try:
            while piece := os.read(leader, 4096):
                shown += piece
        except OSError:  # how Linux says that the other end is closed
            pass
        assert process.wait(60) == 1
    os.close(leader)
    assert "\x1b[" in shown.decode()
    assert "\\u00" not in shown.decode()
    assert "HTTP 404" in shown.decode()
