"""Pods and containers: what of them matters here, and agents that are an image of their own."""

from __future__ import annotations

from collections.abc import Mapping

from kastra_core.migration import Draft, Node, dns_name, env_reference, is_secret_key
from kastra_plugin_kagent.context import Context, plain_text, text_to
from kastra_plugin_kagent.things import Thing
from kastra_plugin_kagent.tools import a2a_tool

__all__ = ["env_rows", "migrate_container", "pod_rows"]

_POD_PORTS = {"v1alpha3": ""}
"""Version of kagent -> port of a container's A2A endpoint, where it is not 8080."""


def migrate_container(ctx: Context, thing: Thing, draft: Draft, spec: Node, dropped: Mapping[str, str]) -> None:
    """An image of one's own: a Tool that talks to it.

    Args:
        dropped: reasons for fields of an agent that nothing is made of.
    """
    byo = spec["byo"]
    if not byo.is_map:
        spec.problem("expected byo, an object, for type BYO")
        return
    port = _POD_PORTS.get(thing.version, ":8080")
    space = ctx.namespace(thing)
    host = f"{dns_name(thing.name)}.{space}" if space else dns_name(thing.name)
    description = spec["description"].text()
    a2a_tool(draft, url=f"http://{host}{port}/", description=description)
    text_to(spec["description"], draft, "spec.description")
    pod = byo["deployment"] if byo["deployment"].is_map else byo
    image = pod["image"].text()
    told = (
        f"an agent in a container ({image}) stays one: run it yourself, write its A2A address into spec.http.url, "
        "and allow a private address: kastra config set tools.http.allowPrivate HOST"
    )
    (pod["image"] if pod["image"] else byo).manual(told, draft.target("spec.http.url"))
    for key, node in pod.fields():
        if key == "env":
            env_rows(ctx, node, "environment of the container, which you run yourself")
        elif key != "image":
            node.dropped("about the container, which you run yourself")
    for key, node in byo.fields():
        if key != "deployment" and pod.path != byo.path:
            node.dropped("not known to kagent's containers")
    for key, node in spec.fields():
        if key in ("skills", "sandbox"):
            node.manual("give it to the container, which you run yourself", draft)
        elif key == "declarative":
            node.dropped("of an agent of type BYO kagent reads the container only")
        elif key not in ("byo", "description", "type"):
            node.dropped(dropped.get(key, "not known to kagent's agents"))


def pod_rows(ctx: Context, node: Node, why: str) -> None:
    """Settings of a pod, one by one."""
    for key, one in node.fields():
        if key in ("env", "extraContainers"):
            env_rows(ctx, one, why)
        else:
            one.dropped(why)
    if not node.value:
        node.dropped(why)


def env_rows(ctx: Context, node: Node, why: str) -> None:
    """Variables of a container, in one row; a secret in the open appears nowhere."""
    for item in node.items():
        for one in [item, *item["env"].items()]:
            value = one["value"]
            text = value.text() if value.is_text else ""
            if (
                is_secret_key(one["name"].text() if one["name"].is_text else "")
                and plain_text(text)
                and not env_reference(text)
            ):
                ctx.report.hide(text)
    node.dropped(why)
