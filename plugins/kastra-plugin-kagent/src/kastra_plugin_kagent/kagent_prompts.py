"""System messages of kagent's agents."""

from __future__ import annotations

from kastra_core.migration import Draft, Node
from kastra_plugin_kagent.context import Context
from kastra_plugin_kagent.go_text import Rendered, render
from kastra_plugin_kagent.things import Thing

__all__ = ["migrate_prompt"]


def migrate_prompt(ctx: Context, thing: Thing, draft: Draft, place: Node, places: list[Node], names: list[str]) -> None:
    """The system message, written there or in a ConfigMap, and the template that it may be.

    Args:
        place: the part of the spec to look in; ``places`` are all of them.
        names: of the agent's tools.
    """
    text = place.first("systemMessage", "systemPrompt")
    source = place.first("systemMessageFrom", "systemPromptFrom")
    template = next((one["promptTemplate"] for one in places if one["promptTemplate"].is_map), None)
    if text and source:
        place.problem("expected one of systemMessage and systemMessageFrom, found both", "remove one of the two")
    elif text:
        _text(ctx, thing, draft, text, (text,), template, names)
    elif source:
        _text_from(ctx, thing, draft, source, template, names)
    for key in ("systemMessage", "systemPrompt"):
        if place[key].present and not place[key]:
            place[key].dropped("it is empty")
    if place["promptTemplate"].present and not (text or source):
        place["promptTemplate"].dropped("there is no text that it is for")


def _text_from(ctx: Context, thing: Thing, draft: Draft, source: Node, template: Node | None, names: list[str]) -> None:
    name, key = source["name"].text(), source["key"].text()
    if source["type"].text("ConfigMap") == "Secret":
        ctx.secret(thing, name, key)
        source.manual(
            f"it is {key!r} of the Secret {name}, which is not copied: write the text into spec.instructions",
            draft.target("spec.instructions"),
        )
        return
    found = ctx.config_text(thing, name, key)
    if found is None:
        source.manual(
            f"it is {key!r} of the ConfigMap {name}, which is not here: write the text into spec.instructions",
            draft.target("spec.instructions"),
        )
        return
    _text(ctx, thing, draft, found, (found, source["name"], source["key"]), template, names)
    source["type"].dropped("there is a ConfigMap of that name")


def _text(
    ctx: Context,
    thing: Thing,
    draft: Draft,
    text: Node,
    nodes: tuple[Node, ...],
    template: Node | None,
    names: list[str],
) -> None:
    source = text.text()
    out = _rendered(ctx, thing, draft, source, template, names) if template is not None else Rendered(source)
    for node in nodes:
        if out.left:
            node.manual(out.reason(source), draft.target("spec.instructions"))
            draft.set("spec.instructions", out.text)
        else:
            node.to(draft, "spec.instructions", out.text, reason=out.reason(source))


def _rendered(ctx: Context, thing: Thing, draft: Draft, text: str, template: Node, names: list[str]) -> Rendered:
    texts: dict[str, Node] = {}
    for source in template["dataSources"].items():
        keys = ctx.config_keys(thing, source["name"].text())
        if keys is None:
            source.manual(
                f"there is no ConfigMap {source['name'].text()} here: put its texts into spec.instructions in place "
                "of the include",
                draft.target("spec.instructions"),
            )
            continue
        alias = source.first("alias", "name")
        texts |= {f"{alias.text()}/{key}": node for key, node in keys.items()}
        for key, node in source.fields():
            if key in ("name", "alias"):
                node.dropped("says where the texts of the template are from")
            else:
                node.dropped("it is always a ConfigMap")
    wanted: list[Node] = []

    def include(path: str) -> str | None:
        node = texts.get(path)
        if node is None or not isinstance(node.value, str):
            return None
        wanted.append(node)
        return node.value

    data: dict[str, str | list[str]] = {
        "AgentName": thing.name,
        "AgentNamespace": thing.namespace or "default",
        "Description": thing.node["spec"]["description"].text(),
        "ToolNames": names,
    }
    if not thing.node["spec"]["skills"].value:
        data["SkillNames"] = []
    result = render(text, data, {"include": include})
    for node in wanted:
        node.mapped(draft.target("spec.instructions"), "included there")
    if not template["dataSources"].value:
        template.dropped("it only says that the text is a template")
    return result
