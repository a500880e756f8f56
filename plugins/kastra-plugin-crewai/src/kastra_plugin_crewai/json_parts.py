"""Parts of a crew out of JSON: agents and tasks as objects, tools by name; ``{"python": ...}`` is never imported.

Source: crewAI ``project/json_loader.py`` and ``project/crew_definition.py``; what they refuse is a problem here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.errors import nearest
from kastra_core.migration import Node
from kastra_core.serde import type_word
from kastra_plugin_crewai.model import AgentPart, Code, Crew, Field, TaskPart, ToolPart

__all__ = ["CONDITIONAL", "agent_part", "crew_of", "inline_agents", "is_reference", "task_part"]

_AGENT_TYPES = frozenset({"agent", "Agent", "crewai.Agent", "crewai.agent.core.Agent"})
_TASK_TYPES = frozenset({"task", "Task", "crewai.Task", "crewai.task.Task"})
CONDITIONAL = frozenset(
    {
        "conditional",
        "conditional_task",
        "ConditionalTask",
        "crewai.tasks.conditional_task.ConditionalTask",
    }
)
"""Types of a task that is left out when its condition says so."""


def is_reference(value: Any) -> bool:
    """Whether a value names something of Python: ``{"python": "module.name"}``."""
    return isinstance(value, Mapping) and "python" in value


def _field(node: Node) -> Field:
    """A key with its value; what only importing would tell is code."""
    value = node.value
    if is_reference(value):
        path = value["python"]
        if (
            not isinstance(path, str)
            or "." not in path
            or not all(part.isidentifier() for part in path.strip().split("."))
        ):
            node.problem('expected {"python": "module.name"}', "a dotted path of a module of the project")
        return Field(node, Code(str(path).strip()))
    if isinstance(value, list) and any(is_reference(item) for item in value):
        names = [str(item["python"]) if is_reference(item) else repr(item) for item in value]
        return Field(node, Code(f"[{', '.join(names)}]"))
    return Field(node)


# ------------------------------------------------------------------------------------------------ agents


def agent_part(node: Node, name: str, *, passed_over: tuple[str, ...] = ()) -> AgentPart:
    """Return the agent of an object; ``settings`` are keys like those beside them and win over them.

    Args:
        passed_over: keys that get their rows from the caller.
    """
    part = AgentPart(name=name, node=node)
    settings = node["settings"]
    if settings and not settings.is_map:
        settings.problem(f"expected an object, found {type_word(settings.value)}")
    inner = dict(settings.fields())
    for key, child in (*node.fields(), *inner.items()):
        if key in passed_over or (key == "settings" and child.path == settings.path):
            continue
        if key in inner and child.path != inner[key].path:
            child.dropped("the value under settings is the one that counts")
        elif key == "type":
            _type(child, _AGENT_TYPES, part)
        elif key == "tools":
            part.tools = _tools(child)
        elif key == "response_format":
            _response_format(child, part)
        elif key == "input":
            child.dropped("what an agent is asked is the input of its run")
        else:
            part.fields[key] = _field(child)
    if settings.present and not inner:
        settings.dropped("empty")
    if not _value(part, "from_repository"):
        for key in ("role", "goal", "backstory"):
            if _value(part, key) is None:
                node.problem(
                    f"an agent needs {key!r}", "or from_repository, the name of an agent of CrewAI's repository"
                )
    for key in ("role", "goal", "backstory"):
        field = part.fields.get(key)
        if field is not None and field.value is not None and not isinstance(field.value, str):
            field.node.problem(f"expected a string, found {type_word(field.value)}")
    return part


def _response_format(node: Node, part: AgentPart) -> None:
    if not node:
        node.dropped("null: as if it were not there")
    elif isinstance(node.value, Mapping) and isinstance(node.value.get("properties"), Mapping):
        part.schema = dict(node.value)
        part.fields["response_format"] = Field(node)
    else:
        what = str(_field(node).value)
        node.manual(
            f"write the JSON schema of {what} into the agent's spec.output.schema, and read the answer's fields"
        )


def _value(part: AgentPart, key: str) -> Any:
    return part.fields[key].value if key in part.fields else None


def _type(node: Node, plain: frozenset[str], part: AgentPart | TaskPart) -> None:
    if node.value is None:
        node.dropped("null: as if it were not there")
    elif isinstance(node.value, str):
        if node.value not in plain:
            node.problem(f"unknown type {node.value!r}", f"expected {min(plain, key=len)} or {{python: module.Class}}")
        node.dropped("the usual one")
    else:
        part.fields["type"] = _field(node)
        if not part.fields["type"].is_code:
            node.problem(f'expected a name or {{"python": "module.Class"}}, found {type_word(node.value)}')


def _tools(node: Node) -> list[ToolPart]:
    if not node:
        node.dropped("null: as if it were not there")
        return []
    if not node.is_list:
        node.problem(f"expected a list of tools, found {type_word(node.value)}")
        return []
    if not node.value:
        node.dropped("empty")
    out: list[ToolPart] = []
    for item in node.items():
        if isinstance(item.value, str):
            if item.value.strip():
                out.append(named_tool(item, item.value.strip()))
            else:
                item.dropped("empty")
        elif item.is_map:
            out.append(_serialized_tool(item))
        else:
            item.problem(f"expected the name of a tool or an object, found {type_word(item.value)}")
    return out


def named_tool(node: Node, name: str) -> ToolPart:
    """A tool by its name, ``custom:NAME`` (``tools/NAME.py``) or ``module:Class``."""
    if name.startswith("custom:"):
        bare = name.removeprefix("custom:")
        if not bare.isidentifier():
            node.problem(f"expected custom:NAME, found {name!r}", "NAME is that of a file in tools/, without .py")
        origin = f"tools/{bare}.py, named in {node.document.file}:{node.line}"
        return ToolPart(name=name, node=node, origin=origin, why=f"it is in tools/{bare}.py")
    module, colon, thing = name.rpartition(":")
    if not colon:
        return ToolPart(name=name, node=node)
    if module.partition(".")[0] == "crewai_tools":
        return ToolPart(name=thing, node=node)
    origin = f"{name}, named in {node.document.file}:{node.line}"
    return ToolPart(name=f"{module}.{thing}", node=node, origin=origin, why=f"it is the class {thing} of {module}")


def _serialized_tool(node: Node) -> ToolPart:
    """A tool as CrewAI writes one out: ``{tool_type: module.Class, name, description, args_schema}``."""
    kind, given = node["tool_type"], node["name"]
    name = next((str(one.value) for one in (kind, given) if isinstance(one.value, str) and one.value), "")
    if not name:
        node.problem("a tool needs tool_type or name")
    module, _, thing = name.rpartition(".")
    known = module.partition(".")[0] in ("crewai_tools", "")
    told = node["description"].value
    schema = node["args_schema"].value
    settings = {
        key: child.value
        for key, child in node.fields()
        if key not in ("tool_type", "name", "description", "args_schema") and child.value is not None
    }
    return ToolPart(
        name=thing if known else name,
        node=node,
        description=told if isinstance(told, str) else "",
        schema=dict(schema) if isinstance(schema, Mapping) and schema.get("type") == "object" else None,
        origin=f"{name}, {node.document.file}:{node.line}",
        settings=settings,
    )


def inline_agents(node: Node) -> dict[str, AgentPart]:
    """Agents that stand in the crew itself: an object by name, or a list of objects with ``name`` or one key."""
    out: dict[str, AgentPart] = {}
    for key, child in node.fields():
        _put_agent(out, key, child)
    for item in node.items():
        if not item.is_map:
            item.problem(f"expected an object, found {type_word(item.value)}")
        elif "name" in item.value:
            if not isinstance(item["name"].value, str) or not item["name"].value:
                item["name"].problem(f"expected a string, found {type_word(item['name'].value)}")
                continue
            _put_agent(out, item["name"].value, item, passed_over=("name",))
            item["name"].mapped("", "the agent's name")
        elif len(item.value) == 1:
            for key, child in item.fields():
                _put_agent(out, key, child)
        else:
            item.problem("an agent in a list needs a name")
    return out


def _put_agent(out: dict[str, AgentPart], name: str, node: Node, *, passed_over: tuple[str, ...] = ()) -> None:
    if not node.is_map:
        node.problem(f"expected an object (an agent), found {type_word(node.value)}")
        return
    out[name] = agent_part(node, name, passed_over=passed_over)


# ------------------------------------------------------------------------------------------------ crews


def task_part(node: Node, name: str, find: Callable[[Node], AgentPart | None], before: list[str]) -> TaskPart:
    """Return the task of an object.

    Args:
        find: agent of a node that names one; tells a problem when there is none.
        before: names of the tasks before it.
    """
    part = TaskPart(name=name, node=node)
    for key in ("description", "expected_output"):
        if not node[key].present:
            node.problem(f"a task needs {key!r}")
        elif not isinstance(node[key].value, str):
            node[key].problem(f"expected a string, found {type_word(node[key].value)}")
    for key, child in node.fields():
        if key == "tools":
            part.tools = _tools(child)
        elif key == "type" and not (isinstance(child.value, str) and child.value in CONDITIONAL):
            _type(child, _TASK_TYPES, part)
        elif key in ("type", "condition"):
            continue
        else:
            part.fields[key] = _field(child)
    if node["agent"]:
        part.agent = find(node["agent"])
    context = node["context"]
    if context and not context.is_list:
        context.problem(f"expected a list of names of tasks, found {type_word(context.value)}")
    for item in context.items():
        if item.value not in before:
            near = nearest(str(item.value), before)
            hint = f"did you mean {near!r}?" if near else "a task gets the outputs of tasks before it"
            item.problem(f"no task before this one has the name {item.value!r}", hint)
    if context.is_list:
        part.context = [str(item.value) for item in context.items()] or None
    schema = _schema_of(node)
    if schema is not None:
        part.schema = schema
    return part


def _schema_of(node: Node) -> JsonObject | None:
    """A JSON schema that stands in the file in place of a class."""
    for key in ("output_pydantic", "output_json", "response_model"):
        value = node[key].value
        if isinstance(value, Mapping) and isinstance(value.get("properties"), Mapping):
            return dict(value)
    return None


def crew_of(node: Node, name: str, agents: Mapping[str, AgentPart], *, scope: str = "") -> Crew:
    """Return the crew of an object; an agent that ``manager_agent`` names is no member.

    Args:
        name: when the object has no ``name``.
        agents: all that it may name.
        scope: what the names of its agents are unique in.
    """
    given = node["name"].value
    crew = Crew(name=given if isinstance(given, str) and given else name, node=node, scope=scope)

    def find(place: Node) -> AgentPart | None:
        found = agents.get(place.value) if isinstance(place.value, str) else None
        if found is None:
            near = nearest(str(place.value), list(agents))
            hint = f"did you mean {near!r}?" if near else f"agents: {', '.join(agents)}"
            place.problem(f"there is no agent {place.value!r}", hint)
        return found

    manager = node["manager_agent"]
    if isinstance(manager.value, str) and manager.value:
        crew.manager = find(manager)
    elif manager and not is_reference(manager.value):
        manager.problem("expected the name of an agent or {python: module.name}")
    if not agents:
        node["agents"].problem("a crew needs agents", "name them, or write them out")
    crew.agents = [part for part in agents.values() if part is not crew.manager]
    _put_tasks(crew, node["tasks"], find)
    inputs = node["inputs"]
    if inputs and not inputs.is_map:
        inputs.problem(f"expected an object, found {type_word(inputs.value)}")
    for key, child in node.fields():
        if key == "description" and isinstance(child.value, str):
            crew.description = child.value.strip()
        if key != "inputs":
            crew.fields[key] = _field(child)
    return crew


def _put_tasks(crew: Crew, tasks: Node, find: Callable[[Node], AgentPart | None]) -> None:
    pairs = list(tasks.fields()) or [(str(item["name"].value or ""), item) for item in tasks.items()]
    if not pairs:
        tasks.problem("a crew needs a list of at least one task")
    names: list[str] = []
    for at, (name, item) in enumerate(pairs):
        if not item.is_map:
            item.problem(f"expected an object (a task), found {type_word(item.value)}")
            continue
        name = name or f"task-{at + 1}"
        crew.tasks.append(task_part(item, name, find, names))
        names.append(name)
