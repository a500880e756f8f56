"""``metadata``, ``apiVersion``, ``kind`` and ``status`` of a legacy resource."""

from __future__ import annotations

import json
import re
from typing import Any

from kastra_core.metadata import LABEL_WORD, SET_BY_KASTRA, is_name
from kastra_core.migration import Draft, Node
from kastra_plugin_legacy.items import API_VERSIONS, Item

__all__ = ["migrate_frame", "migrate_metadata", "valid_namespace"]

_LABEL = re.compile(rf"({LABEL_WORD})?")
_LABEL_KEY = re.compile(rf"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{LABEL_WORD}")
_LONGEST_LABEL = 63


def migrate_frame(item: Item, draft: Draft) -> None:
    """Give rows to all of a resource but its spec, and put its metadata into the draft."""
    node = item.node
    if item.metadata is None:
        return
    version = node["apiVersion"]
    if version:
        if version.text() != draft.manifest["apiVersion"] and not API_VERSIONS.fullmatch(version.text()):
            version.problem(
                f"expected mastra/v1, mastra.ai/v1alpha1 or mastra.ai/v1, found {version.text()!r}",
                "a kind of another group needs a CustomResourceDefinition among the files",
            )
        else:
            changed = version.text() != draft.manifest["apiVersion"]
            version.to(
                draft, "apiVersion", draft.manifest["apiVersion"], reason="the version of today" if changed else ""
            )
    else:
        version.defaulted("the source names no version", draft)
    node["kind"].mapped(draft.target("kind"))
    status = node["status"]
    if status.present:
        status.dropped("a status is written by Kastra")
    migrate_metadata(item, draft)


def migrate_metadata(item: Item, draft: Draft) -> None:
    """Put name, namespace, labels, annotations, owners and finalizers into the draft."""
    metadata = item.metadata
    if metadata is None:
        return
    name = metadata["name"]
    if name:
        reason = "" if name.value == draft.name else "no valid name, or one that is taken"
        if reason and draft.kind == "CustomResourceDefinition":
            reason = "a definition is named by its plural and its group"
        name.mapped(draft.target("metadata.name"), reason)
    elif item.name_node is None:
        name.defaulted("the source gives it no name", draft)
    space = metadata["namespace"]
    if space and not draft.namespace:
        space.dropped(f"a {draft.kind} belongs to no namespace")
    elif space:
        reason = "" if space.value == draft.namespace else "no valid name of a namespace"
        space.mapped(draft.target("metadata.namespace"), reason)
    elif space.present:
        space.dropped("null: the namespace of the project")
    for key, node in metadata.fields():
        if key == "labels":
            _labels(node, draft)
        elif key == "annotations":
            _annotations(node, draft)
        elif key in ("finalizers", "ownerReferences") and node.is_list:
            _list(node, key, draft)
        elif key in SET_BY_KASTRA:
            node.dropped("written by Kastra's store")
        elif key not in ("name", "namespace") and node:
            _annotate(node, key, draft, "Kastra's metadata has no such field: kept as an annotation")


def _labels(node: Node, draft: Draft) -> None:
    if not node.is_map:
        node.problem("expected an object of texts")
        return
    for key, label in node.fields():
        value = label.text() if not isinstance(label.value, (dict, list)) else None
        if value is None or len(value) > _LONGEST_LABEL or not _LABEL.fullmatch(value) or not _LABEL_KEY.fullmatch(key):
            _annotate(label, key, draft, "no valid label: kept as an annotation")
        else:
            label.to(draft, ("metadata", "labels", key), value)


def _annotations(node: Node, draft: Draft) -> None:
    if not node.is_map:
        node.problem("expected an object of texts")
        return
    for key, annotation in node.fields():
        _annotate(annotation, key, draft, "")


def _annotate(node: Node, key: str, draft: Draft, reason: str) -> None:
    value: Any = node.value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    node.to(
        draft, ("metadata", "annotations", key), text, reason=reason if value is text or reason else "kept as JSON text"
    )


def _list(node: Node, key: str, draft: Draft) -> None:
    value: list[Any] = list(node.value)
    if key == "finalizers" and all(isinstance(one, str) and one for one in value):
        node.to(draft, "metadata.finalizers")
    elif key == "ownerReferences" and all(_is_owner(one) for one in value):
        owners = [{**one, "apiVersion": re.sub(r"^mastra/", "mastra.ai/", one["apiVersion"])} for one in value]
        node.to(draft, "metadata.ownerReferences", owners)
    else:
        node.dropped("not in the form that Kastra knows")


def _is_owner(value: Any) -> bool:
    fields = ("apiVersion", "kind", "name", "uid")
    return isinstance(value, dict) and all(isinstance(value.get(field), str) and value[field] for field in fields)


def valid_namespace(text: str) -> bool:
    """Whether a namespace may bear this name."""
    return is_name(text) and "." not in text and len(text) <= _LONGEST_LABEL
