"""Files that a manifest names, with a kind of this test's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kastra_core.api.kind import Embedded, Includer, ResourceKind
from kastra_core.api.meta import Resource
from kastra_core.api.registry import KindRegistry
from kastra_core.errors import ManifestError, Problem, ValidationError
from kastra_core.includes import decode_documents, resolve_document
from kastra_core.manifests import Document, Limits, parse, read_below, read_sources


@attrs.frozen(kw_only=True)
class NoteSpec:
    text: str


def _resolve(manifest: dict[str, Any], files: Includer) -> dict[str, Any]:
    """Each item {file: PATH} becomes the manifests of that file."""
    items: list[Any] = []
    for index, item in enumerate(manifest["spec"].get("items", [])):
        if "file" in item:
            for one in files.include(item["file"], f"spec.items[{index}].file"):
                files.placed(f"spec.items[{len(items)}]", one)
                items.append(one)
        else:
            files.moved(f"spec.items[{len(items)}]", f"spec.items[{index}]")
            items.append(item)
    return {**manifest, "spec": {**manifest["spec"], "items": items}}


def _embedded(resource: Resource) -> list[Embedded]:
    return [Embedded(path=f"spec.items[{n}]", manifest=item) for n, item in enumerate(resource.spec["items"])]


BUNDLE = ResourceKind(kind="Bundle", plural="bundles", group="acme.example", resolve=_resolve, embedded=_embedded)
NOTE = ResourceKind(kind="Note", plural="notes", group="acme.example", spec_type=NoteSpec)


@pytest.fixture
def registry() -> KindRegistry:
    found = KindRegistry()
    found.register(BUNDLE)
    found.register(NOTE)
    return found


def bundle(*paths: str, name: str = "all", inline: Sequence[str] = ()) -> str:
    items = [f"    - file: {path}" for path in paths]
    items += [note(one, indent="      ").replace("      ", "    - ", 1) for one in inline]
    return f"apiVersion: acme.example/v1\nkind: Bundle\nmetadata: {{name: {name}}}\nspec:\n  items:\n" + "\n".join(
        items
    )


def note(name: str, text: str = "hello", *, indent: str = "") -> str:
    lines = ["apiVersion: acme.example/v1", "kind: Note", f"metadata: {{name: {name}}}", "spec:", f"  text: {text}"]
    return "\n".join(indent + line for line in lines)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)

    def files(**texts: str) -> None:
        for name, text in texts.items():
            path = tmp_path / name.replace("__", "/")
            path = path.with_name(path.name + ".yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    return files


def problems(registry: KindRegistry, *sources: str, limits: Limits | None = None) -> Sequence[Problem]:
    with pytest.raises(ValidationError) as caught:
        decode_documents(registry, read_sources(sources), limits=limits or Limits())
    return caught.value.problems


def names(document: Document) -> list[str]:
    return [item["metadata"]["name"] for item in document.data["spec"]["items"]]


def test_files_stand_where_they_are_named_in_order(registry: KindRegistry, write: Callable[..., None]) -> None:
    write(all=bundle("b.yaml", "a.yaml", inline=["last"]), a=note("a"), b=note("b1") + "\n---\n" + note("b2"))
    (document,) = read_sources(["all.yaml"])
    assert names(resolve_document(registry, document)) == ["b1", "b2", "a", "last"]
    assert document.data["spec"]["items"][0] == {"file": "b.yaml"}, "the document that was read is as it was"


@pytest.mark.parametrize("path", ["parts", "parts/", "./parts", "parts/*.yaml", "parts/**/*.yaml", "parts/[ab].yaml"])
def test_a_directory_or_a_pattern_stands_for_its_files_sorted(
    registry: KindRegistry, write: Callable[..., None], path: str
) -> None:
    write(app__all=bundle(path), app__parts__b=note("b"), app__parts__a=note("a"))
    (document,) = read_sources(["app/all.yaml"])
    assert names(resolve_document(registry, document)) == ["a", "b"]


def test_a_directory_and_a_pattern_leave_the_file_that_names_them_out(
    registry: KindRegistry, write: Callable[..., None]
) -> None:
    write(all=bundle(".", name="one"), a=note("a"))
    (document,) = read_sources(["all.yaml"])
    assert names(resolve_document(registry, document)) == ["a"]
    write(all=bundle('"*.yaml"', name="one"))
    (document,) = read_sources(["all.yaml"])
    assert names(resolve_document(registry, document)) == ["a"]


def test_a_directory_whose_name_looks_like_a_pattern_is_taken_by_its_name(
    registry: KindRegistry, write: Callable[..., None], tmp_path: Path
) -> None:
    write(x=note("a"))
    odd = tmp_path / "[odd]"
    odd.mkdir()
    (tmp_path / "x.yaml").rename(odd / "x.yaml")
    (odd / "all.yml").write_text(bundle('"*.yaml"'), encoding="utf-8")
    (document,) = read_sources(["[odd]/all.yml"])
    assert names(resolve_document(registry, document)) == ["a"]


def test_an_included_manifest_resolves_its_own_files_from_its_own_directory(
    registry: KindRegistry, write: Callable[..., None]
) -> None:
    write(all=bundle("inner/some.yaml"), inner__some=bundle("n.yaml", name="some"), inner__n=note("n", text="[]"))
    (found,) = problems(registry, "all.yaml")
    assert str(found).startswith("inner/n.yaml:5:3: Bundle default/all: spec.items[0].spec.items[0].spec.text: ")


def test_a_problem_is_shown_in_the_file_and_line_it_comes_from(
    registry: KindRegistry, write: Callable[..., None]
) -> None:
    write(
        all=bundle("good.yaml", "bad.yaml", inline=["fine", "Bad"]),
        good=note("a") + "\n---\n" + note("b"),
        bad="# a line more\n" + note("c", text="7"),
    )
    found = problems(registry, "all.yaml")
    assert [(one.file, one.line, one.column, one.path) for one in found] == [
        ("bad.yaml", 6, 9, "spec.items[2].spec.text"),
        # it is the fourth item of the file, the fifth when the files are in their places
        ("all.yaml", 15, 24, "spec.items[4].metadata.name"),
    ]


def test_all_problems_of_all_files_are_told_at_once(registry: KindRegistry, write: Callable[..., None]) -> None:
    write(
        all=bundle("missing.yaml", "syntax.yaml", "../up.yaml", "bad.yaml", "empty.yaml"),
        syntax="kind: [",
        bad=note("c", text="7"),
        empty="# nothing",
        other=note("Other"),
    )
    found = problems(registry, "all.yaml", "other.yaml")
    assert [(one.file, one.line) for one in found] == [
        ("all.yaml", 6),
        ("syntax.yaml", 1),
        ("all.yaml", 8),
        ("empty.yaml", 0),
        ("bad.yaml", 5),
        ("other.yaml", 3),
    ]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("../secret.yaml", "leads out of the directory"),
        ("a/../../secret.yaml", "leads out of the directory"),
        ("/etc/passwd", "is an absolute path"),
        ("C:/x.yaml", "is an absolute path"),
        ("https://example.com/x.yaml", "addresses are not fetched"),
        ('""', "is no path"),
        ('"-"', "is no path"),
        ('"\\0"', "is no path"),
        ("link.yaml", "this link leads out of the directory"),
        ("linked/secret.yaml", "this link leads out of the directory"),
        ("linked/nothing.yaml", "this link leads out of the directory"),
        ("linked", "this link leads out of the directory"),
        ('"linked/*.yaml"', "this link leads out of the directory"),
        ('"l*.yaml"', "this link leads out of the directory"),
        ("pipe.yaml", "this is a pipe, not a file"),
        ("partz", "did you mean 'parts'?"),
        ("parts/b.yaml", "did you mean 'parts/a.yaml'?"),
        ('"*.jsn"', "the pattern matches no file; the directory holds link.yaml, linked/, nothing/, parts/, pipe.yaml"),
        ('"parts/b*.yaml"', "the pattern matches no file; parts holds a.yaml"),
        ('"nothing/*.yaml"', "'nothing/*.yaml': the pattern matches no file"),
        ("nothing", "the directory holds no"),
        (r"parts\a.yaml", "write / between directories"),
        ("x" * 300, "the file cannot be read: File name too long"),
    ],
)
def test_a_path_that_leads_elsewhere_or_nowhere_is_refused_where_it_is_said(
    registry: KindRegistry, write: Callable[..., None], tmp_path: Path, path: str, told: str
) -> None:
    write(secret=note("secret"), app__all=bundle(path), app__parts__a=note("a"))
    (tmp_path / "app" / "nothing").mkdir()
    (tmp_path / "app" / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    (tmp_path / "app" / "linked").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "app" / "pipe.yaml")
    (found,) = problems(registry, "app/all.yaml")
    assert told in str(found)
    assert (found.file, found.line, found.path) == ("app/all.yaml", 6, "spec.items[0].file")
    assert "secret" not in str(found).replace(path, "")


def test_the_file_that_names_another_is_not_what_was_meant(registry: KindRegistry, write: Callable[..., None]) -> None:
    write(system=bundle("sistem.yaml"))
    (found,) = problems(registry, "system.yaml")
    assert str(found).endswith("'sistem.yaml': no such file or directory")


def test_a_directory_that_cannot_be_read_is_told_once(
    registry: KindRegistry, write: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(all=bundle("parts"), parts__a=note("a"))
    original = Path.iterdir

    def locked(self: Path) -> Any:
        if self.name == "parts":
            raise PermissionError(13, "Permission denied", str(self))
        return original(self)

    monkeypatch.setattr(Path, "iterdir", locked)
    (found,) = problems(registry, "all.yaml")
    assert "'parts': the directory cannot be read: Permission denied" in str(found)


def test_a_link_within_the_directory_is_followed(
    registry: KindRegistry, write: Callable[..., None], tmp_path: Path
) -> None:
    write(all=bundle("link.yaml"), parts__a=note("a"))
    (tmp_path / "link.yaml").symlink_to("parts/a.yaml")
    (document,) = read_sources(["all.yaml"])
    assert names(resolve_document(registry, document)) == ["a"]


def test_a_pattern_follows_no_link_through_all_directories(
    registry: KindRegistry, write: Callable[..., None], tmp_path: Path
) -> None:
    write(all=bundle('"**/*.yaml"'), deep__er__a=note("a"), deep__hidden=note("b"))
    (tmp_path / "deep" / "hidden.yaml").rename(tmp_path / "deep" / ".hidden.yaml")
    (tmp_path / "deep" / "again").symlink_to(tmp_path)
    (document,) = read_sources(["all.yaml"])
    assert names(resolve_document(registry, document)) == ["a"]
    write(all=bundle('"deep/**"'))
    (document,) = read_sources(["all.yaml"])
    assert names(resolve_document(registry, document)) == ["a"]
    write(all=bundle("deep/**x.yaml"))
    (found,) = problems(registry, "all.yaml")
    assert "'deep/**x.yaml': ** stands for directories, by itself" in str(found)


@pytest.fixture(scope="module")
def fenced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a file, in one with another file, and links from the inner to the outer."""
    outer = tmp_path_factory.mktemp("outer")
    inner = outer / "s"
    (inner / "a").mkdir(parents=True)
    (outer / "s.yaml").write_text(note("secret"), encoding="utf-8")
    (inner / "a" / "a.yaml").write_text(note("a"), encoding="utf-8")
    (inner / "l").symlink_to(outer)
    (inner / "a" / "l.yaml").symlink_to(outer / "s.yaml")
    return inner


PIECES = [
    "/",
    "//",
    ".",
    "..",
    "*",
    "**",
    "?",
    "[ls]",
    "a",
    "s",
    "l",
    "a.yaml",
    "s.yaml",
    "l.yaml",
    "~",
    "\\",
    " ",
    ":",
    "file:",
]


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=6))
def test_no_path_whatever_leads_out_of_the_directory(fenced: Path, pieces: list[str]) -> None:
    found = read_below(str(fenced), "".join(pieces))
    assert {document.data["metadata"]["name"] for document in found.documents} <= {"a"}
    assert found.documents or found.own or found.problems
    assert "secret" not in str((found.own, found.problems))


def test_files_that_include_each_other_are_refused(registry: KindRegistry, write: Callable[..., None]) -> None:
    write(a=bundle("b.yaml", name="a"), b=bundle("c.yaml", name="b"), c=bundle("a.yaml", name="c"))
    (found,) = problems(registry, "a.yaml")
    assert "a circle: a.yaml -> b.yaml -> c.yaml -> a.yaml" in str(found)
    assert (found.file, found.line) == ("c.yaml", 6)
    write(a=bundle("a.yaml", name="a"))
    (found,) = problems(registry, "a.yaml")
    assert "a circle: a.yaml -> a.yaml" in str(found)


def test_the_number_of_files_is_bounded_even_when_few_name_many(
    registry: KindRegistry, write: Callable[..., None]
) -> None:
    texts = {f"b{n}": bundle(f"b{n + 1}.yaml", f"./b{n + 1}.yaml", name=f"b{n}") for n in range(12)}
    write(**texts, b12=note("n"))
    found = problems(registry, "b0.yaml", limits=Limits(included_files=50))
    assert sum("more than 50 files would be included" in str(one) for one in found) == 1
    assert not any("more than 0" in str(one) for one in found)


def test_files_below_each_other_are_bounded(registry: KindRegistry, write: Callable[..., None]) -> None:
    count = 40
    write(**{f"b{n}": bundle(f"b{n + 1}.yaml", name=f"b{n}") for n in range(count)}, **{f"b{count}": note("n")})
    (found,) = problems(registry, "b0.yaml")
    assert "more than 32 files include each other" in str(found)
    assert (found.file, found.line) == ("b32.yaml", 6)
    assert len(decode_documents(registry, read_sources(["b9.yaml"]))) == 1


def test_the_size_of_the_whole_is_bounded(registry: KindRegistry, write: Callable[..., None]) -> None:
    write(all=bundle("a.yaml", "b.yaml"), a=note("a", text="x" * 900), b=note("b", text="y" * 900))
    (found,) = problems(registry, "all.yaml", limits=Limits(document_bytes=1500))
    assert "with its files it has" in str(found)
    assert (found.file, found.line) == ("all.yaml", 1)


@pytest.mark.parametrize("file", ["<string>", "<stdin>", "all.yaml"])
def test_a_text_names_no_files_whatever_it_is_called(
    registry: KindRegistry, write: Callable[..., None], file: str
) -> None:
    write(a=note("a"))
    (document,) = parse(bundle("a.yaml"), file)
    with pytest.raises(ManifestError) as caught:
        resolve_document(registry, document)
    (found,) = caught.value.problems
    assert "'a.yaml' cannot be found: this manifest is in no file" in str(found)
    assert "-f file.yaml" in found.hint
    assert (found.file, found.line) == (file, 6)


def test_a_resource_that_is_given_twice_is_shown_at_both_places(
    registry: KindRegistry, write: Callable[..., None]
) -> None:
    write(all=bundle("a.yaml", name="one"), a=note("a"), other=bundle(inline=["b", "a"], name="two"))
    (found,) = problems(registry, "all.yaml", "other.yaml")
    assert (found.file, found.line) == ("other.yaml", 13)
    told = "Note default/a is there twice; the first is at a.yaml:3; Bundle default/two brings it in: leave out one"
    assert told in str(found)
    (found,) = problems(registry, "a.yaml", "all.yaml")
    told = "Note default/a is there twice; the first is at a.yaml:1; Bundle default/one brings it in: leave out one"
    assert told in str(found)


def test_what_a_resolver_stumbles_over_is_a_problem_of_the_manifest(registry: KindRegistry) -> None:
    (document,) = parse("apiVersion: acme.example/v1\nkind: Bundle\nmetadata: {name: x}\nspec: {items: [5]}")
    with pytest.raises(ManifestError, match="its files cannot be put in their places: TypeError"):
        resolve_document(registry, document)


def test_a_kind_without_files_is_left_alone(registry: KindRegistry) -> None:
    (document,) = parse(note("a"))
    assert resolve_document(registry, document) is document
    (document,) = parse("kind: Unheard\napiVersion: of/v1")
    assert resolve_document(registry, document) is document
