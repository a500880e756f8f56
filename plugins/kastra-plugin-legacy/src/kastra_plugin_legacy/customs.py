"""Definitions of kinds, and resources of those kinds."""

from __future__ import annotations

import copy
import re
from typing import Any

from kastra_core.migration import Draft, Node, env_name, env_reference, is_secret_key
from kastra_plugin_legacy.book import Book
from kastra_plugin_legacy.items import Item
from kastra_plugin_legacy.structural import structural

__all__ = ["BUILT_IN", "definition_of", "migrate_custom", "migrate_definition"]

BUILT_IN = ("Agent", "Event", "Network", "RetentionPolicy", "Run", "System", "Tool", "Workflow")
"""Kinds of mastra.ai that need no definition."""


def migrate_definition(item: Item, draft: Draft) -> None:
    """Fill the draft of a CustomResourceDefinition."""
    spec = item.spec
    names, group = spec["names"], spec["group"]
    for node, what in ((group, "a group"), (names["kind"], "the kind's name")):
        if not node.text():
            node.problem(f"expected {what}, found none")
    kind = names["kind"].text()
    if not names["plural"] and kind:
        draft.set("spec.names.plural", f"{kind.lower()}s")
        names["plural"].defaulted("the source says no plural", draft.target("spec.names.plural"))
    for key, node in spec.fields():
        if key == "validation" and node.is_map:
            _schema(node["openAPIV3Schema"], draft, ("spec", "validation", "openAPIV3Schema"))
        elif key == "versions" and node.is_list:
            _versions(node, draft)
        elif key == "names" and node.is_map:
            for word, part in node.fields():
                part.to(draft, f"spec.names.{word}")
        elif node:
            node.to(draft, f"spec.{key}")


def _versions(node: Node, draft: Draft) -> None:
    for at, version in enumerate(node.items()):
        for key, part in version.fields():
            if key == "schema" and part.is_map:
                _schema(part["openAPIV3Schema"], draft, ("spec", "versions", at, "schema", "openAPIV3Schema"))
            else:
                part.to(draft, ("spec", "versions", at, key))


def _schema(node: Node, draft: Draft, path: tuple[str | int, ...]) -> None:
    if not node:
        return
    value, lost = structural(node.value)
    for inner, reason in lost:
        part = node
        for step in inner:
            part = part[step]
        part.manual(reason, draft)
    node.to(draft, path, value, whole=True)


def definition_of(book: Book, item: Item) -> Item | None:
    """The definition of an item's kind among what is migrated."""
    group = item.api_version.rpartition("/")[0]
    found = [
        one
        for one in book.items
        if one.kind == "CustomResourceDefinition" and one.twin is None and one.spec["names"]["kind"].value == item.kind
    ]
    exact = [one for one in found if one.spec["group"].value == group]
    plain = re.fullmatch(r"mastra(\.ai)?|", group) is not None
    return exact[0] if exact else found[0] if found and plain else None


def migrate_custom(book: Book, item: Item, draft: Draft) -> None:
    """Fill the draft of a resource whose kind somebody defines."""
    definition = definition_of(book, item)
    node = item.node
    if definition is None:
        node["kind"].problem(
            f"nobody defines the kind {item.kind!r}",
            "migrate it together with its CustomResourceDefinition"
            if item.kind not in BUILT_IN
            else "it is made by Kastra itself",
        )
        return
    version = _version_of(definition)
    wanted = f"{definition.spec['group'].text()}/{version}"
    given = node["apiVersion"].text()
    draft.manifest["apiVersion"] = given if given.rpartition("/")[0] == wanted.rpartition("/")[0] and given else wanted
    for key, part in node.fields():
        if key == "spec":
            if part.is_map:
                for name, inner in part.fields():
                    draft.set(("spec", name), _copy(book, inner, draft, ("spec", name)))
            elif part:
                part.to(draft, "spec")
        elif key not in ("apiVersion", "kind", "metadata", "status") and not (key == "when" and item.inline):
            part.to(draft, key)


def _version_of(definition: Item) -> str:
    versions = definition.spec["versions"].items()
    stored = [one for one in versions if one["storage"].value is True] or versions
    return (stored[0]["name"].text() if stored else definition.spec["version"].text()) or "v1"


def _copy(book: Book, node: Node, draft: Draft, path: tuple[str | int, ...]) -> Any:
    """The value with a reference to the environment in place of each secret in the open; rows for all of it."""
    if node.is_map and node.value:
        return {key: _copy(book, part, draft, (*path, key)) for key, part in node.fields()}
    if node.is_list and any(isinstance(one, dict) for one in node.value):
        return [_copy(book, part, draft, (*path, at)) for at, part in enumerate(node.items())]
    key = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    text = node.value
    target = draft.target(".".join(str(part) for part in path))
    if isinstance(text, str) and text and is_secret_key(key) and not env_reference(text):
        env = env_name(draft.name, key)
        book.report.hide(text)
        told = f"a secret in the open was left out: put it into the environment variable {env}; who reads this resource"
        node.manual(f"{told} has to look it up there", target)
        return f"${{env.{env}}}"
    node.mapped(target)
    return copy.deepcopy(text)
