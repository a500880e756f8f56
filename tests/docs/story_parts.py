"""Validates what a page shows of a manifest or a configuration without writing out the rest."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kastra_core import PluginManager, ValidationError, manifests
from kastra_core.config import Config
from kastra_core.errors import KastraError
from kastra_core.includes import decode_manifests
from kastra_core.runtime import registry_of

__all__ = ["problem_of_part"]

SMALLEST: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "Agent": [{"instructions": "Help."}],
    "Tool": [
        {"type": "python", "python": {"function": "module:function"}},
        {"type": "http", "description": "Asks.", "http": {"url": "https://example.com"}},
    ],
    "Workflow": [{"steps": [{"id": "first", "set": 1}]}],
    "Network": [{"agents": ["first"]}],
    "System": [{"agents": [{"name": "first", "spec": {"instructions": "Help."}}]}],
    "RetentionPolicy": [{"runs": {"keepS": 60}}],
}
"""The smallest valid ``spec`` of a kind, or several; a part is put into each until one is valid with it."""


def problem_of_part(place: str, text: str, definitions: Iterable[str] = ()) -> str:
    """Return what is wrong with a part of a manifest or a configuration, "" when nothing is.

    Args:
        place: "config", or KIND with the path of the field: "Agent", "Agent.spec.memory", "Workflow.spec.steps[]"
            (an item of the list).
        text: YAML or JSON.
        definitions: manifests that may define kinds.
    """
    try:
        value = manifests_value(text)
    except (yaml.YAMLError, KastraError) as error:
        return f"no YAML: {error}"
    if place == "config":
        return _problem_of_config(text)
    kind, _, path = place.partition(".")
    registry = registry_of(PluginManager())
    defined = [
        document.data
        for one in definitions
        for document in manifests.parse(one)
        if document.data.get("kind") == "CustomResourceDefinition"
    ]
    api_version = _api_version(registry, kind, defined)
    if not api_version:
        return f"in={place!r}: nobody offers the kind {kind!r}"
    problem = ""
    for spec in [{}, *SMALLEST.get(kind, [])]:
        whole = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "part"}, "spec": dict(spec)}
        try:
            decode_manifests(registry, [*defined, _put(whole, path, value)], unknown_fields="error")
        except ValidationError as error:
            problem = str(error)
        else:
            return ""
    return problem


def manifests_value(text: str) -> Any:
    """What a text of YAML says, read as manifests are."""
    # Manifests are objects: the part stands in one.
    indented = "".join(f"  {line}\n" for line in text.splitlines())
    [document] = manifests.parse(f"apiVersion: v1\nkind: Part\nvalue:\n{indented}")
    return document.data["value"]


def _api_version(registry: Any, kind: str, defined: Sequence[Mapping[str, Any]]) -> str:
    for definition in defined:
        spec = definition["spec"]
        if spec["names"]["kind"] == kind:
            stored = [version["name"] for version in spec.get("versions", ()) if version.get("storage")]
            return f"{spec['group']}/{(stored or [spec.get('version', 'v1')])[0]}"
    try:
        return str(registry.resolve(kind).api_version)
    except KastraError:
        return ""


def _put(whole: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The manifest with the value at the path; objects are merged, all else is replaced."""
    for name in reversed(path.split(".") if path else []):
        name, listed = re.subn(r"\[\]$", "", name)
        value = {name: [value] if listed else value}
    found: dict[str, Any] = _merged(whole, value)
    return found


def _merged(low: Any, high: Any) -> Any:
    if isinstance(low, dict) and isinstance(high, dict):
        return {**low, **{name: _merged(low.get(name), value) for name, value in high.items()}}
    return high


def _problem_of_config(text: str) -> str:
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        (project / ".kastra").mkdir()
        (project / ".kastra" / "config.yaml").write_text(text, encoding="utf-8")
        try:
            Config.load(project, {"KASTRA_CONFIG_HOME": str(project / "home")})
        except KastraError as error:
            return str(error).replace(directory, "")
    return ""
