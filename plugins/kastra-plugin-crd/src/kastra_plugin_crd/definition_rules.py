"""What makes a definition right: names, groups, versions, columns, subresources, and what may change.

Source: the behaviour of kube-apiserver 1.36. The schemas themselves are the matter of ``structural_rules``.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from kastra_core.api.meta import JsonObject, Resource, condition_of
from kastra_core.errors import Problem
from kastra_plugin_crd.rule_paths import FieldPathError, field_path
from kastra_plugin_crd.schema import Structural, read_schema, size_problem
from kastra_plugin_crd.structural_rules import root_problems, structural_problems

__all__ = ["APPROVAL", "COLUMN_TYPES", "MAX_SELECTABLE_FIELDS", "definition_problems", "update_problems"]

APPROVAL: Final = "api-approved.kubernetes.io"
"""The annotation without which nobody defines a kind in a group of Kubernetes."""
COLUMN_TYPES: Final = ("integer", "number", "string", "boolean", "date")
MAX_SELECTABLE_FIELDS: Final = 8
_COLUMN_FORMATS: Final = ("int32", "int64", "float", "double", "byte", "date", "date-time", "password")
_MAX_PROBLEMS: Final = 100
_MAX_WARNING_BYTES: Final = 256
_LABEL: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_GROUP: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_RULE: Final = (
    "must be a DNS label: lower-case letters, digits and '-', beginning with a letter and not ending with '-', "
    "at most 63 characters"
)

_REQUIRED: Final = "FieldValueRequired"
_INVALID: Final = "FieldValueInvalid"
_FORBIDDEN: Final = "FieldValueForbidden"
_UNSUPPORTED: Final = "FieldValueNotSupported"


def definition_problems(resource: Resource) -> list[Problem]:
    """Return what is wrong with a definition whose fields have the right types, at most about 100 problems."""
    spec = resource.spec
    too_large = size_problem(spec, "spec")
    if too_large is not None:
        return [too_large]
    check = _Check()
    check.group(resource)
    check.names(resource)
    check.scope(spec)
    if spec.get("preserveUnknownFields"):
        check.bad(
            "cannot be true",
            "spec.preserveUnknownFields",
            _INVALID,
            "set x-kubernetes-preserve-unknown-fields: true in the schemas, where it is wanted",
        )
    check.versions(spec.get("versions") or [])
    check.conversion(spec.get("conversion"))
    problems = check.problems
    if len(problems) > _MAX_PROBLEMS:
        problems[_MAX_PROBLEMS:] = [Problem(f"and {len(problems) - _MAX_PROBLEMS} more problems", "spec")]
    return problems


def update_problems(new: Resource, old: Resource) -> list[Problem]:
    """Return what may not become of a stored definition."""
    check = _Check()
    fixed: list[tuple[str, str]] = [("group", ""), ("names", "plural")]
    established = condition_of(old, "Established")
    if established is not None and established.get("status") == "True":
        fixed += [("scope", ""), ("names", "kind")]
    for field, below in fixed:
        before, after = old.spec.get(field), new.spec.get(field)
        if below:
            before, after = (before or {}).get(below), (after or {}).get(below)
        if before != after:
            check.bad(
                f"cannot be changed from {before!r} to {after!r}: objects are stored under it",
                f"spec.{field}.{below}" if below else f"spec.{field}",
                _INVALID,
                "delete the definition with its objects, or define another kind",
            )
    versions = {version.get("name") for version in new.spec.get("versions") or ()}
    for index, stored in enumerate(old.status.get("storedVersions") or ()):
        if stored not in versions:
            check.bad(
                f"version {stored!r} is missing in spec.versions, but objects may be stored in it",
                f"status.storedVersions[{index}]",
                _INVALID,
                f"keep {stored!r} with served: false",
            )
    return check.problems


def _is_label(text: Any) -> bool:
    return isinstance(text, str) and len(text) <= 63 and _LABEL.fullmatch(text) is not None


class _Check:
    """The problems of one definition."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def bad(self, message: str, path: str, reason: str, hint: str = "") -> None:
        self.problems.append(Problem(message, path, hint=hint, reason=reason))

    # --------------------------------------------------------------------------------------- group, names, scope

    def group(self, resource: Resource) -> None:
        group = resource.spec.get("group") or ""
        if not group:
            self.bad("is required: the group of the kind, such as 'data.example.com'", "spec.group", _REQUIRED)
        elif len(group) > 253 or not _GROUP.fullmatch(group):
            self.bad(
                f"{group[:80]!r} is no DNS name: lower-case letters, digits, '-' and '.', at most 253 characters",
                "spec.group",
                _INVALID,
            )
        elif "." not in group:
            self.bad(f"{group!r} must be a domain with a dot, such as '{group}.example.com'", "spec.group", _INVALID)
        if group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io")):
            self._approval(resource.metadata.annotations.get(APPROVAL, ""), group)

    def _approval(self, annotation: str, group: str) -> None:
        where = f"metadata.annotations.{APPROVAL}"
        hint = "a group of your own needs no approval"
        if not annotation:
            self.bad(f"is required: {group} is a group of the Kubernetes community", where, _REQUIRED, hint)
        elif not annotation.startswith("unapproved") and not _is_url(annotation):
            self.bad(
                f"must be the URL of the approval, or begin with 'unapproved'; found {annotation[:80]!r}",
                where,
                _INVALID,
                hint,
            )

    def names(self, resource: Resource) -> None:
        names: JsonObject = resource.spec.get("names") or {}
        plural, group = names.get("plural") or "", resource.spec.get("group") or ""
        if resource.metadata.name != f"{plural}.{group}":
            self.bad(
                f"must be spec.names.plural, a dot and spec.group: {f'{plural}.{group}'!r}; "
                f"found {resource.metadata.name!r}",
                "metadata.name",
                _INVALID,
            )
        kind = names.get("kind") or ""
        for field in ("plural", "kind"):
            if not names.get(field):
                self.bad("is required", f"spec.names.{field}", _REQUIRED)
        if plural:
            self._label(plural, "spec.names.plural")
        self._mixed(kind, "spec.names.kind")
        singular = names.get("singular") or ""
        # A kind that is no name gives no singular, and is told at kind.
        if (singular and singular != kind.lower()) or (singular and kind and not _is_label(singular)):
            self._label(singular, "spec.names.singular")
        list_kind = names.get("listKind") or ""
        self._mixed(list_kind, "spec.names.listKind")
        if kind and kind == list_kind:
            self.bad("must differ from spec.names.kind", "spec.names.listKind", _INVALID)
        for field in ("shortNames", "categories"):
            for index, name in enumerate(names.get(field) or ()):
                self._label(name, f"spec.names.{field}[{index}]")

    def _label(self, text: str, path: str) -> None:
        if not _is_label(text):
            self.bad(f"{text[:80]!r} {_LABEL_RULE}", path, _INVALID)

    def _mixed(self, text: str, path: str) -> None:
        if text and not _is_label(text.lower()):
            self.bad(f"{text[:80]!r} {_LABEL_RULE} (upper-case letters are allowed here)", path, _INVALID)

    def scope(self, spec: JsonObject) -> None:
        scope = spec.get("scope") or ""
        if not scope:
            self.bad("is required: Namespaced or Cluster", "spec.scope", _REQUIRED)
        elif scope not in ("Cluster", "Namespaced"):
            near = next((word for word in ("Cluster", "Namespaced") if word.lower() == scope.lower()), "")
            self.bad(
                f"expected one of Cluster, Namespaced, found {scope[:80]!r}",
                "spec.scope",
                _UNSUPPORTED,
                f"did you mean {near!r}?" if near else "",
            )

    # ------------------------------------------------------------------------------------------------- versions

    def versions(self, versions: list[JsonObject]) -> None:
        names = [version.get("name") or "" for version in versions]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            self.bad(f"names must differ, found {', '.join(map(repr, twice))} twice", "spec.versions", _INVALID)
        stored = [name for name, version in zip(names, versions, strict=True) if version.get("storage")]
        if len(stored) != 1:
            found = f"found {', '.join(map(repr, stored))}" if stored else "found none"
            self.bad(f"exactly one version must have storage: true, {found}", "spec.versions", _INVALID)
        for index, version in enumerate(versions):
            if len(self.problems) > _MAX_PROBLEMS:
                return
            self._version(version, f"spec.versions[{index}]")

    def _version(self, version: JsonObject, path: str) -> None:
        if not _is_label(version.get("name") or ""):
            self.bad(f"{(version.get('name') or '')[:80]!r} {_LABEL_RULE}", f"{path}.name", _INVALID)
        self._deprecation(version, f"{path}.deprecationWarning")
        subresources = version.get("subresources") or {}
        structural = self._schema(version, f"{path}.schema.openAPIV3Schema", subresources.get("status") is not None)
        if subresources.get("scale") is not None:
            self._scale(subresources["scale"], f"{path}.subresources.scale")
        for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
            self._column(column, f"{path}.additionalPrinterColumns[{index}]")
        if version.get("selectableFields"):
            self._selectable(version["selectableFields"], structural, f"{path}.selectableFields")

    def _schema(self, version: JsonObject, path: str, has_status: bool) -> Structural | None:
        """The schema of a version, None when nothing more can be said of it."""
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            self.bad(
                "is required: the schema of the kind's objects",
                path,
                _REQUIRED,
                "for any objects: {type: object, x-kubernetes-preserve-unknown-fields: true}",
            )
            return None
        structural, problems = read_schema(schema, path)
        if problems:
            self.problems += problems
            return None
        if has_status:
            self.problems += root_problems(structural, path)
        self.problems += structural_problems(structural, path)
        return structural

    def _deprecation(self, version: JsonObject, path: str) -> None:
        warning = version.get("deprecationWarning")
        if warning is None:
            return
        if not version.get("deprecated"):
            self.bad("may only be set with deprecated: true", path, _INVALID)
            return
        if len(warning.encode()) > _MAX_WARNING_BYTES:
            self.bad(f"has more than {_MAX_WARNING_BYTES} bytes", path, _INVALID)
        if not warning:
            self.bad("must not be empty", path, _INVALID)
        if not warning.isprintable():
            self.bad("must have only printable characters", path, _INVALID)

    def _scale(self, scale: JsonObject, path: str) -> None:
        for field, roots, required in (
            ("specReplicasPath", (".spec.",), True),
            ("statusReplicasPath", (".status.",), True),
            ("labelSelectorPath", (".spec.", ".status."), False),
        ):
            given = scale.get(field) or ""
            example = " or ".join(f"{root}x" for root in roots)
            if given:
                if not given.startswith(roots):
                    self.bad(f"must be a path like {example}, found {given[:80]!r}", f"{path}.{field}", _INVALID)
            elif required:
                self.bad(f"is required: a path like {example}", f"{path}.{field}", _REQUIRED)

    def _column(self, column: JsonObject, path: str) -> None:
        if not column.get("name"):
            self.bad("is required: the heading", f"{path}.name", _REQUIRED)
        for field, allowed in (("type", COLUMN_TYPES), ("format", _COLUMN_FORMATS)):
            given = column.get(field) or ""
            if given and given not in allowed:
                words = ", ".join(allowed)
                self.bad(f"expected one of {words}, found {given[:80]!r}", f"{path}.{field}", _INVALID)
            elif not given and field == "type":
                self.bad(f"is required: one of {', '.join(allowed)}", f"{path}.{field}", _REQUIRED)
        json_path = column.get("jsonPath") or ""
        if not json_path:
            self.bad("is required: a path like .spec.name", f"{path}.jsonPath", _REQUIRED)
        elif not json_path.startswith("."):
            self.bad(f"must begin with '.', found {json_path[:80]!r}", f"{path}.jsonPath", _INVALID)

    def _selectable(self, fields: list[JsonObject], structural: Structural | None, path: str) -> None:
        if structural is None:
            return  # what is wrong with the schema was told
        seen: set[str] = set()
        for index, field in enumerate(fields):
            given, where = field.get("jsonPath") or "", f"{path}[{index}].jsonPath"
            if not given:
                self.bad("is required: a path like .spec.name", where, _REQUIRED)
                continue
            try:
                found, schema = field_path(given, structural, brackets=False)
            except FieldPathError as err:
                self.bad(f"{given[:80]!r}: {err}", where, _INVALID)
                continue
            if found == ".metadata" or found.startswith(".metadata."):
                self.bad("must not lead into metadata", where, _INVALID)
            if schema.type not in ("string", "boolean", "integer"):
                self.bad(
                    f"must lead to a string, boolean or integer; {given[:80]} is {schema.type or 'of any type'}",
                    where,
                    _INVALID,
                )
            if found in seen:
                self.bad(f"{given[:80]!r} is there twice", where, "FieldValueDuplicate")
            seen.add(found)
        if len(seen) > MAX_SELECTABLE_FIELDS:
            self.bad(f"has {len(seen)} fields, at most {MAX_SELECTABLE_FIELDS} are allowed", path, "FieldValueTooMany")

    # ----------------------------------------------------------------------------------------------- conversion

    def conversion(self, conversion: JsonObject | None) -> None:
        if conversion is None:
            return
        strategy = conversion.get("strategy") or ""
        if strategy == "Webhook":
            self.bad(
                "conversion by webhook is not supported: nothing is called to convert objects",
                "spec.conversion.strategy",
                _UNSUPPORTED,
                "use strategy None: versions then differ in their schemas only, and fields keep their names",
            )
            return
        if not strategy:
            self.bad("is required: None", "spec.conversion.strategy", _REQUIRED)
        elif strategy != "None":
            self.bad(f"expected None, found {strategy[:80]!r}", "spec.conversion.strategy", _UNSUPPORTED)
        webhook = conversion.get("webhook") or {}
        for field in ("clientConfig", "conversionReviewVersions"):
            if webhook.get(field):
                self.bad("may only be set with strategy Webhook", f"spec.conversion.webhook.{field}", _FORBIDDEN)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc) and text.isprintable() and " " not in text
