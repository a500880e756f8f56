"""What a definition and its objects come to, in the words of an apiserver; shared by tests and benchmarks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import orjson

from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import JsonObject
from kastra_core.api.registry import KindRegistry
from kastra_core.decoding import decode
from kastra_core.errors import Problem, UnknownKindError, ValidationError
from kastra_core.manifests import parse
from kastra_plugin_crd import hooks

__all__ = [
    "CORPUS",
    "Verdict",
    "definition_of",
    "difference",
    "expectations",
    "kinds_of_plugin",
    "manifest_of",
    "normal_path",
    "try_definition",
    "try_object",
]

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus" / "crds"
"""Real definitions and objects with an apiserver's verdicts; not part of the project."""


@attrs.frozen(kw_only=True)
class Verdict:
    """``http`` is 201 (accepted), 422 (refused), 400 (unknown fields, strictly) or 404 (nobody serves the version)."""

    http: int
    causes: frozenset[tuple[str, str]] = frozenset()
    """(reason, field path)."""
    warnings: frozenset[str] = frozenset()
    """Field paths of unknown fields."""
    problems: tuple[Problem, ...] = ()
    kinds: tuple[ResourceKind, ...] = ()
    """What an accepted definition defines."""

    def __str__(self) -> str:
        told = "".join(f"\n      {problem.reason or '(no reason)'} {problem}" for problem in self.problems[:6])
        return f"{self.http}{told}"


def normal_path(path: str) -> str:
    """A field path of an apiserver as Kastra writes it.

    >>> normal_path("spec.versions[0].schema.openAPIV3Schema.properties[spec].items[2]")
    'spec.versions[0].schema.openAPIV3Schema.properties.spec.items[2]'
    """
    return "" if path == "<nil>" else re.sub(r"\[([^\]\d][^\]]*)\]", r".\1", path)


@lru_cache(maxsize=1)
def kinds_of_plugin() -> tuple[ResourceKind, ...]:
    """What the plugin offers by itself: the kind CustomResourceDefinition."""
    return tuple(hooks.kastra_resource_kinds())


def _registry(kinds: Iterable[ResourceKind]) -> KindRegistry:
    registry = KindRegistry()
    for kind in kinds:
        registry.register(kind)
    return registry


def _verdict(error: ValidationError) -> Verdict:
    problems = tuple(error.problems)
    return Verdict(
        http=404 if isinstance(error.__cause__, UnknownKindError) else 422,
        causes=frozenset((problem.reason, problem.path) for problem in problems),
        problems=problems,
    )


def try_definition(manifest: Mapping[str, Any]) -> Verdict:
    """What comes of applying a definition alone."""
    try:
        decoded = decode(_registry(kinds_of_plugin()), manifest)
    except ValidationError as error:
        return _verdict(error)
    assert decoded.kind.defines is not None
    return Verdict(http=201, kinds=tuple(load(decoded.kind.defines)(decoded.filled or decoded.resource)))


def try_object(kinds: Iterable[ResourceKind], manifest: Mapping[str, Any], *, strict: bool = False) -> Verdict:
    """What comes of creating an object whose definition gave ``kinds``. ``strict``: unknown fields are refused."""
    registry = _registry(kinds)
    try:
        decoded = decode(registry, manifest, unknown_fields="strict" if strict else "warn")
    except ValidationError as error:
        return _strictly(registry, manifest, error) if strict else _verdict(error)
    return Verdict(http=201, warnings=frozenset(_unknown(decoded.notes)))


def _strictly(registry: KindRegistry, manifest: Mapping[str, Any], error: ValidationError) -> Verdict:
    """An apiserver looks for unknown fields first; Kastra tells them with all else that is wrong."""
    verdict = _verdict(error)
    unknown = any(problem.message.startswith("unknown field") for problem in error.problems)
    return attrs.evolve(verdict, http=400) if unknown else verdict


def _unknown(notes: Iterable[str]) -> Iterable[str]:
    """Field paths of the notes about unknown fields."""
    for note in notes:
        found = re.match(r"(\S+): unknown field ", note)
        if found:
            yield found[1]


# ------------------------------------------------------------------------------------------------ the corpus


@lru_cache(maxsize=1)
def expectations() -> dict[str, JsonObject]:
    """File of the corpus -> what an apiserver answered; empty when the corpus is not there."""
    path = CORPUS / "expected.json"
    found: dict[str, JsonObject] = orjson.loads(path.read_bytes()) if path.exists() else {}
    return {name: entry for name, entry in found.items() if "http" in entry}


@lru_cache(maxsize=4096)
def manifest_of(name: str) -> JsonObject:
    """The one manifest of a file of the corpus; one to be created has a name made from its ``generateName``."""
    (document,) = parse((CORPUS / name).read_text(encoding="utf-8"))
    data = document.data
    metadata = data.get("metadata")
    if isinstance(metadata, dict) and metadata.get("generateName") and not metadata.get("name"):
        named = {key: value for key, value in metadata.items() if key != "generateName"}
        return {**data, "metadata": {**named, "name": f"{metadata['generateName']}x1y2z"}}
    return data


@lru_cache(maxsize=1024)
def definition_of(name: str) -> Verdict:
    """The verdict on a definition of the corpus."""
    return try_definition(manifest_of(name))


_HOISTED = (
    (r"^spec\.versions\[\d+\]\.schema\.openAPIV3Schema", "spec.validation.openAPIV3Schema"),
    (
        r"^spec\.versions\[\d+\]\.additionalPrinterColumns\[(\d+)\]\.jsonPath",
        r"spec.additionalPrinterColumns[\1].JSONPath",
    ),
    (r"^spec\.versions\[\d+\]\.(additionalPrinterColumns|subresources|selectableFields)", r"spec.\1"),
)
"""What an apiserver says of a field that all versions share; Kastra says where it is in the manifest."""
_RULES_NOT_CHECKED = "some validation rules were not checked"


def _as_told(path: str, wanted: Iterable[str]) -> str:
    """A path of ours as an apiserver tells it, where it tells it otherwise."""
    path = re.sub(r"^metadata\.(labels|annotations)\..*", r"metadata.\1", path)  # it leaves the key to the message
    for pattern, text in _HOISTED:
        hoisted = re.sub(pattern, text, path)
        if hoisted != path and hoisted in wanted:
            return hoisted
    return path


def difference(expected: Mapping[str, Any], found: Verdict) -> str:
    """What sets a verdict apart from that of an apiserver, "" when nothing does.

    Of a value that fits none of its alternatives an apiserver names no field ("<nil>"); Kastra names the value and what
    its nearest alternative lacks. So such a cause is met by any.
    """
    told = []
    if expected["http"] != found.http:
        told.append(f"expected {expected['http']}")
    causes = [cause for cause in expected.get("causes") or () if cause]
    nowhere = [cause for cause in causes if cause[1] == "<nil>" and _RULES_NOT_CHECKED not in " ".join(cause[2:])]
    wanted = {(cause[0], normal_path(cause[1])) for cause in causes if cause not in nowhere}
    paths = {path for _, path in wanted}
    ours = {(reason, _as_told(path, paths)) for reason, path in found.causes}
    if expected["http"] == 422:
        missing = sorted(wanted - ours)
        further = [] if nowhere else sorted(ours - wanted)
        if missing:
            told.append(f"missing causes {missing}")
        if further and found.http == 422:
            told.append(f"further causes {further}")
    if expected["http"] == 201 and isinstance(expected.get("warnings"), list):
        warned = {normal_path(text.split('\\"')[1]) for text in expected["warnings"] if "unknown field" in text}
        if warned != found.warnings:
            told.append(f"warned of {sorted(found.warnings)}, expected {sorted(warned)}")
    return "; ".join(told) + (f"\n    found {found}" if told else "")
