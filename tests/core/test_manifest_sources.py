"""Manifests from files, directories, globs and standard input."""

from __future__ import annotations

import io
import os
import socket
import tempfile
from pathlib import Path

import pytest

from kastra_core.errors import ManifestError
from kastra_core.manifests import Document, Limits, read_sources


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "agents/b.yaml": "kind: B\n",
        "agents/a.yml": "kind: A\n",
        "agents/c.json": '{"kind": "C"}',
        "agents/README.md": "no manifest: [",
        "agents/.hidden.yaml": "kind: Hidden\n",
        "agents/more/d.yaml": "kind: D\n",
        "agents/.kastra/e.yaml": "kind: E\n",
        "only/deep/f.yaml": "kind: F\n",
        "comments/g.yaml": "# nothing\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kinds(documents: list[Document]) -> str:
    return "".join(document.data["kind"] for document in documents)


def refused(*sources: str, **options: object) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read_sources(sources, **options)  # type: ignore[arg-type]
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.usefixtures("project")
class TestSources:
    def test_a_directory_gives_its_manifest_files_sorted(self) -> None:
        found = read_sources(["agents"])
        assert kinds(found) == "ABC"
        assert [document.file for document in found] == ["agents/a.yml", "agents/b.yaml", "agents/c.json"]

    def test_the_name_stays_as_the_user_gave_it(self) -> None:
        assert read_sources(["./agents/"])[0].file == "./agents/a.yml"

    def test_recursive_takes_subdirectories_but_nothing_hidden(self) -> None:
        assert kinds(read_sources(["agents"], recursive=True)) == "ABCD"
        assert kinds(read_sources(["."], recursive=True)) == "ABCDF"

    @pytest.mark.parametrize(
        ("pattern", "wanted"),
        [
            ("agents/*.yaml", "B"),
            ("agents/*", "ABC"),
            ("agents/**", "ABCD"),
            ("**/*.yaml", "BDF"),
            ("agents/[ab].*", "AB"),
        ],
    )
    def test_a_glob_gives_its_matches_sorted(self, pattern: str, wanted: str) -> None:
        assert "".join(sorted(kinds(read_sources([pattern])))) == wanted

    def test_sources_keep_their_order_and_a_file_is_read_once(self) -> None:
        found = read_sources(
            ["agents/c.json", "agents/b.yaml", "agents", "./agents/b.yaml", str(Path("agents/a.yml").resolve())]
        )
        assert kinds(found) == "CBA"

    def test_a_link_to_a_file_counts_as_the_file(self) -> None:
        Path("agents/z.yaml").symlink_to("b.yaml")
        assert kinds(read_sources(["agents"])) == "ABC"

    def test_a_circle_of_links_ends(self) -> None:
        Path("agents/more/up").symlink_to("..")
        assert kinds(read_sources(["agents"], recursive=True)) == "ABCD"

    @pytest.mark.parametrize("stdin", [io.BytesIO(b"kind: S\n"), io.StringIO("kind: S\n")])
    def test_a_dash_reads_standard_input_once(self, stdin: object) -> None:
        found = read_sources(["-", "agents/b.yaml", "-"], stdin=stdin)
        assert kinds(found) == "SB"
        assert found[0].file == "<stdin>"

    def test_problems_of_standard_input_have_their_place(self) -> None:
        (problem,) = refused("-", stdin=io.BytesIO(b"kind: A\nx: [\n"))
        assert problem.startswith("<stdin>:2:4: ")

    def test_a_named_pipe_is_read(self, tmp_path: Path) -> None:
        read, write = os.pipe()
        os.write(write, b"kind: P\n")
        os.close(write)
        try:
            assert kinds(read_sources([f"/dev/fd/{read}"])) == "P"
        finally:
            os.close(read)

    def test_a_file_name_with_glob_characters_is_a_file(self) -> None:
        Path("agents/x[1].yaml").write_text("kind: X\n", encoding="utf-8")
        assert kinds(read_sources(["agents/x[1].yaml"])) == "X"

    def test_all_problems_of_all_sources_come_at_once(self) -> None:
        Path("bad1.yaml").write_text("kind: A\nkind: B\n", encoding="utf-8")
        Path("bad2.yaml").write_text("kind: A\n---\nx: [\n", encoding="utf-8")
        found = refused("bad1.yaml", "agents", "bad2.yaml", "nowhere.yaml")
        assert [problem.split(": ")[0] for problem in found] == ["bad1.yaml:2:1", "bad2.yaml:3:4", "nowhere.yaml"]

    def test_a_missing_file_names_the_nearest(self) -> None:
        assert refused("agents/bb.yaml") == ["agents/bb.yaml: no such file or directory; did you mean 'agents/b.yaml'?"]
        assert refused("agent/b.yaml") == ["agent/b.yaml: there is no directory agent; did you mean 'agents'?"]
        assert refused("agents/b.yaml/x") == ["agents/b.yaml/x: agents/b.yaml is a file, not a directory"]

    def test_a_directory_without_manifests_says_so(self) -> None:
        Path("none").mkdir()
        assert refused("none") == ["none: the directory holds no .yaml, .yml or .json file"]
        (problem,) = refused("only")
        assert problem.endswith("subdirectories do: use --recursive")

    def test_a_glob_without_matches_says_so(self) -> None:
        (problem,) = refused("agents/*.yeml")
        assert "the pattern matches no file" in problem
        (problem,) = refused("none/*")
        assert "matches no .yaml, .yml or .json file" in problem

    def test_a_named_file_without_manifests_is_a_problem_but_one_of_a_directory_is_not(self) -> None:
        assert "holds no manifest" in refused("comments/g.yaml")[0]
        assert kinds(read_sources(["comments", "agents/b.yaml"])) == "B"
        assert "hold no manifest" in refused("comments")[0]

    def test_a_link_to_nothing_says_so(self) -> None:
        Path("lost.yaml").symlink_to("nowhere.yaml")
        assert refused("lost.yaml") == ["lost.yaml: the link leads nowhere; it points to nowhere.yaml"]

    def test_an_address_is_not_fetched(self) -> None:
        assert "addresses are not fetched" in refused("https://example.com/a.yaml")[0]

    def test_a_large_file_is_not_read(self) -> None:
        assert "the file has 0.0 MiB" in refused("agents/b.yaml", limits=Limits(file_bytes=4))[0]

    def test_an_impossible_name_is_refused(self) -> None:
        assert "holds a NUL character" in refused("a\0b")[0]
        assert "empty" in refused("")[0]

    def test_a_device_is_refused(self) -> None:
        assert refused("/dev/null") == ["/dev/null: this is a device, not a file; name a file"]

    def test_no_source_gives_nothing(self) -> None:
        assert read_sources([]) == []


def test_a_socket_is_refused() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory, socket.socket(socket.AF_UNIX) as server:
        name = f"{directory}/s.yaml"
        server.bind(name)
        assert "this is a socket, not a file" in refused(name)[0]
        assert "this is a socket, not a file" in refused(directory)[0]


def test_an_unreadable_file_is_a_problem(tmp_path: Path) -> None:
    secret = tmp_path / "a.yaml"
    secret.write_text("kind: A\n", encoding="utf-8")
    secret.chmod(0)
    # The system's administrator may read everything but its own memory at address 0.
    name = str(secret) if not os.access(secret, os.R_OK) else "/proc/self/mem"
    assert f"{name}: the file cannot be read: " in refused(name)[0]


def test_a_name_that_no_file_can_have_is_a_problem() -> None:
    name = "x" * 300
    assert f"{name}: the file cannot be read: File name too long" in refused(name)[0]
