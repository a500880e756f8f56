"""The files that a System names, put in their places."""

from __future__ import annotations

from kastra_core.api.kind import Includer
from kastra_core.api.meta import JsonObject
from kastra_core.errors import Problem, ValidationError
from kastra_plugin_system.spec import LISTS

__all__ = ["resolve"]


def resolve(manifest: JsonObject, files: Includer) -> JsonObject:
    """Return the manifest with the manifests of all files under ``spec.resources``, after what is there.

    Nothing of the manifest was checked: what has another shape than expected is left for the validation.

    Raises: ValidationError: a file of a list holds another kind than the list is for.
    """
    spec = manifest.get("spec")
    if not isinstance(spec, dict):
        return manifest
    spec = dict(spec)
    given = spec.get("resources")
    found = list(given) if isinstance(given, list) else []
    problems: list[Problem] = []

    def take(path: str, into: str, kind: str) -> None:
        for one in files.include(path, into):
            place = f"spec.resources[{len(found)}]"
            found.append(one)
            files.placed(place, one)
            if kind and one.get("kind") != kind:
                told = f"expected kind {kind}, found {one.get('kind')!r}"[:200]
                hint = f"{into} is for files with {kind}s; name others under spec.include"
                problems.append(Problem(told, f"{place}.kind", hint=hint))

    for name, kind in LISTS.items():
        entries = spec.get(name)
        if not isinstance(entries, list):
            continue
        stay: list[object] = []
        for index, entry in enumerate(entries):
            place = f"spec.{name}[{index}]"
            if isinstance(entry, dict) and entry.keys() == {"file"} and isinstance(entry["file"], str):
                take(entry["file"], f"{place}.file", kind)
            else:
                files.moved(f"spec.{name}[{len(stay)}]", place)
                stay.append(entry)
        if len(stay) != len(entries):
            spec[name] = stay
            if not stay:
                del spec[name]
    include = spec.get("include")
    if isinstance(include, list) and all(isinstance(path, str) for path in include):
        for index, path in enumerate(include):
            take(path, f"spec.include[{index}]", "")
        del spec["include"]
    if found and (given is None or isinstance(given, list)):
        spec["resources"] = found
    if problems:
        raise ValidationError(problems)
    return {**manifest, "spec": spec}
