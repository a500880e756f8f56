"""Agents that are containers: agent.yaml and agent.manifest.yaml, which may stand for the same one."""

from __future__ import annotations

from kastra_core.migration import Node, env_reference, is_secret_key
from kastra_plugin_agent_framework.agents import annotate, migrate_agent
from kastra_plugin_agent_framework.context import Agent, Context

__all__ = ["container", "is_manifest", "migrate_container", "migrate_manifest"]


def is_manifest(data: object) -> bool:
    """Whether a document is a manifest: no kind of its own, and a template that has one."""
    if not isinstance(data, dict) or "kind" in data:
        return False
    template = data.get("template")
    return isinstance(template, dict) and isinstance(template.get("kind"), str)


def container(context: Context, node: Node, name: str, description: str, scope: str) -> Agent:
    """The Tool that stands for a container; the same one for the two files of a directory."""
    key = f"hosted:{scope}"
    known = context.tools.get(key)
    draft = context.stub(
        node,
        name,
        what="hosted agent",
        todo="its instructions are in the code of its container; call the endpoint where it is deployed",
        description=description or f"The hosted agent {name}.",
        schema={"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]},
        key=key,
    )
    if known is not None and description and draft.spec.get("description") == f"The hosted agent {name}.":
        draft.spec["description"] = description
    agent = Agent(draft.name, False, tool=True)
    context.agents.setdefault(name, agent)
    return agent


def migrate_container(
    context: Context, root: Node, name: str, scope: str, *, description: str = "", named: str = ""
) -> Agent:
    """A definition of kind hosted."""
    source = named or root["name"].text() or name
    described = " ".join((description or root["description"].text()).split())
    agent = container(context, root["kind"], source, described, scope)
    draft = context.tools[f"hosted:{scope}"]
    place = draft.target()
    if root["name"].text() == source and not named:
        root["name"].mapped(draft.target("metadata.name"))
    else:
        root["name"].dropped("the manifest names the agent", place)
    if root["description"]:
        root["description"].mapped(draft.target("spec.description"))
    for key in ("displayName",):
        if root[key]:
            annotate(root[key], draft, key)
    for key, node in root["metadata"].fields():
        annotate(node, draft, key)
    root["metadata"].mapped(draft.target("metadata.annotations"), whole=False)
    for key in ("protocols", "protocol"):
        root[key].manual("the protocol of the endpoint: speak it in the function", draft) if root[key] else None
    for key in ("resources", "container", "cpu", "memory", "scale", "image", "code_configuration", "codeConfiguration"):
        root[key].dropped("of the container, which runs where it is deployed", place)
    for key in ("host", "project", "language", "uses", "docker"):
        root[key].dropped("how the container is built and deployed", place)
    for key in ("environment_variables", "environmentVariables", "env"):
        _environment(context, root[key], place)
    for key in ("model", "tools", "instructions", "inputSchema", "outputSchema"):
        root[key].dropped("of the container, which has its own", place)
    return agent


def _environment(context: Context, node: Node, place: str) -> None:
    pairs = [(one["name"].text(), one["value"]) for one in node.items()] or list(node.fields())
    for name, value in pairs:
        text = value.value if isinstance(value.value, str) else ""
        if is_secret_key(name) and text and not env_reference(text) and "{{" not in text:
            context.report.hide(text)
    node.dropped("of the container, which runs where it is deployed", place)


def migrate_manifest(context: Context, root: Node, name: str, scope: str) -> Agent:
    """A manifest: what it says of the agent, and the agent's template."""
    template = root["template"]
    if template["kind"].text().lower() not in ("hosted", "prompt", "agent"):
        template["kind"].problem(
            f"expected an agent, found kind {template['kind'].text()!r}", hint="kind: Prompt or hosted"
        )
    source = root["name"].text() or template["name"].text() or name
    if template["kind"].text().lower() == "hosted":
        description = root["description"].text() or template["description"].text()
        agent = container(context, template["kind"], source, " ".join(description.split()), scope)
        migrate_container(context, template, source, scope, description=description, named=root["name"].text())
        draft = context.tools[f"hosted:{scope}"]
    else:
        agent = migrate_agent(context, template, source, scope)
        draft = next(one for one in context.report.drafts if one.kind == "Agent" and one.name == agent.name)
        if root["description"] and "description" not in draft.spec:
            root["description"].to(draft, "spec.description")
    place = draft.target()
    template.mapped(draft, whole=False)
    root["name"].mapped(draft.target("metadata.name")) if not template["name"] or template[
        "kind"
    ].text().lower() == "hosted" else (annotate(root["name"], draft, "manifest-name"))
    if root["displayName"]:
        annotate(root["displayName"], draft, "displayName")
    if draft.spec.get("description") == " ".join(root["description"].text().split()):
        root["description"].mapped(draft.target("spec.description"))
    root["description"].dropped("the template describes it", place)
    for key, node in root["metadata"].fields():
        annotate(node, draft, key)
    root["metadata"].mapped(draft.target("metadata.annotations"), whole=False)
    if root["parameters"]["properties"].value or (
        root["parameters"].value and not root["parameters"]["properties"].present
    ):
        root["parameters"].manual("asked for when the container is deployed: set them there", draft)
    root["parameters"].dropped("no parameters", place)
    resources = root["resources"]
    for one in resources.items() or [node for _, node in resources.fields()]:
        kind = one["kind"].text()
        if kind == "model" and template["kind"].text().lower() != "hosted" and "model" not in draft.spec:
            one.manual(f"the agent's model: write spec.model with {one['id'].text()!r}", draft)
        else:
            one.dropped(f"{kind or 'a resource'} that is deployed with the container", place)
    resources.dropped("no resources", place)
    return agent
