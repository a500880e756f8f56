"""Foreign files as documents: values, places, and the bounded look around."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kastra_core.errors import ManifestError
from kastra_core.migration import FileSource, MemorySource, key_path, read_text


def test_each_yaml_document_has_its_data_and_the_line_of_every_key() -> None:
    first, second = read_text("# head\na:\n  b: [1, {c: x}]\n---\nd:\n- e: 1\n  f: 2\n", "x.yaml")
    assert (first.data, first.index, first.line) == ({"a": {"b": [1, {"c": "x"}]}}, 0, 2)
    assert dict(first.lines) == {"a": 2, "a.b": 3, "a.b[0]": 3, "a.b[1]": 3, "a.b[1].c": 3}
    assert (second.index, second.line, second.lines["d[0].f"]) == (1, 5, 7)


def test_merged_keys_have_the_line_of_their_anchor() -> None:
    (document,) = read_text("base: &b {x: 1}\nuse:\n  <<: *b\n  y: 2\n", "x.yaml")
    assert document.data["use"] == {"x": 1, "y": 2}
    assert (document.lines["use.x"], document.lines["use.y"]) == (1, 4)


def test_keys_that_are_no_text_are_taken_as_they_are_written() -> None:
    assert read_text("1: a\ntrue: b\non: c\n2.50: d\n", "x.yaml")[0].data == {
        "1": "a",
        "true": "b",
        "on": "c",
        "2.50": "d",
    }


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "x//y", /* c */ "b": [1, 2,], // end\n\t"u": "\\ud83d\\ude00",}',
        '// head\n{\n\t"a": "x//y",\n\t"b": [1, 2],\n\t"u": "😀"\n}\n',
    ],
)
def test_json_may_have_comments_tabs_and_trailing_commas(text: str) -> None:
    (document,) = read_text(text, "x.jsonc")
    assert document.data == {"a": "x//y", "b": [1, 2], "u": "😀"}
    assert document.lines["u"] == text[: text.index('"u"')].count("\n") + 1


def test_json_numbers_and_escapes_are_json_s() -> None:
    assert read_text('{"a": 1e3, "b": "\\/x", "c": "012", "d": 1.0}', "x.json")[0].data == {
        "a": 1000.0, "b": "/x", "c": "012", "d": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "file", "told"),
    [
        ("a: [1\nb: 2\n", "x.yaml", "x.yaml:"),
        ('{"a": 1 "b": 2}', "x.json", "x.json:1:"),
        ("a: 1\na: 2\n", "x.yaml", "appears twice"),
        ("a: !!python/object/apply:os.system [x]\n", "x.yaml", "data never runs code"),
        ("a: {{ .Values.x }}\nb: {{ include \"y\" . }}\n", "x.yaml", "x.yaml:1:4: this is a template of Helm"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_place(text: str, file: str, told: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_text(text, file)
    assert told in str(caught.value)


def test_python_is_a_document_without_data() -> None:
    (document,) = read_text("x = 1\n", "crew.py")
    assert (document.data, document.text) == (None, "x = 1\n")


def test_paths_of_keys_are_written_as_problems_write_them() -> None:
    assert key_path(["a", 0, "b", 1, 2]) == "a[0].b[1][2]"


# ------------------------------------------------------------------------------------------ files


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_yaml", ".yaml").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_a_directory_is_read_whole_but_for_what_is_nobody_s_own(tmp_path: Path) -> None:
    put(tmp_path, b_yaml="b: 1", a__c_yaml="c: 1", node_modules__d_yaml="d: 1", e_py="x = 1", f="text")
    put(tmp_path, **{".hidden__g_yaml": "g: 1", ".git__h_yaml": "h: 1"})
    source = FileSource([str(tmp_path)])
    assert [str(Path(file).relative_to(tmp_path)) for file in source.files] == [
        "b.yaml", "e.py", ".hidden/g.yaml", "a/c.yaml",
    ]  # fmt: skip
    assert source.given == set()


def test_a_file_that_is_given_twice_is_read_once(tmp_path: Path) -> None:
    put(tmp_path, b_yaml="b: 1")
    source = FileSource([str(tmp_path / "b.yaml"), str(tmp_path)])
    assert len(source.files) == 1
    assert source.given == {str(tmp_path / "b.yaml")}


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    put(tmp_path, agents_yaml="a: 1")
    with pytest.raises(ManifestError, match=r"did you mean 'agents.yaml'"):
        FileSource([str(tmp_path / "agent.yaml")])


def test_a_broken_file_is_remembered_with_its_problems(tmp_path: Path) -> None:
    put(tmp_path, a_yaml="a: [", b_yaml="b: 1")
    source = FileSource([str(tmp_path)])
    assert [document.data for document in source] == [{"b": 1}]
    assert list(source.problems) == [str(tmp_path / "a.yaml")]


def test_files_around_are_read_as_the_same_objects_and_never_outside(tmp_path: Path) -> None:
    put(tmp_path, secret_yaml="s: 1", top__crew_py="x = 1", top__conf__a_yaml="a: 1", top__conf__sub__b_yaml="b: 1")
    source = FileSource([str(tmp_path / "top" / "conf")])
    first, second = list(source)
    part = source.of([first])
    assert part.documents == (first,)
    assert part.read("sub/b.yaml", first)[0] is second
    assert part.read("sub/../sub/b.yaml", first)[0] is second
    assert part.find("**/*.yaml", first) == ["a.yaml", "sub/b.yaml"]
    for path in ("../crew.py", "../../secret.yaml", str(tmp_path / "secret.yaml")):
        with pytest.raises(ManifestError, match="leads out of"):
            part.read(path, first)
    assert part.read("../crew.py", first, beside=True)[0].text == "x = 1"
    assert part.find("../*.py", first, beside=True) == ["../crew.py"]
    with pytest.raises(ManifestError, match="leads out of"):
        part.read("../../secret.yaml", first, beside=True)


def test_a_link_leads_out_no_more_than_a_path(tmp_path: Path) -> None:
    put(tmp_path, secret_yaml="s: 1", top__a_yaml="a: 1")
    (tmp_path / "top" / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    source = FileSource([str(tmp_path / "top" / "a.yaml")])
    (document,) = source
    with pytest.raises(ManifestError, match="leads out of"):
        source.of([document]).read("link.yaml", document)


def test_a_file_that_is_not_there_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    put(tmp_path, a_yaml="a: 1", b_yaml="b: 1")
    source = FileSource([str(tmp_path)])
    first = next(iter(source))
    with pytest.raises(ManifestError, match=r"no file 'b.yml'.*did you mean 'b.yaml'"):
        source.of([first]).read("b.yml", first)


def test_a_memory_source_is_like_files() -> None:
    (first,), (other,) = read_text("a: 1", "d/a.yaml"), read_text("x = 1", "d/e/x.py")
    source = MemorySource([first], [other])
    assert source.read("e/x.py", first)[0] is other
    assert source.find("e/*.py", first) == ["e/x.py"]
    with pytest.raises(ManifestError):
        source.read("../x.yaml", first)


def test_pipes_devices_and_huge_files_of_a_directory_are_refused_and_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(2**34)
    source = FileSource([str(tmp_path)])
    assert list(source) == []
    told = {Path(file).name: problems[0].message for file, problems in source.problems.items()}
    assert told == {
        "pipe.yaml": "this is no file (a device, a pipe or a socket)",
        "huge.yaml": "the file has 16384.0 MiB, more than 4.0 MiB",
    }


def test_links_of_a_directory_that_lead_out_or_nowhere_are_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("a: 1")
    inside = tmp_path / "in"
    (inside / "deep").mkdir(parents=True)
    (inside / "a.yaml").write_text("a: 1")
    for name, target in (("out.yaml", "../secret.yaml"), ("gone.yaml", "nowhere"), ("root", "/"), ("same", "deep")):
        (inside / name).symlink_to(target)
    source = FileSource([str(inside)])
    assert [Path(file).name for file in source.files] == ["a.yaml"]
    assert sorted(Path(link).name for link in source.left_out) == ["gone.yaml", "out.yaml", "root"]
    document = next(iter(source))
    assert source.of([document]).find("**/*.yaml", document) == ["a.yaml"]


def test_json_is_held_to_the_depth_and_the_characters_of_yaml() -> None:
    with pytest.raises(ManifestError, match="nested more than 100 deep"):
        read_text('{"a":' * 300 + "1" + "}" * 300, "x.json")
    with pytest.raises(ManifestError, match="lone surrogate"):
        read_text('{"a": "\\ud800"}', "x.json")
