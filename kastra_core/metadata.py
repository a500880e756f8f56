"""The metadata of a manifest: names, labels, owners; what is wrong with them."""

from __future__ import annotations

import re
from typing import Any

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import ObjectMeta, OwnerReference
from kastra_core.errors import Problem, nearest

__all__ = [
    "DNS_LABEL",
    "DNS_NAME",
    "LABEL_WORD",
    "MOST_PROBLEMS",
    "SET_BY_KASTRA",
    "SET_BY_USERS",
    "found_word",
    "is_name",
    "label_problems",
    "read_metadata",
]

DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
"""What a part of a name looks like, as a regular expression; RFC 1123."""
DNS_NAME = rf"{DNS_LABEL}(\.{DNS_LABEL})*"
LABEL_WORD = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
"""What the value of a label looks like, and the last part of its key."""
SET_BY_USERS = ("annotations", "finalizers", "labels", "name", "namespace", "ownerReferences")
SET_BY_KASTRA = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""Passed over in a manifest, so that what was exported can be applied."""

_NAME, _LABEL_NAME = re.compile(DNS_NAME), re.compile(LABEL_WORD)
_KNOWN = {*SET_BY_USERS, *SET_BY_KASTRA}
_OWNER = ("apiVersion", "kind", "name", "uid")
MOST_PROBLEMS = 100
"""Of one manifest; further ones are counted."""


def is_name(text: str) -> bool:
    """Whether a resource may bear this name."""
    return len(text) <= 253 and _NAME.fullmatch(text) is not None


def read_metadata(
    data: Any, kind: ResourceKind, namespace: str, notes: list[str], dropped: list[Problem] | None = None
) -> tuple[ObjectMeta | None, list[Problem]]:
    """Return the metadata of a manifest, or None and all that is wrong with it.

    Args:
        data: ``metadata`` as it was written.
        kind: the manifest's.
        namespace: for a namespaced kind whose manifest names none.
        notes: takes what the user should know.
        dropped: takes what is superfluous, for kinds that pass over it; None: that is wrong, too.
    """
    if not isinstance(data, dict):
        told = f"expected an object with a name, found {found_word(data)}"
        return None, [Problem(told, "metadata", reason="FieldValueRequired")]
    problems: list[Problem] = []
    superfluous = problems if dropped is None else dropped
    name = data.get("name")
    if not isinstance(name, str) or not name:
        hint = "apply needs to know which one is meant" if data.get("generateName") else ""
        told = f"expected a name, found {found_word(name)}"
        problems.append(Problem(told, "metadata.name", hint=hint, reason="FieldValueRequired"))
    elif not is_name(name):
        hint = "use lower case letters, digits, '-' and '.', at most 253, begin and end with a letter or digit"
        told = f"{name[:60]!r} is no valid name"
        problems.append(Problem(told, "metadata.name", hint=hint, reason="FieldValueInvalid"))
    space = data.get("namespace")
    if space is not None and not isinstance(space, str):
        problems.append(Problem(f"expected a string, found {found_word(space)}", "metadata.namespace"))
    elif space and (len(space) > 63 or "." in space or not _NAME.fullmatch(space)):
        hint = "use lower case letters, digits and '-', at most 63, begin and end with a letter or digit"
        problems.append(Problem(f"{space[:70]!r} is no valid namespace", "metadata.namespace", hint=hint))
    elif space and not kind.namespaced:
        superfluous.append(Problem(f"{kind.kind} is cluster-scoped and has no namespace", "metadata.namespace"))
    for unknown in sorted(data.keys() - _KNOWN, key=str)[:MOST_PROBLEMS]:
        near = nearest(str(unknown), SET_BY_USERS)
        hint = f"did you mean {near!r}?" if near else f"known fields: {', '.join(SET_BY_USERS)}"
        superfluous.append(Problem(f"unknown field {unknown!r}", f"metadata.{unknown}", hint=hint))
    ignored = sorted(data.keys() & set(SET_BY_KASTRA))
    if ignored:
        notes.append(f"metadata.{', metadata.'.join(ignored)} ignored: Kastra sets it")
    labels, annotations = data.get("labels"), data.get("annotations")
    if labels is not None:
        problems.extend(label_problems(labels))
    if annotations is not None:
        problems.extend(_text_problems(annotations, "metadata.annotations"))
    owners = _owners(data.get("ownerReferences"), problems)
    finalizers = data.get("finalizers")
    if finalizers is not None and not (
        isinstance(finalizers, list) and all(isinstance(f, str) and f for f in finalizers)
    ):
        problems.append(Problem("expected a list of names", "metadata.finalizers"))
    if problems:
        return None, problems
    return (
        ObjectMeta(
            name=name,  # type: ignore[arg-type]
            namespace=(space or namespace) if kind.namespaced else "",
            labels=dict(labels) if labels else {},
            annotations=dict(annotations) if annotations else {},
            finalizers=tuple(dict.fromkeys(finalizers)) if finalizers else (),
            owner_references=owners,
        ),
        problems,
    )


def found_word(value: Any) -> str:
    """What a reader calls a value that was found: ``integer 5``, ``nothing``."""
    from kastra_core.serde import type_word

    return "nothing" if value is None else type_word(value)


def label_problems(labels: Any) -> list[Problem]:
    """What is wrong with labels, wherever they come from; paths are those of a manifest."""
    problems = _text_problems(labels, "metadata.labels")
    if problems:
        return problems
    for key, value in labels.items():
        prefix, slash, name = key.rpartition("/")
        if (
            len(name) > 63
            or not _LABEL_NAME.fullmatch(name)
            or (slash and (len(prefix) > 253 or not _NAME.fullmatch(prefix)))
        ):
            told = f"{key!r} is no valid label name"
            problems.append(Problem(told, f"metadata.labels.{key}", reason="FieldValueInvalid"))
        if len(value) > 63 or (value and not _LABEL_NAME.fullmatch(value)):
            hint = "at most 63 letters, digits, '-', '_' and '.', begin and end with a letter or digit"
            told = f"{value[:70]!r} is no valid label value"
            problems.append(Problem(told, f"metadata.labels.{key}", hint=hint, reason="FieldValueInvalid"))
    return problems


def _text_problems(value: Any, path: str) -> list[Problem]:
    if not isinstance(value, dict):
        return [Problem(f"expected an object, found {found_word(value)}", path)]
    return [
        Problem(f"expected a string, found {found_word(item)}", f"{path}.{key}", hint="put it in quotes")
        for key, item in value.items()
        if not isinstance(item, str)
    ]


def _owners(value: Any, problems: list[Problem]) -> tuple[OwnerReference, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.append(Problem(f"expected a list, found {found_word(value)}", "metadata.ownerReferences"))
        return ()
    out = []
    for index, item in enumerate(value):
        path = f"metadata.ownerReferences[{index}]"
        wrong = [f for f in _OWNER if not isinstance(item, dict) or not isinstance(item.get(f), str) or not item[f]]
        if wrong:
            problems.append(Problem(f"required texts: {', '.join(wrong)}", path))
        elif not all(isinstance(item.get(flag, False), bool) for flag in ("controller", "blockOwnerDeletion")):
            problems.append(Problem("controller and blockOwnerDeletion are true or false", path))
        else:
            out.append(OwnerReference.from_manifest(item))
    return tuple(out)
