"""Real definitions and objects have the verdict that a kube-apiserver 1.36 gave."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pytest

from crd_corpus import CORPUS, definition_of, difference, expectations, manifest_of, try_object

EXPECTED = expectations()
DEFINITIONS = defaultdict[str, list[str]](list)
OBJECTS = defaultdict[str, list[str]](list)
for _name, _entry in EXPECTED.items():
    (DEFINITIONS if _entry["kind"] == "CRD" else OBJECTS)[_name.split("/")[0]].append(_name)

pytestmark = pytest.mark.skipif(not EXPECTED, reason=f"{CORPUS} is not there")


def told(found: Sequence[tuple[str, str]]) -> str:
    """The differences as a table."""
    return "\n" + "\n".join(f"  {name}\n    {text}" for name, text in found)


@pytest.mark.parametrize("project", sorted(DEFINITIONS))
def test_definitions_are_accepted_or_refused_as_by_an_apiserver(project: str) -> None:
    names = DEFINITIONS[project]
    found = [(name, text) for name in names if (text := difference(EXPECTED[name], definition_of(name)))]
    assert not found, told(found)


@pytest.mark.parametrize("project", sorted(OBJECTS))
def test_objects_are_accepted_or_refused_as_by_an_apiserver(project: str) -> None:
    found = []
    for name in OBJECTS[project]:
        entry = EXPECTED[name]
        kinds = definition_of(entry["crd"]).kinds
        text = difference(entry, try_object(kinds, manifest_of(name)))
        if text:
            found.append((name, text))
    assert not found, told(found)


@pytest.mark.parametrize("project", sorted(OBJECTS))
def test_strictly_objects_with_unknown_fields_are_refused(project: str) -> None:
    found = []
    for name in OBJECTS[project]:
        entry = EXPECTED[name]
        verdict = try_object(definition_of(entry["crd"]).kinds, manifest_of(name), strict=True)
        if verdict.http != entry["http_strict"]:
            found.append((name, f"expected {entry['http_strict']}\n    found {verdict}"))
    assert not found, told(found)
