"""Tools of agents and nodes as Tool resources, each once however many use it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from pathlib import PurePosixPath

from kastra_core.api.meta import JsonObject
from kastra_core.migration import Draft, Node, Report, identifier
from kastra_plugin_adk.builtins import BUILTINS, NOT_TOOLS
from kastra_plugin_adk.mcp import SERVERS, Server, server_of
from kastra_plugin_adk.project import Project, Unit, arguments_of, builtin_name
from kastra_plugin_adk.python_files import Found

__all__ = ["ToolShelf", "module_path"]

_ANYTHING: JsonObject = {
    "type": "object",
    "properties": {
        "tool": {"type": "string", "description": "name of the tool"},
        "arguments": {"type": "object", "description": "what the tool takes"},
    },
    "required": ["tool"],
}
_REQUEST: JsonObject = {
    "type": "object",
    "properties": {"request": {"type": "string", "description": "What to do, in full sentences."}},
    "required": ["request"],
}
_WRAPPERS = ("FunctionTool", "LongRunningFunctionTool", "LongRunningTool")
_NOT_PYTHON = ("com.", "org.", "io.", "net.")
_LONG_RUNNING = (
    "in ADK it goes on after it returned; here it has ended when it returns: where somebody has to answer, let a "
    "Workflow with a `suspend` step be the tool"
)


def module_path(dotted: str, node: Node) -> str:
    """A dotted name; one that begins with a dot as ADK reads it, with the directory of the file as package."""
    if not dotted.startswith("."):
        return dotted
    package = re.split(r"[/\\]", node.document.file)[-2:-1]
    return f"{package[0]}{dotted}" if package and package[0].isidentifier() else dotted.lstrip(".")


class ToolShelf:
    """Makes Tools and says how an agent names them."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._made: dict[tuple[str, ...], Draft] = {}
        self._scopes: set[tuple[str, str]] = set()

    @property
    def _report(self) -> Report:
        return self._project.report

    def entries(self, node: Node, unit: Unit, agent: Draft, reference_of: Callable[[Unit], str]) -> list[JsonObject]:
        """Return what an item of ``tools`` becomes in ``spec.tools`` of an agent, with rows for all of it.

        Args:
            reference_of: reference to the resource of an agent that is a tool.
        """
        named = node if node.is_text else node["name"]
        name = named.text().strip()
        if not name:
            node.problem("a tool needs a name", "write {name: google_search} or {name: package.module.function}")
            return []
        own, arguments = builtin_name(node), arguments_of(node)
        shaped = own in (*_WRAPPERS, *SERVERS, "AgentTool")
        for item in node["args"].items():
            if item["value"].present and (shaped or item["name"].value in ("name", "description")):
                item["name"].mapped(agent, "says what the value is")
            elif item["value"].present:
                item["name"].manual("names an argument that the tool was made with", agent)
        if own == "AgentTool":
            return self._agent_tool(node, unit, agent, named, arguments, reference_of)
        if own in NOT_TOOLS:
            outcome, why = NOT_TOOLS[own]
            (named.dropped if outcome == "dropped" else named.manual)(why, agent.target("spec.tools"))
            return []
        if own in _WRAPPERS:
            function = arguments.get("func") or arguments.get("function")
            if function is None or not function.is_text:
                node.problem(f"{own} needs the function that it calls", "write args: {func: package.module.function}")
                return []
            note = _LONG_RUNNING if own != "FunctionTool" else ""
            if note:
                named.manual(note, agent.target("spec.tools"))
            else:
                named.dropped("a function is a tool as it is", agent.target("spec.tools"))
            self._others(arguments, {"func", "function"}, agent)
            return [self._function(function, unit)]
        if own in SERVERS:
            return self._server(server_of(own, arguments, node), named, unit)
        if not own and not arguments:
            return [self._function(named, unit)]
        if not own or own not in BUILTINS:
            return [self._made_by_code(named, own, arguments, unit)]
        builtin = BUILTINS[own]
        told = f"{builtin.advice}: {{function}}"
        draft = self._stub(("builtin", own), _plain(own), builtin.description, builtin.schema, node)
        self._write(named, draft, f"a tool of ADK: {told}")
        self._settings(arguments, draft)
        return [_entry(draft, _plain(own))]

    # ------------------------------------------------------------------------------------------ kinds of tools

    def _agent_tool(
        self,
        node: Node,
        unit: Unit,
        agent: Draft,
        named: Node,
        arguments: dict[str, Node],
        reference_of: Callable[[Unit], str],
    ) -> list[JsonObject]:
        called = next((child.unit for child in unit.tools if child.node.path == node.path), None)
        self._others(arguments, {"agent", "skip_summarization", "include_plugins"}, agent)
        summary = arguments.get("skip_summarization")
        if summary is not None:
            told = "the agent always reads what a tool answers, and words its own answer"
            if summary.value is True:
                told = f"what is lost: {told}, where ADK gave the tool's answer to the user as it is"
            summary.dropped(told)
        if "include_plugins" in arguments:
            arguments["include_plugins"].dropped("plugins of Kastra belong to the runtime and not to an agent")
        if called is None:
            return []
        reference = reference_of(called)
        named.mapped(agent.target("spec.tools"), "an agent as a tool")
        where = arguments["agent"]
        target = where if where.is_text else where.first("config_path", "configPath", "code")
        target.mapped(agent.target("spec.tools"), reference)
        return [{"name": identifier(called.name, "agent"), "ref": reference}]

    def _function(self, named: Node, unit: Unit) -> JsonObject:
        """A dotted name of a function, or of an object that wraps one."""
        dotted = named.text().strip()
        full = module_path(dotted, named)
        found = self._project.python.find(dotted, named.document)
        last = full.rpartition(".")[2]
        if found is not None and found.kind == "call":
            inner = _wrapped(found)
            if found.call in _WRAPPERS and inner:
                package = dotted.rpartition(".")[0]
                found = self._project.python.find(f"{package}.{inner}", named.document) or found
                full, last = f"{full.rpartition('.')[0]}.{inner}", inner
        is_function = found.kind == "function" if found is not None else _looks_like_function(full)
        if not is_function:
            return self._made_by_code(named, "", {}, unit, found)
        draft = self._python(full, last, named)
        draft_target = draft.target("spec.python.function")
        self._project.note(found, draft_target)
        module = full.rpartition(".")[0]
        told = f"allow the module: kastra config set tools.python.allow {module}"
        if found is not None and found.takes_context:
            told += "; its parameter with ADK's context must go, as Kastra gives it none"
        named.manual(told, draft_target)
        return _entry(draft, last)

    def _python(self, full: str, last: str, named: Node) -> Draft:
        key = ("python", full)
        if key not in self._made:
            module = full.rpartition(".")[0]
            draft = self._report.draft("Tool", last, scope=module)
            draft.spec.update({"type": "python", "python": {"function": f"{module}:{last}"}})
            self._made[key] = draft
        return self._made[key]

    def _made_by_code(
        self, named: Node, own: str, arguments: dict[str, Node], unit: Unit, found: Found | None = None
    ) -> JsonObject:
        """An object of Python, a class, or what a function makes of ``args``: nobody here knows what it offers."""
        full = module_path(named.text().strip(), named)
        last = own or full.rpartition(".")[2]
        chosen = arguments.get("name")
        title = chosen.text() if chosen is not None and chosen.is_text else last
        is_set = last.lower().endswith("toolset") or (found is not None and found.call.lower().endswith("toolset"))
        description = found.description if found is not None else ""
        given = arguments.get("description")
        if given is not None and given.is_text:
            description = given.text()
        if not description:
            description = f"Tools of {full}." if is_set else f"Does what {full} did."
        draft = self._stub(
            ("code", full, repr({key: node.value for key, node in arguments.items()})),
            _plain(title),
            description,
            _ANYTHING if is_set else None,
            named,
        )
        what = "a set of tools" if is_set else "a class or an object" if not own else "not known here"
        self._write(named, draft, f"{what}: write {{function}}")
        self._settings(arguments, draft, mapped={"name", "description"})
        return _entry(draft, _plain(title))

    def _server(self, server: Server, named: Node, unit: Unit) -> list[JsonObject]:
        """A server of MCP: a Tool for each of its tools that is named, else one for all."""
        out: list[JsonObject] = []
        for name, source in server.tools or [("", None)]:
            title = name or server.title
            what = (
                f"The tool {name} of the MCP server {server.told}."
                if name
                else f"Tools of the MCP server {server.told}."
            )
            schema = None if name else _ANYTHING
            draft = self._stub(("mcp", server.key, name), title, what, schema, named)
            told = "write {function}: let it call the server" + (f" ({server.told})" if not name else "")
            self._write(named if source is None else source, draft, told)
            if source is not None:
                named.manual("write the functions of its tools: Kastra has no client of MCP of its own", draft)
                source.mapped(draft.target("metadata.name"))
            for node in server.shown:
                node.mapped(draft.target("spec.description"))
            out.append(_entry(draft, title))
        for node, reason in server.by_hand:
            node.manual(reason)
        for node, reason in server.dropped:
            node.dropped(reason)
        for secret in server.secrets:
            self._report.hide(secret)
        return out

    # ------------------------------------------------------------------------------------------ agents of code

    def agent_of_code(self, unit: Unit) -> Draft:
        """The Tool that stands for an agent which only Python describes."""
        node = unit.node
        cls = node["agent_class"].value if node.is_map else ""
        what = f"Does what the agent {unit.code or cls or unit.name} did."
        found = unit.found
        given = node["description"].value if node.is_map else None
        description = given if isinstance(given, str) and given else (found.description if found else "") or what
        scope = node.document.file
        return self._stub(("agent", unit.code or f"{scope} {unit.name}"), unit.name, description, _REQUEST, node)

    def for_node(self, key: str, name: str, description: str, schema: JsonObject | None, node: Node) -> Draft:
        """A stub for a node of a graph."""
        return self._stub(("node", key), name, description, schema, node)

    def for_function(self, dotted: str, node: Node) -> tuple[Draft, Found | None]:
        """The Tool of a function that is a node."""
        full = module_path(dotted, node)
        found = self._project.python.find(dotted, node.document)
        last = full.rpartition(".")[2]
        if "." not in full or not _looks_like_function(full):
            return self.for_node(full, last, f"Does what the node {full} did.", None, node), found
        return self._python(full, last, node), found

    # ------------------------------------------------------------------------------------------ stubs

    def _stub(self, key: tuple[str, ...], name: str, description: str, schema: JsonObject | None, node: Node) -> Draft:
        if key not in self._made:
            path = PurePosixPath(node.document.file)
            draft = self._report.draft("Tool", name, scope=self._scope(name, path))
            origin = f"{path.name}:{node.line}"
            function = self._report.stubs.add(name, schema=schema, description=description, origin=origin)
            draft.spec.update({"type": "python", "description": description})
            if schema is not None:
                draft.spec["inputSchema"] = schema
            draft.spec["python"] = {"function": function}
            self._made[key] = draft
        return self._made[key]

    def _scope(self, name: str, path: PurePosixPath) -> str:
        """What tells a Tool from others of its name: the directory, and a number where that is not enough."""
        scope = plain = path.parent.name or path.stem
        number = 1
        while (name, scope) in self._scopes:
            number += 1
            scope = f"{plain}-{number}"
        self._scopes.add((name, scope))
        return scope

    @staticmethod
    def _write(node: Node, draft: Draft, reason: str) -> None:
        function = draft.get("spec.python.function", "")
        node.manual(reason.replace("{function}", function), draft.target("spec.python.function"))

    @staticmethod
    def _settings(arguments: dict[str, Node], draft: Draft, mapped: set[str] | frozenset[str] = frozenset()) -> None:
        for key, node in arguments.items():
            if key in mapped and node.is_text:
                node.mapped(draft)
            else:
                told = f"it was made with this: let {draft.get('spec.python.function')} do the same"
                node.manual(told, draft)

    @staticmethod
    def _others(arguments: dict[str, Node], known: set[str], agent: Draft) -> None:
        for key, node in arguments.items():
            if key not in known:
                node.dropped("ADK knows no such argument of it", agent.target("spec.tools"))


def _entry(draft: Draft, title: str) -> JsonObject:
    """An item of ``spec.tools``: the model sees the name that the source uses, which instructions mention."""
    alias = re.sub(r"[^A-Za-z0-9_-]", "_", title)[:64]
    return {"name": draft.name} if alias == draft.name else {"name": alias, "ref": draft.name}


def _plain(name: str) -> str:
    """A class as the name of a tool: VertexAiSearchTool -> vertex_ai_search."""
    return identifier(name.removesuffix("Tool"), "tool") if re.match(r"[A-Z]", name) else name


def _looks_like_function(full: str) -> bool:
    """Whether a dotted name is, by its spelling, a function of somebody's own, and no class, constant or Java."""
    last = full.rpartition(".")[2]
    if "." not in full or full.startswith(_NOT_PYTHON) or not re.fullmatch(r"_*[a-z]\w*", last):
        return False
    # ADK refuses these, and nobody should be told to allow a model to call them.
    return full.partition(".")[0] not in sys.stdlib_module_names


def _wrapped(found: Found) -> str:
    """Name of the function that FunctionTool(...) wraps."""
    tree = found.tree
    if not isinstance(tree, ast.Call):
        return ""
    first = next((item.value for item in tree.keywords if item.arg == "func"), tree.args[0] if tree.args else None)
    return first.id if isinstance(first, ast.Name) else ""
