"""What all parts of a migration share: the report, the objects, secrets, config texts, names."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.durations import Duration
from kastra_core.migration import Draft, Node, Report, dns_name, env_name, is_secret_key
from kastra_core.protocols.migrator import SourceDocument
from kastra_core.serde import FieldError, type_word
from kastra_plugin_kagent.things import Thing, Things

__all__ = ["Context", "duration", "number", "plain_text", "shown_command", "text_to"]

_GENERIC = frozenset(
    {
        "agents",
        "config",
        "inputs",
        "k8s",
        "manifests",
        "models",
        "resources",
        "samples",
        "src",
        "testdata",
        "tests",
        "tools",
        "yaml",
    }
)
"""Directories whose names tell nothing about what is in them."""
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_OF_THE_CLUSTER = frozenset(
    {
        "creationTimestamp",
        "deletionTimestamp",
        "finalizers",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
_DATA = ("data", "stringData", "binaryData")
"""Where a Secret has its values."""
_INTEGER = re.compile(r"-?\d{1,18}")
_NUMBER = re.compile(r"-?\d{1,18}(\.\d+)?([eE][-+]?\d{1,2})?")
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}|\(.*\)|\{\{.*\}\}|<[^<>]*>", re.DOTALL)
_SHORTEST = 8
"""Characters: a shorter secret is a word of other texts too."""


def number(value: Any) -> Any:
    """A number or boolean that is written as text; all else as it is.

    >>> number("0.7"), number("1024"), number("high"), number("true")
    (0.7, 1024, 'high', True)
    """
    text = value.strip() if isinstance(value, str) else ""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return {"true": True, "false": False}.get(text, value)


def duration(value: Any) -> str | None:
    """A duration of Go as Kastra reads it; None for what is none, or no time at all.

    >>> duration("5m0s"), duration("30"), duration("0s"), duration("1us")
    ('5m0s', '30s', None, None)
    """
    text = f"{value}" if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        return None
    text = f"{text}s" if re.fullmatch(r"\d+(\.\d+)?", text) else text
    try:
        return text if Duration.read(text) > 0 else None
    except FieldError:
        return None


def text_to(node: Node, draft: Draft, path: str) -> None:
    """Put a text into a draft; a number or boolean as it is written."""
    if node:
        node.to(draft, path, node.text())
    else:
        node.dropped("null: as if it were not there")


def plain_text(text: str) -> bool:
    """Whether a text is a value, and not something that a script or a test puts a value in for.

    >>> plain_text("gpt-4"), plain_text("${MODEL}"), plain_text("($azure.url)")
    (True, False, False)
    """
    return bool(text) and not _PLACEHOLDER.search(text)


def shown_command(command: str, arguments: Sequence[Any]) -> str:
    """A command for people, without what its arguments keep secret.

    >>> shown_command("npx", ["-y", "server", "--api-key=abc", "--token", "def"])
    'npx -y server --api-key=*** --token ***'
    """
    out, hide = [command], False
    for item in arguments:
        text = str(item)
        flag, equals, _ = text.partition("=")
        if hide and not text.startswith("-"):
            out.append("***")
            hide = False
        elif equals and is_secret_key(flag.lstrip("-")):
            out.append(f"{flag}=***")
        else:
            out.append(text)
            hide = text.startswith("-") and is_secret_key(text.lstrip("-"))
    return " ".join(out)


@attrs.define(eq=False)
class Context:
    """A migration under way."""

    report: Report
    things: Things
    taken: dict[tuple[str, str, str], int] = attrs.field(factory=dict)
    """How many resources a name was given to."""
    used: set[int] = attrs.field(factory=set)
    """Ids of the objects of Kubernetes that something was taken from."""

    # ------------------------------------------------------------------------------------------------ drafts

    def draft(self, kind: str, thing: Thing, name: str = "", *, word: str = "") -> Draft:
        """Begin a resource for an object; of several with the same name the later ones are told apart by ``word``.

        Args:
            name: default: that of the object.
            word: default: the directory or file that the object stands in.
        """
        if not thing.name:
            told = thing.node["metadata"].first("generateName", "name")
            found = f", found {type_word(told.value)}" if told.present else ""
            (told if told.present else thing.node).problem(f"expected metadata.name, a string{found}")
        name, namespace = name or thing.name or thing.kind, self.namespace(thing)
        key = (kind, namespace, dns_name(name, kind))
        count = self.taken[key] = self.taken.get(key, 0) + 1
        scope = "" if count == 1 else word or _place(thing)
        if scope and (kind, scope, name) in self.taken:
            scope = f"{scope}-{count}"
        self.taken[kind, scope, name] = 1
        return self.report.draft(kind, name, scope=scope, namespace=namespace)

    def namespace(self, thing: Thing) -> str:
        """Where its resources belong; "" when it does not say."""
        return thing.namespace if _NAMESPACE.fullmatch(thing.namespace) else ""

    def reference(self, kind: str, draft: Draft, namespace: str) -> str:
        """How a resource of ``namespace`` names another one; kind "" for the usual one of the place."""
        if draft.namespace == namespace:
            return f"{kind}/{draft.name}" if kind else draft.name
        return f"{kind or draft.kind.lower() + 's'}/{draft.namespace or 'default'}/{draft.name}"

    def envelope(self, thing: Thing, draft: Draft | None, *, why: str = "", whole: bool = True) -> None:
        """Rows for all but the spec of an object.

        Args:
            draft: what it became; None: nothing.
            why: reason for those rows, when it became nothing.
            whole: it became this one resource, so labels and annotations go along and the kind counts.
        """
        node = thing.node
        node["apiVersion"].dropped("the version of the format")
        node["status"].dropped("what the cluster observed")
        meta = node["metadata"]
        for key, one in meta.fields():
            if key in _OF_THE_CLUSTER:
                one.dropped("bookkeeping of the cluster")
            elif draft is None:
                one.dropped(why)
            elif key in ("name", "generateName"):
                one.mapped(draft.target("metadata.name"))
            elif key == "namespace" and not self.namespace(thing):
                one.manual("no name of a namespace: apply with --namespace NAME", draft)
            elif key == "namespace":
                one.mapped(draft.target("metadata.namespace"))
            elif key in ("labels", "annotations") and whole:
                self._words(key, one, draft)
            elif key in ("labels", "annotations"):
                one.dropped("it is told of an object that has no resource of its own")
            else:
                one.dropped("Kastra's metadata has no such field")
        if draft is None:
            node["kind"].dropped(why)
        elif whole:
            node["kind"].mapped(draft)

    def _words(self, key: str, node: Node, draft: Draft) -> None:
        if not node.value:
            node.dropped("it is empty")
        for name, one in node.fields():
            text = one.value if isinstance(one.value, str) else str(one.value).lower()
            fits = _LABEL_KEY.fullmatch(name) and (key == "annotations" or _LABEL.fullmatch(text))
            if name.startswith("kubectl.kubernetes.io/"):
                one.dropped("bookkeeping of kubectl")
            elif fits:
                one.to(draft, ("metadata", key, name), text)
            else:
                one.dropped(f"no valid {key[:-1]}")

    # ------------------------------------------------------------------------------------------------ secrets, texts

    def secret(self, near: Thing, name: str, key: str) -> str:
        """The environment variable that stands for a key of a Secret."""
        found = self.things.find_core("Secret", name, near.namespace, near)
        variable = env_name(name, key) if key else env_name(name)
        if found is not None:
            self.used.add(id(found))
        return variable

    def told_secret(self, near: Thing, name: str, key: str, variable: str) -> str:
        """What somebody has to do about a secret; key "" where it is not said."""
        return f"put {self.shown_secret(near, name, key or 'the key')} into the environment variable {variable}"

    def shown_secret(self, near: Thing, name: str, key: str) -> str:
        """How reasons name a key of a Secret; one with blanks is a description."""
        where = f"Secret {near.namespace}/{name}" if near.namespace else f"Secret {name}"
        return f"{key if ' ' in key else repr(key)} of the {where}"

    def config_text(self, near: Thing, name: str, key: str) -> Node | None:
        """The node of a text in a ConfigMap of the migration, or of the files around it."""
        found = self.things.find_core("ConfigMap", name, near.namespace, near)
        node = found.node["data"][key] if found is not None else None
        if found is None or node is None or not node.present:
            return None
        self.used.add(id(found))
        return node

    def config_keys(self, near: Thing, name: str) -> Mapping[str, Node] | None:
        """All texts of a ConfigMap; None when it is not there."""
        found = self.things.find_core("ConfigMap", name, near.namespace, near)
        if found is None:
            return None
        self.used.add(id(found))
        return dict(found.node["data"].fields())

    def hide_headers(self, node: Node) -> None:
        """Secrets in the open among headers appear nowhere."""
        for item in node.items():
            value = item["value"]["value"] if item["value"].is_map else item["value"]
            if (
                item["name"].is_text
                and is_secret_key(item["name"].text())
                and value.is_text
                and plain_text(value.text())
            ):
                self.report.hide(value.text())

    def provider(self, name: str) -> JsonObject:
        """Settings of a provider in the project's configuration."""
        providers = self.report.config.setdefault("providers", {})
        return providers.setdefault(name, {})  # type: ignore[no-any-return]

    # ------------------------------------------------------------------------------------------------ the end

    def finish(self, why: Callable[[SourceDocument], str]) -> None:
        """Rows for the objects that no resource is made of; a refusal when nothing at all becomes one.

        Args:
            why: says of a document why it becomes nothing.
        """
        for thing in self.things.aside():
            self._aside(thing)
        for document in self.report.source.documents:
            root = self.report.read(document)
            test = root["objects"].is_list and not root["kind"].present
            for key, node in root.fields():
                if test and key != "objects":
                    node.dropped("it says what a test of kagent does with the objects")
                elif root["kind"].value == "List" and key in ("apiVersion", "kind", "metadata"):
                    node.dropped("a List is only a wrapping")
        if not self.report.drafts and not self.report.config and not self.report.problems:
            for document in self.report.source.documents:
                self.report.problem(document, f"nothing in it becomes a resource: {why(document)}")

    def aside(self, node: Node, why: str) -> None:
        """One row for a whole object that nothing is made of.

        A row needs a key, which an object that is a document of its own has not: each of its top keys gets the row.
        """
        for one in [node] if node.path else [*(below for _, below in node.fields()), *node.items()]:
            one.dropped(why)

    def _aside(self, thing: Thing) -> None:
        """Kubernetes' own objects, and those of other operators: one row for all that nothing was made of."""
        if not thing.kind:
            self.aside(thing.node, "no Kubernetes object")
            return
        used = id(thing) in self.used
        if thing.kind == "Secret" and not thing.group:
            for key in _DATA:
                self._hide_all(thing.node[key].value)
            told = "what refers to it says where to put them" if used else "keep it aside"
            self.aside(thing.node, f"Kubernetes object (Secret): its values were left out; {told}")
        elif used:
            self.aside(thing.node, f"Kubernetes object ({thing.kind}): Kastra keeps only what an agent uses of it")
        else:
            self.aside(thing.node, f"Kubernetes object ({thing.kind}): keep it aside, Kastra does not need it")

    def _hide_all(self, value: Any) -> None:
        for one in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]:
            if isinstance(one, (Mapping, list)):
                self._hide_all(one)
            else:
                self._hide(one)

    def _hide(self, value: Any) -> None:
        """A secret, as it is written and as it is meant, appears in nothing."""
        if not isinstance(value, str):
            return
        texts = [value]
        with contextlib.suppress(binascii.Error, UnicodeDecodeError, ValueError):
            texts.append(base64.b64decode(value, validate=True).decode("utf-8"))
        for text in texts:
            if len(text.strip()) >= _SHORTEST and re.search(r"[^a-z]", text.strip()) and plain_text(text):
                self.report.hide(text.strip())


def _place(thing: Thing) -> str:
    """A word that tells where an object stands."""
    folders = [part for part in thing.document.file.split("/")[:-1] if part not in ("", ".", "..")]
    telling = [part for part in folders if part.lower() not in _GENERIC]
    stem = thing.document.file.rpartition("/")[2].partition(".")[0]
    return telling[-1] if telling and not thing.scope[-1].startswith("#") else stem
