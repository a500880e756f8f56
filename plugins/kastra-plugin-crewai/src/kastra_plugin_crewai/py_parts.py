"""Objects that a program makes (``Agent(...)``, ``Task(...)``, ``Crew(...)``) as parts of crews."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, TypeGuard

from kastra_core.errors import nearest
from kastra_core.migration.report import Node
from kastra_plugin_crewai.llms import MODEL_CLASSES
from kastra_plugin_crewai.model import AgentPart, Code, Crew, CrewReport, Field, TaskPart
from kastra_plugin_crewai.py_eval import Evaluator
from kastra_plugin_crewai.py_module import decorators
from kastra_plugin_crewai.py_schema import class_schema
from kastra_plugin_crewai.py_tools import literal, tool_parts
from kastra_plugin_crewai.py_values import Cls, Config, Ext, Func, Made, Spread, Unknown

__all__ = ["Parts", "file_name"]

_OUTPUTS = ("output_pydantic", "output_json", "response_model")
_GENERAL = frozenset(
    {
        "",
        "__init__",
        "build_crew",
        "create_crew",
        "crew",
        "get_crew",
        "kickoff",
        "main",
        "make_crew",
        "my_crew",
        "run",
        "run_crew",
        "setup_crew",
        "team",
        "the_crew",
    }
)
"""Names that say nothing of a crew."""
_GENERAL_FILES = frozenset(
    {"", "__init__", "__main__", "agents", "app", "config", "crew", "crews", "main", "run", "src", "tasks"}
)


def file_name(file: str) -> str:
    """A name for what is in a file: its own, or that of a directory around it where the file's says nothing."""
    path = PurePosixPath(file.replace("\\", "/"))
    for part in (path.stem, *reversed(path.parts[:-1])):
        if part.lower() not in _GENERAL_FILES and part not in (".", "..", "/"):
            return part
    return "crew"


class Parts:
    """Makes parts of what an evaluator found, each once."""

    def __init__(self, report: CrewReport, evaluator: Evaluator) -> None:
        self.report, self.evaluator = report, evaluator
        self.given: set[str] = set()
        """Files that are to be migrated, and not only read because others import them."""
        self.broken: set[str] = set()
        """Files that contradict their configuration: nothing is made of their crews."""
        self.agents: dict[int, AgentPart] = {}
        self.tasks: dict[int, TaskPart] = {}
        self.used: set[int] = set()
        """ids of the Made objects that crews use."""
        self._same: dict[tuple[str, str, str], Any] = {}
        self._names: set[tuple[str, str]] = set()
        self.configs: set[tuple[str, int, tuple[str | int, ...]]] = set()
        """Keys of YAML files that something is made of."""

    def node(self, made: Made) -> Node:
        """Where something is made."""
        return made.module.node(self.report, made.module.site_of(made.call, made.what.last.lower()))

    # ------------------------------------------------------------------------------------------- agents and tasks

    def agent(self, made: Made) -> AgentPart:
        """The part of an Agent; calls at the same place that say the same make one."""
        self.used.add(id(made))
        if id(made) not in self.agents:
            node = self.node(made)
            fields, tools, config = self._fields(made, node, "agent")
            said = [(word, str(field.value)) for word, field in fields.items()]
            key = (made.module.document.file, node.key, f"{said} {[tool.name for tool in tools]}")
            same = self._same.get(key)
            if same is None:
                name = str(config.path[-1]) if config is not None else _holder(made, node) or _role_name(fields)
                same = AgentPart(name=name, node=node, fields=fields, tools=tools, notes=made.notes)
                same.schema = self._schema(made, ("response_format",))
                self._same[key] = same
            self.agents[id(made)] = same
        return self.agents[id(made)]

    def task(self, made: Made) -> TaskPart:
        """The part of a Task. Its agent and context are those of the objects that it was given."""
        self.used.add(id(made))
        if id(made) not in self.tasks:
            node = self.node(made)
            fields, tools, config = self._fields(made, node, "task")
            named = fields["name"].value if "name" in fields else None
            name = named if isinstance(named, str) and named and not isinstance(named, Code) else ""
            name = name or (str(config.path[-1]) if config is not None else _holder(made, node)) or "task"
            agent = made.keywords.get("agent")
            if agent is None and config is not None and config["agent"]:
                agent = self._named(made, config["agent"], "agent")
            worker = self._worker(agent, made, node["agent"])
            said = [(word, str(field.value)) for word, field in fields.items()]
            key = (made.module.document.file, node.key, f"{name} {said} {id(worker)} {[tool.name for tool in tools]}")
            if key in self._same:
                self.tasks[id(made)] = self._same[key]
                return self.tasks[id(made)]
            part = self._same[key] = TaskPart(name=name, node=node, fields=fields, tools=tools, notes=made.notes)
            self.tasks[id(made)] = part
            if made.what.last == "ConditionalTask":
                part.notes = [*part.notes, "a task with a condition: it always runs here"]
            part.schema = self._schema(made, _OUTPUTS) or self._config_schema(made, config)
            part.agent = worker
            self._put_context(part, made, config)
        return self.tasks[id(made)]

    def _put_context(self, part: TaskPart, made: Made, config: Node | None) -> None:
        given = made.keywords.get("context")
        if given is None and config is not None and config["context"].is_list:
            given = [self._named(made, item, "task") for item in config["context"].items()]
        if not isinstance(given, list):
            return
        part.context = []
        for item in given:
            if _is_task(item):
                part.context.append(self.task(item).name)
            else:
                self.node(made)["context"].manual(f"only running {literal(item)!r} would tell which task it is")

    def _fields(self, made: Made, node: Node, what: str) -> tuple[dict[str, Field], list[Any], Node | None]:
        """All keys that something is made with: those of its configuration, and over them those of the call."""
        fields: dict[str, Field] = {}
        tools: list[Any] = []
        config: Node | None = None
        for word, value in made.keywords.items():
            if word == "config" or word.startswith("**"):
                config = self._config(made, node[word], value, what, fields) or config
        if config is not None and "tools" in fields:
            tools = self._config_tools(made, config["tools"])
        if config is not None and "llm" in fields:
            self._config_model(made, fields)
        for word, value in made.keywords.items():
            if word == "config" or word.startswith("**"):
                continue
            if value is None and not node[word].present:
                continue
            if word in fields and value is not None:
                where = f"{node.document.file}:{node[word].line}"
                fields[word].node.dropped(f"{where} says otherwise")
                tools = [] if word == "tools" else tools
            elif word in fields:
                node[word].dropped("None: as if it were not there")
                continue
            fields[word] = self._field(node[word], value)
            if word == "tools" and value is not None:
                tools = tool_parts(self.evaluator, value, node[word])
        if "tools" in fields:
            self._tools_row(fields["tools"], tools)
            if what == "agent":
                del fields["tools"]
        return fields, tools, config

    def _tools_row(self, field: Field, tools: list[Any]) -> None:
        if not tools:
            for node in field.nodes:
                node.dropped("no tools")

    def _field(self, node: Node, value: Any) -> Field:
        if isinstance(value, Made) and value.what.last in MODEL_CLASSES:
            self.used.add(id(value))
            data = {key: literal(item) for key, item in value.keywords.items()}
            if value.arguments:
                data.setdefault("model", literal(value.arguments[0]))
            at = None if isinstance(node.value, dict) else self.node(value)
            return Field(node, data, at=at, call=value.what.last)
        if isinstance(value, Ext) and value.dotted.partition(".")[0] == "crewai" and "Process" in value.dotted:
            return Field(node, value.last)
        if isinstance(value, Config) and isinstance(value.node.value, (str, int, float, bool)):
            # The text is in the YAML file: that is the place of what becomes of it, too.
            self.configs.add((value.node.document.file, value.node.document.index, value.node.path))
            return Field(node, value.node.value, at=value.node)
        return Field(node, literal(value))

    def _config(self, made: Made, node: Node, value: Any, what: str, fields: dict[str, Field]) -> Node | None:
        if isinstance(value, Config):
            found = value.node
            if not found:
                above = found.document.data if isinstance(found.document.data, dict) else {}
                near = nearest(found.name, list(above))
                name = PurePosixPath(found.document.file).name
                hint = f"did you mean {near!r}?" if near else f"it has {', '.join(above) or 'nothing'}"
                self._contradiction(node, f"{name} has no {what} {found.name!r}", hint)
                return None
            self.configs.add((found.document.file, found.document.index, found.path))
            if not found.is_map:
                found.mapping()
                return None
            fields.update({name: Field(child) for name, child in found.fields()})
            fields["config"] = Field(node)
            return found
        if isinstance(value, dict):
            for name, item in value.items():
                inner = node[name] if node.is_map and name in node.value else node
                fields[str(name)] = Field(inner, literal(item))
            fields["config"] = Field(node)
        else:
            node.manual(f"only running {_shown(literal(value))} would tell what it says: write it by hand")
        return None

    def _config_tools(self, made: Made, node: Node) -> list[Any]:
        """Tools that a YAML file names: methods of the class, else names of tools."""
        out = []
        for item in node.items():
            found = self._method_of(made, str(item.value), "tool")
            value = found if found is not None else item.text()
            out += tool_parts(self.evaluator, [value], item)
        return out

    def _config_model(self, made: Made, fields: dict[str, Field]) -> None:
        """A model that a YAML file names may be a method of the class."""
        node = fields["llm"].node
        value = self._method(made, str(node.value), "llm") if node.is_text else None
        if isinstance(value, Made):
            fields["llm"] = self._field(node, value)
        elif isinstance(value, str):
            fields["llm"] = Field(node, value)
        elif value is not None:
            fields["llm"] = Field(node, literal(value))

    def _method_of(self, made: Made, name: str, word: str) -> Func | None:
        if made.owner is None:
            return None
        return next((func for func in self.evaluator.marked(made.owner, word) if func.node.name == name), None)

    def _method(self, made: Made, name: str, word: str) -> Any:
        """What the marked method of the crew's class makes that a YAML file names; None: there is none."""
        func = self._method_of(made, name, word)
        return self.evaluator.call(func, [], {}) if func is not None else None

    def _worker(self, value: Any, made: Made, place: Node) -> AgentPart | None:
        """The agent that a value is; one for a name of which only running would tell what it holds."""
        if isinstance(value, Made) and value.kind == "Agent":
            return self.agent(value)
        name = (value.name or value.text.rpartition(".")[2]) if isinstance(value, Unknown) else ""
        if not name.isidentifier():
            return None
        given = self._fixture(made, value)
        if isinstance(given, Made) and given.kind == "Agent":
            return self.agent(given)
        key = (made.module.document.file, "", name)
        if key not in self._same:
            self._same[key] = AgentPart(name=name, node=place)
            place.manual(f"only running would tell the agent {name!r}: write its instructions")
        part: AgentPart = self._same[key]
        return part

    def _fixture(self, made: Made, value: Unknown) -> Any:
        """What a function gives that has the name of an unknown parameter, as a fixture of a test does."""
        func = made.module.names.get(value.name or value.text)
        given = self.evaluator.call(func, [], {}) if isinstance(func, Func) else None
        return given if isinstance(given, Made) else value

    def _named(self, made: Made, place: Node, word: str) -> Any:
        """What a YAML file means by the name of an agent or a task."""
        name = place.text()
        if made.owner is None:
            known = self.agents if word == "agent" else self.tasks
            found = [one for one in self.evaluator.made if id(one) in known and known[id(one)].name == name]
            return found[0] if found else Unknown(name)
        value = self._method(made, name, word)
        if value is None:
            methods = [func.node.name for func in self.evaluator.marked(made.owner, word)]
            near = nearest(name, methods)
            hint = f"did you mean {near!r}?" if near else f"it has {', '.join(methods) or 'none'}"
            file = PurePosixPath(place.document.file).name
            self._contradiction(self.node(made)["config"], f"{file} names the {word} {name!r}, no @{word} method", hint)
        return Unknown(name) if value is None else value

    def _contradiction(self, node: Node, message: str, hint: str) -> None:
        """A file does not fit its configuration: a problem where it is to be migrated."""
        self.broken.add(node.document.file)
        if node.document.file in self.given:
            node.problem(message, hint)

    def _schema(self, made: Made, words: tuple[str, ...]) -> Any:
        for word in words:
            value = made.keywords.get(word)
            if isinstance(value, Cls):
                return class_schema(self.evaluator, value)
        return None

    def _config_schema(self, made: Made, config: Node | None) -> Any:
        """A class in the body of the crew's class that a YAML file names."""
        if config is None or made.owner is None:
            return None
        for word in ("output_pydantic", "output_json"):
            if config[word].is_text:
                value = self.evaluator.attribute(made.owner, config[word].text())
                found = value or self.evaluator.attribute(made.module, config[word].text())
                if isinstance(found, Cls):
                    return class_schema(self.evaluator, found)
        return None

    # ------------------------------------------------------------------------------------------- crews

    def same_crew(self, made: Made) -> str:
        """What is equal for crews that are made at the same place of the same tasks."""
        node = self.node(made)
        tasks = [id(self.task(item)) for item in self._items(made, "tasks") if _is_task(item)]
        return f"{made.module.document.file} {node.key} {tasks}"

    def config_files(self, made: Made) -> set[str]:
        """The files that the agents and tasks of a crew have keys of."""
        tasks = [self.task(item) for item in self._items(made, "tasks") if _is_task(item)]
        parts: list[AgentPart | TaskPart] = [*tasks, *(task.agent for task in tasks if task.agent is not None)]
        return {node.document.file for part in parts for field in part.fields.values() for node in field.nodes}

    def crew(self, made: Made) -> Crew:
        """The part of a Crew."""
        node = self.node(made)
        crew = Crew(name=self._unique(made.module.document.file, self._crew_name(made, node)), node=node)
        for word, value in made.keywords.items():
            if value is None and not node[word].present:
                continue
            crew.fields[word] = self._field(node[word], value)
        manager = made.keywords.get("manager_agent")
        if isinstance(manager, Made) and manager.kind == "Agent":
            crew.manager = self.agent(manager)
        elif manager is not None:
            crew.fields.pop("manager_agent")
            node["manager_agent"].manual("only running it would tell the manager: write spec.router of the Network")
        for item in self._items(made, "agents"):
            part = self._worker(item, made, node["agents"])
            if part is not None:
                if part not in crew.agents and part is not crew.manager:
                    crew.agents.append(part)
            else:
                node["agents"].manual(f"only running {_shown(literal(item))} would tell the agent: add it by hand")
        for item in self._items(made, "tasks"):
            if _is_task(item):
                if self.task(item) not in crew.tasks:
                    crew.tasks.append(self.task(item))
            else:
                node["tasks"].manual(f"only running {_shown(literal(item))} would tell the task: add its step by hand")
        self._put_inputs(made, crew)
        self.name_apart(crew)
        return crew

    def _items(self, made: Made, word: str) -> list[Any]:
        value = made.keywords.get(word)
        if isinstance(value, dict):
            value = list(value.values())
        items = value if isinstance(value, list) else [] if value is None else [Spread(value)]
        items = [_once(item) for item in items]
        items = [self._fixture(made, item) if isinstance(item, Unknown) else item for item in items]
        return [item for item in items if item is not None]

    def name_apart(self, crew: Crew) -> None:
        """See that no two agents and no two tasks of a crew have the same name."""
        parts: list[AgentPart] = list(crew.agents)
        parts += [task.agent for task in crew.tasks if task.agent is not None and task.agent not in parts]
        for group in (parts, crew.tasks):
            seen: dict[str, Any] = {}
            for part in group:
                name, number = part.name, 1
                while seen.get(part.name, part) is not part:
                    number += 1
                    part.name = f"{name}_{number}"
                seen[part.name] = part

    def _unique(self, file: str, name: str) -> str:
        """The same name twice in a file gets a number."""
        out, number = name, 1
        while (file, out) in self._names:
            number += 1
            out = f"{name}_{number}"
        self._names.add((file, out))
        return out

    def _crew_name(self, made: Made, node: Node) -> str:
        given = made.keywords.get("name")
        if isinstance(given, str) and given.strip():
            return given.strip()
        holder = "" if made.holder.lower() in _GENERAL else made.holder
        if made.owner is not None:
            name = made.owner.cls.node.name
            if "CrewBase" in decorators(made.owner.cls.node) or not holder:
                return name
            return holder
        if holder:
            return holder
        scope = [part for part in node.key.split(".")[:-1] if part.lower() not in _GENERAL]
        return scope[-1] if scope else file_name(made.module.document.file)

    def _put_inputs(self, made: Made, crew: Crew) -> None:
        for site, module, inputs in made.inputs:
            if not site:
                continue
            node = module.node(self.report, site)
            place = node["inputs"] if node["inputs"].present else node["(1)"]
            if isinstance(inputs, dict):
                for name, value in inputs.items():
                    inner = place[str(name)] if place.is_map and str(name) in place.value else place
                    at = value.node if isinstance(value, Config) else None
                    if at is not None:
                        self.configs.add((at.document.file, at.document.index, at.path))
                    crew.examples.setdefault(str(name), []).append(Field(inner, literal(value), at=at))
            elif place.present:
                place.dropped("what the program fills in: hand it over with each run")


def _is_task(value: Any) -> TypeGuard[Made]:
    return isinstance(value, Made) and value.kind in ("Task", "ConditionalTask")


def _once(item: Any) -> Any:
    """An item; of those that a loop over something unknown makes, one."""
    if isinstance(item, Spread) and isinstance(item.value, Made):
        note = "made for each item of something that only running would tell; here once"
        if note not in item.value.notes:
            item.value.notes.append(note)
        return item.value
    return item


def _holder(made: Made, node: Node) -> str:
    """Name of the method or variable that holds it; where that says nothing, of what is around it."""
    if made.holder.lower() not in ("agent", "task"):
        return made.holder
    scope = node.key.split(".")[:-1]
    return scope[-1] if scope and scope[-1].lower() not in _GENERAL else made.holder


def _role_name(fields: dict[str, Field]) -> str:
    role = fields.get("role")
    return role.value.strip() if role is not None and isinstance(role.value, str) and not role.is_code else "agent"


def _shown(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) < 80 else f"{text[:76]} ..."
