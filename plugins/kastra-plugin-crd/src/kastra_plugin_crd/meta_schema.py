"""The structural schema of CustomResourceDefinition itself, and how its manifests are read by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from kastra_core.api.meta import JsonObject
from kastra_core.errors import Problem

if TYPE_CHECKING:
    from kastra_plugin_crd.structure import SchemaStructure

__all__ = ["SCHEMA", "STRUCTURE", "DefinitionStructure"]


def _text(description: str, **more: Any) -> JsonObject:
    return {"type": "string", "description": description, **more}


def _flag(description: str) -> JsonObject:
    return {"type": "boolean", "description": description}


def _texts(description: str) -> JsonObject:
    return {
        "type": "array",
        "description": description,
        "items": {"type": "string"},
        "x-kubernetes-list-type": "atomic",
    }


def _object(description: str, properties: JsonObject, *required: str) -> JsonObject:
    out: JsonObject = {"type": "object", "description": description, "properties": properties}
    if required:
        out["required"] = list(required)
    return out


def _list(description: str, items: JsonObject) -> JsonObject:
    return {"type": "array", "description": description, "items": items, "x-kubernetes-list-type": "atomic"}


def _names(description: str) -> JsonObject:
    return _object(
        description,
        {
            "kind": _text("What manifests write as kind, in CamelCase: DataSource."),
            "plural": _text(
                "What `kastra get` takes, in lower case: datasources. The definition's own name is this, a dot and the "
                "group."
            ),
            "singular": _text("One of them, in lower case. Default: kind in lower case."),
            "listKind": _text("Name of a list of them. Default: kind with List behind it."),
            "shortNames": _texts("Short spellings for the command line: ds."),
            "categories": _texts("Groups of kinds that it is shown with, such as all for `kastra get all`."),
        },
        "kind",
        "plural",
    )


_COLUMN: Final = _object(
    "A column of `kastra get`.",
    {
        "name": _text("The heading."),
        "type": _text(
            "What is in it; a date is shown as an age.", enum=["integer", "number", "string", "boolean", "date"]
        ),
        "format": _text("More on the type: int32, int64, float, double, byte, date, date-time or password."),
        "description": _text("What the column means."),
        "priority": {
            "type": "integer",
            "format": "int32",
            "description": "0 is always shown, more than 0 with `-o wide` only.",
        },
        "jsonPath": _text(
            "Where in the object the value is: .spec.url, .status.conditions[?(@.type=='Ready')].status."
        ),
    },
    "name",
    "type",
    "jsonPath",
)

_SUBRESOURCES: Final = _object(
    "Parts of an object that are written apart from the rest.",
    {
        "status": _object("Give {} to have status written by controllers only. It always is, here.", {}),
        "scale": _object(
            "Where the object keeps how many replicas it wants and has, for `kastra scale`.",
            {
                "specReplicasPath": _text("Path of the wanted number, below .spec."),
                "statusReplicasPath": _text("Path of the number that there is, below .status."),
                "labelSelectorPath": _text("Path of a label selector, as text, below .spec or .status."),
            },
            "specReplicasPath",
            "statusReplicasPath",
        ),
    },
)

_VERSION: Final = _object(
    "A version of the kind.",
    {
        "name": _text("What follows the group in apiVersion: v1, v1beta1."),
        "served": _flag("Whether manifests may have this version."),
        "storage": _flag("Whether objects are stored in this version. Exactly one version is."),
        "deprecated": _flag("Tell whoever applies a manifest of this version that a better one is there."),
        "deprecationWarning": _text("What they are told instead of the usual words."),
        "schema": _object(
            "What objects of this version look like.",
            {
                "openAPIV3Schema": {
                    "type": "object",
                    "description": "A structural OpenAPI v3 schema of the whole object: type: object, with "
                    "properties for spec and status. Fields that it does not name are dropped. Also known are "
                    "default, nullable, the x-kubernetes-... keywords of Kubernetes, and "
                    "x-kastra-reference: {kind, group} for a field that names another resource.",
                    "x-kubernetes-preserve-unknown-fields": True,
                }
            },
            "openAPIV3Schema",
        ),
        "subresources": _SUBRESOURCES,
        "additionalPrinterColumns": _list("The columns of `kastra get`. Default: the age.", _COLUMN),
        "selectableFields": _list(
            "Fields that objects can be selected by, at most 8.",
            _object("A field.", {"jsonPath": _text("Its path: .spec.color. No lists, not in metadata.")}, "jsonPath"),
        ),
    },
    "name",
    "served",
    "storage",
    "schema",
)

_WEBHOOK: Final = _object(
    "Not supported.",
    {
        "clientConfig": _object(
            "Not supported.",
            {
                "url": _text("Not supported."),
                "caBundle": _text("Not supported."),
                "service": _object(
                    "Not supported.",
                    {
                        "namespace": _text("Not supported."),
                        "name": _text("Not supported."),
                        "path": _text("Not supported."),
                        "port": {"type": "integer", "format": "int32", "description": "Not supported."},
                    },
                ),
            },
        ),
        "conversionReviewVersions": _texts("Not supported."),
    },
)

_CONDITION: Final = _object(
    "A fact about the definition.",
    {
        "type": _text(
            "NamesAccepted (no other kind has its names), Established (the kind is there), Terminating (it and its "
            "objects are being deleted), ResourcesValid (all stored objects fit the schema) or Ready."
        ),
        "status": _text("True, False or Unknown."),
        "reason": _text("Why, in one word."),
        "message": _text("Why, for people."),
        "observedGeneration": {"type": "integer", "format": "int64", "description": "The edit of spec it is about."},
        "lastTransitionTime": _text("When status last changed.", format="date-time"),
    },
    "type",
    "status",
)

SCHEMA: Final[JsonObject] = {
    "type": "object",
    "description": "A kind of resource, defined by its schema. Its objects can be applied, shown and deleted as those "
    "of built-in kinds can. Deleting the definition deletes all its objects.",
    "required": ["spec"],
    "properties": {
        "spec": _object(
            "The kind.",
            {
                "group": _text(
                    "What stands before the version in apiVersion: data.example.com. A domain of yours, with a dot."
                ),
                "names": _names("How the kind is called."),
                "scope": _text(
                    "Whether an object lives in a namespace or stands alone.", enum=["Namespaced", "Cluster"]
                ),
                "versions": _list("The versions of the kind; one of them stores the objects.", _VERSION),
                "conversion": _object(
                    "How an object of one version becomes one of another.",
                    {
                        "strategy": _text(
                            "None: only apiVersion changes, fields keep their names. Webhook is not supported.",
                            enum=["None"],
                        ),
                        "webhook": _WEBHOOK,
                    },
                    "strategy",
                ),
                "preserveUnknownFields": _flag(
                    "Must be false. Use x-kubernetes-preserve-unknown-fields: true in a schema instead."
                ),
            },
            "group",
            "names",
            "scope",
            "versions",
        ),
        "status": _object(
            "What became of it; written by its controller.",
            {
                "conditions": {
                    "type": "array",
                    "description": "The facts, one of each type.",
                    "items": _CONDITION,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                },
                "acceptedNames": _names("The names that the kind goes by."),
                "storedVersions": _texts(
                    "The versions that objects may be stored in; they may not leave spec.versions."
                ),
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "description": "The edit of spec that status is about.",
                },
            },
        ),
    },
}
"""The OpenAPI v3 schema of a CustomResourceDefinition of ``apiextensions.k8s.io/v1``."""


class DefinitionStructure:
    """Reads manifests of definitions: unknown fields of the definition and of the schemas in it are dropped, names
    that follow from others are filled in. Only types are looked at; whatever else is wrong is found by
    :func:`kastra_plugin_crd.definition.validate`, with all other problems.
    """

    @property
    def schema(self) -> Mapping[str, Any]:
        return SCHEMA

    @cached_property
    def _types(self) -> SchemaStructure:
        from kastra_plugin_crd.structure import SchemaStructure

        return SchemaStructure(_types_of(SCHEMA), kind="CustomResourceDefinition")

    def prune(self, manifest: JsonObject) -> tuple[JsonObject, Sequence[Problem]]:
        """Return a manifest without what no definition has, and a problem for each field that was dropped."""
        from kastra_plugin_crd.schema import known_part

        pruned, dropped = self._types.prune(manifest)
        problems = list(dropped)
        versions = (pruned.get("spec") or {}).get("versions") if isinstance(pruned.get("spec"), dict) else None
        if not isinstance(versions, list):
            return pruned, problems
        changed: list[Any] = []
        for index, version in enumerate(versions):
            schema = version.get("schema") if isinstance(version, dict) else None
            if isinstance(schema, dict) and "openAPIV3Schema" in schema:
                given = schema["openAPIV3Schema"]
                known, notes = known_part(given, f"spec.versions[{index}].schema.openAPIV3Schema")
                if notes:
                    problems += notes
                    version = {**version, "schema": {**schema, "openAPIV3Schema": known}}
            changed.append(version)
        if any(new is not old for new, old in zip(changed, versions, strict=True)):
            pruned = {**pruned, "spec": {**pruned["spec"], "versions": changed}}
        return pruned, problems

    def default(self, manifest: JsonObject) -> JsonObject:
        """Return a manifest with what Kubernetes fills in: names.singular, names.listKind, conversion."""
        filled = self._types.default(manifest)
        spec = filled.get("spec")
        if not isinstance(spec, dict):
            return filled
        more: JsonObject = {}
        names = spec.get("names")
        kind = names.get("kind") if isinstance(names, dict) else None
        if isinstance(names, dict) and isinstance(kind, str) and kind:
            given = {"singular": kind.lower(), "listKind": f"{kind}List"}
            missing = {field: name for field, name in given.items() if not names.get(field)}
            if missing:
                more["names"] = {**names, **missing}
        if spec.get("conversion") is None:
            more["conversion"] = {"strategy": "None"}
        return {**filled, "spec": {**spec, **more}} if more else filled

    def validate(self, manifest: JsonObject, old: JsonObject | None = None) -> Sequence[Problem]:
        """Return the fields that have the wrong type."""
        return self._types.validate(manifest, old)


def _types_of(schema: JsonObject) -> JsonObject:
    """A schema with types only: what is required and which words are allowed is told by the definition's own rules."""
    out = {key: value for key, value in schema.items() if key not in ("required", "enum", "description", "format")}
    if "properties" in out:
        out["properties"] = {name: _types_of(below) for name, below in out["properties"].items()}
    if "items" in out:
        out["items"] = _types_of(out["items"])
    return out


STRUCTURE: Final = DefinitionStructure()
