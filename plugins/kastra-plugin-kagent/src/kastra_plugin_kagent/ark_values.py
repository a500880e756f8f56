"""Values of ARK's manifests: written there, or a key of a ConfigMap, a Secret, or the address of a Service."""

from __future__ import annotations

import re

import attrs

from kastra_core.migration import Node
from kastra_plugin_kagent.context import Context
from kastra_plugin_kagent.things import Thing

__all__ = ["SOURCES", "Parameter", "Value", "parameters_of", "value_of"]

SOURCES = ("configMapKeyRef", "secretKeyRef", "serviceRef", "queryParameterRef")


@attrs.frozen
class Value:
    """What a value is, and where it says so."""

    text: str | None = None
    """None: it is a secret, or not to be found."""
    nodes: tuple[Node, ...] = ()
    """The keys that say it."""
    env: str = ""
    """Environment variable that stands for a secret."""
    told: str = ""
    """What somebody has to do about it: a secret, or what is not here; of a Service what to look at."""

    def manual(self, target: str = "", told: str = "") -> None:
        """Say what somebody has to do."""
        for node in self.nodes:
            node.manual(told or self.told, target)

    def dropped(self, reason: str) -> None:
        for node in self.nodes:
            node.dropped(reason)


@attrs.frozen
class Parameter:
    """A parameter of a prompt."""

    name: str
    node: Node
    value: Value


def value_of(ctx: Context, near: Thing, node: Node, *, needed: bool = True) -> Value:
    """Read ``{value}`` or ``{valueFrom}``; a plain text counts as a value.

    Args:
        near: the object that says it.
        needed: neither of the two is a problem.
    """
    if node and not node.is_map:
        return Value(node.text(), (node,))
    source = node["valueFrom"]
    given = [source[key] for key in SOURCES if source[key].is_map]
    if node["value"] and source:
        node.problem("expected one of value and valueFrom, found both", "remove one of the two")
    elif len(given) > 1:
        source.problem(f"expected one source, found {len(given)}", "a value comes from one place")
    elif node["value"]:
        return Value(node["value"].text(), (node["value"],))
    elif not given and needed:
        node.problem("expected value or valueFrom", "write value: TEXT")
    elif given:
        return _from(ctx, near, given[0])
    return Value()


def _from(ctx: Context, near: Thing, ref: Node) -> Value:
    name, key = ref["name"].text(), ref["key"].text()
    nodes = tuple(ref[part] for part in ("name", "key") if ref[part].present)
    ref["optional"].dropped("what is missing is told here")
    if ref.name == "configMapKeyRef":
        found = ctx.config_text(near, name, key)
        if found is None or not isinstance(found.value, (str, int, float)):
            return Value(None, nodes, told=f"there is no ConfigMap {name} with the key {key!r} here: write its text in")
        return Value(found.text(), (*nodes, found))
    if ref.name == "secretKeyRef":
        variable = ctx.secret(near, name, key)
        return Value(None, nodes, variable, ctx.told_secret(near, name, key, variable))
    if ref.name == "serviceRef":
        return _service(ctx, near, ref)
    return Value(
        None, tuple(node for _, node in ref.fields()), told="it comes with each query: hand it over in the input"
    )


def _service(ctx: Context, near: Thing, ref: Node) -> Value:
    """The address of a Service within the cluster."""
    name, namespace = ref["name"].text(), ref["namespace"].text() or near.namespace
    port = ref["port"].text()
    thing = ctx.things.find_core("Service", name, namespace, near)
    if thing is not None:
        ctx.used.add(id(thing))
        ports = thing.node["spec"]["ports"].items()
        fit = [one for one in ports if port in ("", one["name"].value)] or ports[:1]
        port = str(fit[0]["port"].value) if fit and not port.isdigit() else port
    host = f"{name}.{namespace}.svc.cluster.local" if namespace else name
    number = f":{port}" if port.isdigit() and port != "80" else ""
    path = ref["path"].text().lstrip("/")
    nodes = tuple(node for _, node in ref.fields())
    told = "an address within the cluster: see that it can be reached, or write another one"
    return Value(f"http://{host}{number}/{path}", nodes, told=told)


def parameters_of(ctx: Context, near: Thing, node: Node) -> list[Parameter]:
    """Parameters of a prompt, an input or a body."""
    out: list[Parameter] = []
    for item in node.items():
        name = item["name"].text()
        if not re.fullmatch(r"\S(.*\S)?", name):
            item.problem("expected name, found none", "a parameter needs a name that the text can use")
            continue
        value = value_of(ctx, near, item)
        item["description"].dropped("for people")
        out.append(Parameter(name, item, value))
    if node.present and not node.value:
        node.dropped("there are none")
    return out
