"""Definitions in Kastra's first form, and in Kubernetes' older one, as ``apiextensions.k8s.io/v1``.

The first form has one schema for all versions and needs no version at all::

    apiVersion: mastra.ai/v1alpha1
    kind: CustomResourceDefinition
    metadata: {name: datasources.mastra.ai}
    spec:
      group: mastra.ai
      names: {kind: DataSource, plural: datasources}
      scope: Namespaced
      validation:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {url: {type: string}}}}

Its schema is read as whoever writes it would expect:

- Properties with ``spec`` among them are those of the whole object, as in Kubernetes.
- Properties that have none of an object's own fields (apiVersion, kind, metadata, status) are those of ``spec``.
- A mixture of the two without ``spec`` is refused.
- No properties at all (``properties:`` with nothing below it): any fields are kept. Taken by the letter, every field
  would be dropped.

``version``, ``versions``, ``additionalPrinterColumns`` (with ``JSONPath``), ``subresources`` and
``preserveUnknownFields`` may be given as in ``apiextensions.k8s.io/v1beta1``; without a version there is one, v1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kastra_core.api.meta import JsonObject, ObjectMeta, Resource
from kastra_core.errors import Problem, ValidationError

__all__ = ["to_v1"]

_OWN: Final = frozenset({"apiVersion", "kind", "metadata", "status"})
_SCHEMA: Final = "openAPIV3Schema"
_SHARED: Final = ("validation", "subresources", "additionalPrinterColumns", "selectableFields")
"""What the older form says once for all versions."""


def to_v1(manifest: JsonObject) -> JsonObject:
    """Return a definition as one of ``apiextensions.k8s.io/v1``; the argument stays as it is.

    Raises:
        ValidationError: it cannot be read as one, or is wrong; the paths are those of the manifest as given.
    """
    spec = manifest.get("spec")
    if not isinstance(spec, dict):
        return {**manifest, "apiVersion": "apiextensions.k8s.io/v1"}
    conversion = _Conversion(spec)
    converted = {**manifest, "apiVersion": "apiextensions.k8s.io/v1", "spec": conversion.spec()}
    problems = conversion.problems or conversion.in_given_places(_problems_of(converted))
    if problems:
        raise ValidationError(problems)
    return converted


def _problems_of(manifest: JsonObject) -> Iterable[Problem]:
    """What is wrong with the definition; found here, so that it can be told where it was written."""
    from kastra_plugin_crd.definition_rules import definition_problems
    from kastra_plugin_crd.meta_schema import STRUCTURE

    pruned, _ = STRUCTURE.prune({key: value for key, value in manifest.items() if key != "status"})
    filled = STRUCTURE.default(pruned)
    wrong = STRUCTURE.validate(filled)
    metadata = filled.get("metadata")
    if wrong or not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return wrong  # a wrong name is told by whoever reads metadata
    annotations = metadata.get("annotations")
    return definition_problems(
        Resource(
            api_version=filled["apiVersion"],
            kind=str(filled.get("kind")),
            metadata=ObjectMeta(
                name=metadata["name"], annotations=annotations if isinstance(annotations, dict) else {}
            ),
            spec=filled["spec"] or {},
        )
    )


class _Conversion:
    """One spec, its problems, and where its parts went."""

    def __init__(self, spec: JsonObject) -> None:
        self.given = spec
        self.problems: list[Problem] = []
        self._places: list[tuple[str, str]] = []
        """(field path in the result, in what was given)."""

    def spec(self) -> JsonObject:
        given = self.given
        out = {
            key: value
            for key, value in given.items()
            if key not in (*_SHARED, "version", "versions", "preserveUnknownFields")
        }
        if not out.get("scope"):
            out["scope"] = "Namespaced"
        if isinstance(out.get("conversion"), dict):
            out["conversion"] = _conversion(out["conversion"])
        versions = self._versions()
        if isinstance(versions, list):
            versions = [
                self._version(version, index, len(versions)) if isinstance(version, dict) else version
                for index, version in enumerate(versions)
            ]
        out["versions"] = versions
        return out

    def _versions(self) -> Any:
        version, versions = self.given.get("version"), self.given.get("versions")
        if not versions:
            if version is None:
                return [{"name": "v1"}]
            self._places.append(("spec.versions[0].name", "spec.version"))
            return [{"name": version}]
        first = versions[0] if isinstance(versions, list) else None
        if version and isinstance(first, dict) and first.get("name") != version:
            self._bad(
                f"must be that of the first of spec.versions, {first.get('name')!r}; found {version!r}",
                "spec.version",
                "leave it out",
            )
        return versions

    def _version(self, version: JsonObject, index: int, count: int) -> JsonObject:
        out = dict(version)
        path = f"spec.versions[{index}]"
        out.setdefault("served", True)
        if count == 1:
            out.setdefault("storage", True)
        shared = {key: self.given[key] for key in _SHARED if self.given.get(key) is not None}
        for key, value in shared.items():
            own = "schema" if key == "validation" else key
            if out.get(own) is not None:
                self._bad(
                    f"{path}.{own} says the same", f"spec.{key}", "leave out one of the two", "FieldValueForbidden"
                )
                continue
            out[own] = value
            self._places.append((f"{path}.{own}", f"spec.{key}"))
        if isinstance(out.get("additionalPrinterColumns"), list):
            out["additionalPrinterColumns"] = [_column(column) for column in out["additionalPrinterColumns"]]
        schema = out.get("schema")
        if schema is None or isinstance(schema, dict):
            where = "spec.validation" if "validation" in shared else f"{path}.schema"
            whole = self._whole((schema or {}).get(_SCHEMA), f"{path}.schema.{_SCHEMA}", f"{where}.{_SCHEMA}")
            out["schema"] = {**(schema or {}), _SCHEMA: whole}
        return out

    def _whole(self, schema: Any, path: str, given_path: str) -> Any:
        """The schema of the whole object that a schema is meant as."""
        if schema is None:
            schema = {}
        if not isinstance(schema, dict):
            return schema
        out: JsonObject = {"type": "object", **schema}
        properties = out.get("properties")
        if not properties:
            if properties is None:
                out.pop("properties", None)
            if "additionalProperties" not in out:
                out["x-kubernetes-preserve-unknown-fields"] = True
        elif isinstance(properties, dict) and "spec" not in properties and not properties.keys() <= _OWN:
            if mixed := sorted(_OWN & properties.keys()):
                fields = sorted(properties.keys() - _OWN)
                self._bad(
                    f"has fields of the whole object ({', '.join(mixed)}) beside {', '.join(fields[:5])}",
                    f"{given_path}.properties",
                    "put the fields of spec below properties.spec.properties",
                )
            out = _below_spec(out)
            self._places.append((f"{path}.properties.spec", given_path))
        if self.given.get("preserveUnknownFields") is True:
            out["x-kubernetes-preserve-unknown-fields"] = True
        return out

    def in_given_places(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems of the result, where they were written."""
        out: dict[tuple[str, str], Problem] = {}
        for problem in problems:
            path = problem.path
            around = [place for place in self._places if f"{path}.".startswith((f"{place[0]}.", f"{place[0]}["))]
            if around:
                inner, given = max(around, key=lambda place: len(place[0]))
                path = given + path[len(inner) :]
            out.setdefault((path, problem.message), problem.at(path=path))
        return list(out.values())

    def _bad(self, message: str, path: str, hint: str, reason: str = "FieldValueInvalid") -> None:
        self.problems.append(Problem(message, path, hint=hint, reason=reason))


def _below_spec(schema: JsonObject) -> JsonObject:
    """The schema of an object with this schema as its spec."""
    out: JsonObject = {"type": "object"}
    inner = dict(schema)
    if "description" in inner:
        out["description"] = inner.pop("description")
    out["properties"] = {"spec": inner}
    if inner.get("required"):
        out["required"] = ["spec"]
    return out


def _column(column: Any) -> Any:
    if isinstance(column, dict) and "JSONPath" in column and "jsonPath" not in column:
        column = {("jsonPath" if key == "JSONPath" else key): value for key, value in column.items()}
    return column


def _conversion(conversion: JsonObject) -> JsonObject:
    """The older form has what belongs to the webhook beside the strategy."""
    out = dict(conversion)
    webhook: JsonObject = {}
    for old, new in (("webhookClientConfig", "clientConfig"), ("conversionReviewVersions", "conversionReviewVersions")):
        value = out.pop(old, None)
        if value is not None:
            webhook[new] = value
    if webhook and "webhook" not in out:
        out["webhook"] = webhook
    return out
