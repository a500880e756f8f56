"""Crews that Python makes: the modules of a project, what they make, and a row for every key of them."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Collection, Iterable, Sequence

from kastra_core.errors import ManifestError
from kastra_core.migration.report import Draft, Node
from kastra_core.protocols.migrator import MigrationSource, SourceDocument
from kastra_plugin_crewai.build import build_agent, build_crew
from kastra_plugin_crewai.model import Crew, CrewReport, TaskPart
from kastra_plugin_crewai.py_eval import Evaluator
from kastra_plugin_crewai.py_module import CREW_DECORATORS, MAKERS, RUNS, Module, decorators, is_flow, parse
from kastra_plugin_crewai.py_parts import Parts, file_name
from kastra_plugin_crewai.py_tools import tool_parts
from kastra_plugin_crewai.py_values import Cls, Config, Func, Inst, Made
from kastra_plugin_crewai.tools import tool_key

__all__ = ["Project"]

_HIGHEST = 4
"""Directories above a file in which what it imports is looked for."""
_TASKS = ("Task", "ConditionalTask")
_HOOKS = {
    "before_kickoff": "code before the crew: write it as a tool and add a first step that calls it",
    "after_kickoff": "code after the crew: write it as a tool and add a last step that calls it",
    "before_llm_call": "no code runs around the calls of a model",
    "after_llm_call": "no code runs around the calls of a model",
    "before_tool_call": "no code runs around the calls of tools; put it into the tool",
    "after_tool_call": "no code runs around the calls of tools; put it into the tool",
    "callback": "no code runs inside a run: read the events of the run in its place",
    "cache_handler": "results of tools are not cached; a tool may do it itself",
    "agent": "only running it would tell the agent: write it by hand",
    "task": "only running it would tell the task: add its step by hand",
    "crew": "only running it would tell the crew: write its Workflow by hand",
    "llm": "only running it would tell the model: write spec.model of the agents that use it",
    "tool": "a tool that no agent of a migrated crew uses",
}


class Project:
    """Reads the Python of a migration.

    Args:
        report: gets resources and rows.
        source: the files.
    """

    def __init__(self, report: CrewReport, source: MigrationSource) -> None:
        self.report, self.source = report, source
        self.evaluator = Evaluator(self._load, self._config)
        self.parts = Parts(report, self.evaluator)
        self.modules: dict[str, Module | None] = {}
        """By file; None: it is not valid Python."""
        self.configs: dict[tuple[str, int], Config] = {}
        """YAML files that modules load, by file and index of the document."""
        self._readers: dict[tuple[str, int], set[str]] = {}
        self._missing: dict[str, str] = {}
        self._instances: dict[int, Inst] = {}

    def run(self, documents: Sequence[SourceDocument], beside: Sequence[SourceDocument] = ()) -> None:
        """Migrate files of Python; what one imports of the project comes with it.

        Args:
            documents: those that are to be migrated.
            beside: those that were found beside YAML files: only crews that use one of these are made of them.
        """
        given = []
        self.parts.given = {document.file for document in (*documents, *beside)}
        plain = {document.file for document in self.source.documents}
        for document in (*documents, *beside):
            try:
                given.append(self._module(document))
            except ManifestError as error:
                self.report.problems.extend(error.problems)
        for module in given:
            self.evaluator.module(module)
        for module in given:
            self._follow(module)
        crews: dict[str, list[Made]] = {}
        for made in self.evaluator.made:
            if made.kind == "Crew":
                crews.setdefault(self.parts.same_crew(made), []).append(made)
        for first, *more in crews.values():
            file = first.module.document.file
            if file in self.parts.broken:
                continue
            if file in {document.file for document in beside} and not self.parts.config_files(first) & plain:
                continue
            self._crew(first, more)
        for module in given[: len(documents)]:
            self._left(module)
        for found in [one for one in self.modules.values() if one is not None]:
            self._rows(found)
        self._config_rows()

    def has(self, document: SourceDocument) -> bool:
        """Whether a YAML file is the configuration of a crew that was migrated."""
        key = (document.file, document.index)
        used = any(place[:2] == key for place in self.parts.configs)
        return used and bool(self._readers.get(key, set()) - self.parts.broken)

    # ------------------------------------------------------------------------------------------- finding files

    def _module(self, document: SourceDocument) -> Module:
        known = self.modules.get(document.file)
        if known is None:
            self.modules[document.file] = None
            known = parse(document)
            self.modules[document.file] = known
            if known.document.data:
                self.report.read(known.document)
        return known

    def _load(self, dotted: str, module: Module) -> Module | None:
        level = len(dotted) - len(dotted.lstrip("."))
        parts = [part for part in dotted.split(".") if part]
        if not level and (not parts or parts[0] in sys.stdlib_module_names):
            return None
        ups = [level - 1] if level else range(_HIGHEST + 1)
        for up in ups:
            base = "/".join([".."] * up + parts)
            for path in (f"{base}.py", f"{base}/__init__.py") if parts else (f"{base or '.'}/__init__.py",):
                found = self._read(path, module.document)
                if found:
                    try:
                        return self._module(found[0])
                    except ManifestError:
                        return None
        return None

    def _read(self, path: str, of: SourceDocument) -> Sequence[SourceDocument]:
        here = os.path.dirname(of.file)  # noqa: PTH120 - as rows name files
        file = os.path.normpath(os.path.join(here, path))  # noqa: PTH118
        if file == os.path.normpath(of.file):
            return ()
        try:
            return self.source.read(path, of)
        except ManifestError as error:
            self._missing[path] = "; ".join(problem.message for problem in error.problems[:1])
            return ()

    def _config(self, path: str, module: Module) -> Config | None:
        """A YAML file that a module names, by its path from the module, or from a directory above it."""
        if not path.endswith((".yaml", ".yml", ".json")):
            return None
        for up in range(_HIGHEST + 1):
            found = self._read("/".join([".."] * up + [path]), module.document)
            if found:
                key = (found[0].file, found[0].index)
                self._readers.setdefault(key, set()).add(module.document.file)
                if key not in self.configs:
                    self.configs[key] = Config(self.report.read(found[0]))
                return self.configs[key]
        return None

    # ------------------------------------------------------------------------------------------- following code

    def _follow(self, module: Module) -> None:
        """Call what makes crews and was not called by the module itself, with arguments that nobody knows."""
        for cls in _classes(module.tree.body):
            if "CrewBase" in decorators(cls):
                self._crew_class(module, cls)
        self._call_makers(module, {"crew", *RUNS})
        self._call_makers(module, {name.lower() for name in MAKERS} - {"crew"})

    def _instance(self, module: Module, cls: ast.ClassDef) -> Inst:
        if id(cls) not in self._instances:
            self._instances[id(cls)] = self.evaluator.instance(Cls(module, cls))
        return self._instances[id(cls)]

    def _crew_class(self, module: Module, cls: ast.ClassDef) -> None:
        sites = {id(made.call) for made in self.evaluator.made if made.kind == "Crew"}
        if any(id(call) in sites for call in ast.walk(cls)):
            return
        inst = self._instance(module, cls)
        for func in self.evaluator.marked(inst, "crew"):
            self.evaluator.call(func, [], {})

    def _call_makers(self, module: Module, words: set[str]) -> None:
        for owner, func in _functions(module.tree.body):
            sites = [call for call in ast.walk(func) if id(call) in module.sites and _word(module, call) in words]
            made = {id(one.call) for one in self.evaluator.made}
            if not sites or all(id(call) in made for call in sites):
                continue
            if owner is None:
                self.evaluator.call_unknown(Func(module, func))
            else:
                self.evaluator.call_unknown(Func(module, func, self._instance(module, owner), owner.name))

    # ------------------------------------------------------------------------------------------- crews

    def _crew(self, made: Made, more: Sequence[Made]) -> None:
        """Build a crew; ``more`` are the same one, made again elsewhere."""
        for one in more:
            made.inputs.extend(one.inputs)
        crew = self.parts.crew(made)
        if not crew.tasks:
            crew.node.manual("its tasks could not be read: write a Workflow with a step for each")
            for agent in crew.agents:
                build_agent(self.report, agent, scope=crew.name)
            return
        draft = build_crew(self.report, crew)
        for site, module, _ in made.inputs:
            if site:
                node = module.node(self.report, site)
                node.mapped(draft, "the program runs the crew here", whole=False)
                for name, argument in node.fields():
                    if name == "input_files":
                        argument.manual("no files are handed to the model: write a tool that reads them", draft)
                    elif name not in ("inputs", "(1)"):
                        argument.dropped("an argument of the program's own run")
        if made.owner is not None:
            self._class_rows(made.owner, draft)

    def _class_rows(self, inst: Inst, draft: Draft) -> None:
        """Rows of the class of a crew: where its configuration is."""
        module, site = inst.cls.module, inst.cls.module.sites.get(id(inst.cls.node), "")
        if not site:
            return
        node = module.node(self.report, site)
        node.mapped(draft, "the class of the crew", whole=False)
        for name in ("agents_config", "tasks_config"):
            place, path = node[name], inst.attributes.get(name)
            if not place.present:
                continue
            if not isinstance(path, str):
                place.manual("only running it would tell the file: give it under its usual name", draft)
            elif self._config(path, module) is not None:
                place.mapped(draft, f"{path} is read")
            else:
                told = self._missing.get(path, "")
                place.manual(f"the file {path} could not be read{f' ({told})' if told else ''}: give it too", draft)
        for name in ("mcp_server_params", "mcp_connect_timeout"):
            if node[name].present:
                node[name].manual("MCP servers: write a tool for each function that the agents use", draft)

    def _left(self, module: Module) -> None:
        """Agents and tasks that no crew has: agents by themselves, tasks as workflows."""
        mine = [made for made in self.evaluator.made if made.module is module and id(made) not in self.parts.used]
        tasks = [made for made in mine if made.kind in _TASKS]
        alone = [made for made in tasks if made.used]
        together = [made for made in tasks if not made.used]
        has_crews = any(made.kind == "Crew" and made.module is module for made in self.evaluator.made)
        for made in [*alone, *(together if has_crews else ())]:
            task = self.parts.task(made)
            self._build_tasks(module, [task], task.name, "a task without a crew: a workflow of one step")
        if together and not has_crews:
            parts = list(dict.fromkeys(self.parts.task(made) for made in together))
            told = "nothing that was read makes a crew of it: the tasks of the file in their order"
            self._build_tasks(module, parts, file_name(module.document.file), told)
        for made in mine:
            if made.kind == "Agent" and id(made) not in self.parts.used:
                build_agent(self.report, self.parts.agent(made), scope=file_name(module.document.file))

    def _build_tasks(self, module: Module, tasks: list[TaskPart], name: str, told: str) -> None:
        crew = Crew(name=name, node=self.report.read(module.document), tasks=tasks)
        for task in tasks:
            if task.agent is not None and task.agent not in crew.agents:
                crew.agents.append(task.agent)
        self.parts.name_apart(crew)
        draft = build_crew(self.report, crew)
        for task in tasks:
            task.node.defaulted(told, draft)

    # ------------------------------------------------------------------------------------------- rows

    def _rows(self, module: Module) -> None:
        """Rows for the keys of a module of which nothing was made."""
        if not module.document.data:
            return
        root = self.report.read(module.document)
        told = self.report.told(module.document)
        by_key = {site: node for node, site in _site_nodes(module)}
        for key, node in root.fields():
            if any(path[:1] == (key,) for path in told):
                continue
            self._left_over(node, by_key.get(key), module)

    def _left_over(self, node: Node, place: ast.AST | None, module: Module) -> None:
        if isinstance(place, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._method_row(node, place, module)
        elif isinstance(place, ast.ClassDef) and is_flow(module, place):
            node.manual("a flow in Python is code, which is never run: write a Workflow with a step for each method")
        elif isinstance(place, ast.ClassDef):
            node.dropped("the class makes no crew that could be read")
        elif isinstance(place, ast.Call) and isinstance(place.func, ast.Attribute) and place.func.attr in RUNS:
            node.dropped("runs what is made elsewhere: start the migrated resource with `kastra run`")
        else:
            node.dropped("no crew that was migrated uses it")

    def _method_row(self, node: Node, func: ast.FunctionDef | ast.AsyncFunctionDef, module: Module) -> None:
        marks = decorators(func)
        if marks & {"agent", "task", "llm", "tool", "crew"}:
            owner = next((inst for inst in self._owners() if func in inst.cls.node.body), None)
            value = self.evaluator.call(Func(module, func, owner, owner.cls.node.name), [], {}) if owner else None
            if isinstance(value, Made) and id(value) in self.parts.used:
                node.mapped(self.parts.node(value).key, "what it makes is migrated there")
                return
            tool = next(iter(tool_parts(self.evaluator, [value], node)), None) if "tool" in marks else None
            draft = self.report.made_tools.get(tool_key(tool)) if tool is not None else None
            if draft is not None:
                node.mapped(draft, "the tool that it makes")
                return
        for mark, reason in _HOOKS.items():
            if mark in marks:
                outcome = node.dropped if mark in ("cache_handler", "tool") else node.manual
                outcome(reason)
                return
        if marks & (CREW_DECORATORS - set(_HOOKS)):
            node.dropped("what it gives is read where it is used")
        else:
            node.manual("a method of a flow in Python: write it as a step of a Workflow by hand")

    def _owners(self) -> Iterable[Inst]:
        yield from self._instances.values()
        for made in self.evaluator.made:
            if made.owner is not None:
                yield made.owner

    def finish(self, others: Collection[tuple[str, int]]) -> None:
        """Rows for YAML files that were read and are no crew's; ``others`` are migrated by somebody else."""
        for key, config in self.configs.items():
            if key not in others and not self.has(config.node.document):
                for _, node in config.node.fields():
                    node.dropped("the program reads it, and no crew that was migrated uses it")

    def _config_rows(self) -> None:
        """Rows for the keys of YAML files that crews did not ask for."""
        for (file, index), config in self.configs.items():
            if not config.node.is_map or not self.has(config.node.document):
                continue
            for key, node in config.node.fields():
                if not any(used[:2] == (file, index) and used[2][:1] == (key,) for used in self.parts.configs):
                    node.dropped("no crew that was read uses it")


def _classes(body: list[ast.stmt]) -> Iterable[ast.ClassDef]:
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield statement


def _functions(
    body: list[ast.stmt],
) -> Iterable[tuple[ast.ClassDef | None, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Functions of a module and methods of its classes."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield None, statement
        elif isinstance(statement, ast.ClassDef):
            for inner in statement.body:
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield statement, inner
        elif isinstance(statement, (ast.If, ast.Try, ast.With)):
            yield from _functions(statement.body)


def _word(module: Module, call: ast.AST) -> str:
    if not isinstance(call, ast.Call):
        return ""
    last = module.dotted(call.func).rpartition(".")[2]
    if last in MAKERS:
        return last.lower()
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _site_nodes(module: Module) -> Iterable[tuple[ast.AST, str]]:
    for node in ast.walk(module.tree):
        if id(node) in module.sites:
            yield node, module.sites[id(node)]
