"""A file of Python as a document with keys: each call that makes something of a crew is an object under a dotted name.

Nothing is imported or run; the file is read as a syntax tree. Rows are then written as for any other document.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import attrs

from kastra_core.errors import ManifestError, Problem
from kastra_core.migration.report import Node, Report
from kastra_core.protocols.migrator import SourceDocument
from kastra_plugin_crewai.llms import MODEL_CLASSES
from kastra_plugin_crewai.model import Code
from kastra_plugin_crewai.py_values import source

__all__ = ["CREW_DECORATORS", "FLOW_DECORATORS", "Module", "decorators", "docstring", "is_flow", "parse"]

MAKERS = frozenset({"Agent", "ConditionalTask", "Crew", "Task"})
RUNS = frozenset(
    {
        "akickoff",
        "kickoff",
        "kickoff_async",
        "kickoff_for_each",
        "kickoff_for_each_async",
    }
)
CREW_DECORATORS = frozenset(
    {
        "after_kickoff",
        "agent",
        "before_kickoff",
        "cache_handler",
        "callback",
        "crew",
        "llm",
        "output_json",
        "output_pydantic",
        "task",
        "tool",
    }
)
"""Decorators of ``crewai.project`` that mark the methods of a crew."""
HOOKS = frozenset({"after_llm_call", "after_tool_call", "before_llm_call", "before_tool_call"})
FLOW_DECORATORS = frozenset({"human_feedback", "listen", "persist", "router", "start"})
_OPEN = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_DEEPEST = 250
"""Nesting of a tree that is read: deeper ones are no configuration."""


@attrs.define(eq=False)
class Module:
    """A file of Python."""

    document: SourceDocument
    """Its data are the tree of sites."""
    tree: ast.Module
    imports: dict[str, str] = attrs.field(factory=dict)
    """Local name -> dotted name, for what is imported anywhere in the file."""
    sites: dict[int, str] = attrs.field(factory=dict)
    """id of a call, method or class of the syntax tree -> its key."""
    names: dict[str, Any] = attrs.field(factory=dict)
    """Module-level names, once it was evaluated."""
    state: str = ""
    """"", running or done."""

    def site_of(self, call: ast.Call, word: str) -> str:
        """Key of a call; one that had no name gets one."""
        key = self.sites.get(id(call), "")
        if not key:
            _Sites(self, self.document.data, dict(self.document.lines)).add_call(call, word)
            key = self.sites[id(call)]
        return key

    def node(self, report: Report, *path: str | int) -> Node:
        """The node of a key, for rows."""
        found = report.read(self.document)
        for part in path:
            found = found[part]
        return found

    def dotted(self, expression: ast.expr) -> str:
        """The full name that a name or attribute stands for by the imports; "" for anything else."""
        parts: list[str] = []
        while isinstance(expression, ast.Attribute):
            parts.insert(0, expression.attr)
            expression = expression.value
        if not isinstance(expression, ast.Name):
            return ""
        return ".".join([self.imports.get(expression.id, expression.id), *parts])


def parse(document: SourceDocument) -> Module:
    """Read a file.

    Raises:
        ManifestError: it is not valid Python.
    """
    try:
        tree = _tree(document.text)
        _check_depth(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        told = f"this is not valid Python: {getattr(error, 'msg', error)}"
        raise ManifestError([Problem(told, file=document.file, line=line)]) from None
    data: dict[str, Any] = {}
    lines: dict[str, int] = {}
    module = Module(attrs.evolve(document, data=data, lines=lines), tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module.imports[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            for alias in node.names:
                joint = "" if package.endswith(".") else "."
                module.imports[alias.asname or alias.name] = f"{package}{joint}{alias.name}"
    try:
        _Sites(module, data, lines).block(tree.body, "")
    except RecursionError:
        told = "this is not valid Python: it is nested too deeply"
        raise ManifestError([Problem(told, file=document.file, line=1)]) from None
    return module


def _tree(text: str) -> ast.Module:
    """The syntax tree; the names that a template of a project leaves open (``{{crew_name}}``) stand for themselves."""
    try:
        return ast.parse(text)
    except SyntaxError:
        filled = _OPEN.sub(r"\1", text)
        if filled == text:
            raise
        try:
            return ast.parse(filled)
        except SyntaxError:
            pass
        raise


def _check_depth(tree: ast.AST) -> None:
    todo: list[tuple[ast.AST, int]] = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        todo.extend((child, depth + 1) for child in ast.iter_child_nodes(node))


def decorators(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Last words of the names of its decorators."""
    out = set()
    for one in node.decorator_list:
        target = one.func if isinstance(one, ast.Call) else one
        if isinstance(target, ast.Attribute):
            out.add(target.attr)
        elif isinstance(target, ast.Name):
            out.add(target.id)
    return out


def docstring(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Module) -> str:
    """First paragraph of a docstring as one line, "" for none."""
    return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())


class _Sites:
    """Finds the calls that matter and names them."""

    def __init__(self, module: Module, data: dict[str, Any], lines: dict[str, int]) -> None:
        self.module, self.data, self.lines = module, data, lines

    def block(self, body: list[ast.stmt], scope: str) -> None:
        for statement in body:
            self._statement(statement, scope)

    def _statement(self, statement: ast.stmt, scope: str) -> None:
        if isinstance(statement, ast.ClassDef):
            self._class(statement, scope)
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._function(statement, scope, ())
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if statement.value is not None:
                self._calls(statement.value, scope, _target_name(target), direct=True)
        elif isinstance(statement, ast.Return) and statement.value is not None:
            self._calls(statement.value, scope, "", direct=True)
        else:
            for part in _inner(statement):
                if isinstance(part, ast.expr):
                    self._calls(part, scope, "", direct=False)
                else:
                    self._statement(part, scope)

    def _class(self, node: ast.ClassDef, scope: str) -> None:
        name = f"{scope}.{node.name}" if scope else node.name
        marks = decorators(node)
        if "CrewBase" in marks or is_flow(self.module, node):
            self._add(node, name, {}, node.lineno)
            for statement in node.body:
                target = _config_target(statement)
                if target:
                    value = statement.value  # type: ignore[attr-defined]
                    self.data[name][target] = _literal(value)
                    self.lines[f"{name}.{target}"] = statement.lineno
        for statement in node.body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._function(statement, name, tuple(marks))
            else:
                self._statement(statement, name)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: str, marks: tuple[str, ...]) -> None:
        name = f"{scope}.{node.name}" if scope else node.name
        inner = scope if node.name == "__init__" and scope else name
        before = len(self.data)
        self.block(node.body, inner)
        of_crew = "CrewBase" in marks and decorators(node) & (CREW_DECORATORS | HOOKS)
        of_flow = decorators(node) & FLOW_DECORATORS
        if (of_crew or (of_flow and scope)) and not (len(self.data) > before and name in self.data):
            self._add(node, name, Code(source(node.args)) if not of_flow else {}, node.lineno)
            if of_flow:
                self._flow_marks(node, name)

    def _flow_marks(self, node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> None:
        for one in node.decorator_list:
            target = one.func if isinstance(one, ast.Call) else one
            word = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            if word in FLOW_DECORATORS:
                arguments = ", ".join(source(item) for item in one.args) if isinstance(one, ast.Call) else ""
                self.data[name][word] = Code(arguments)
                self.lines[f"{name}.{word}"] = one.lineno

    def _calls(self, expression: ast.expr, scope: str, target: str, *, direct: bool) -> None:
        """Name the calls in an expression; what stands in an argument of one that has a name belongs to it."""
        if isinstance(expression, ast.Call):
            word = self._word(expression)
            if word:
                self.add_call(expression, word, scope, target if direct else "", direct)
            for inner in (*expression.args, *(one.value for one in expression.keywords), expression.func):
                if word and inner is not expression.func and _is_model(self.module, inner):
                    continue  # a part of what it is an argument of
                self._calls(inner, scope, "", direct=False)
            return
        for child in ast.iter_child_nodes(expression):
            if isinstance(child, ast.expr):
                self._calls(child, scope, target, direct=direct and isinstance(expression, ast.Await))
            elif isinstance(child, ast.comprehension):
                self._calls(child.iter, scope, "", direct=False)

    def _word(self, call: ast.Call) -> str:
        dotted = self.module.dotted(call.func)
        last = dotted.rpartition(".")[2]
        if last in MAKERS and dotted.partition(".")[0] == "crewai":
            return last.lower()
        if last in MODEL_CLASSES:
            return "llm"
        attribute = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        return attribute if attribute in RUNS else ""

    def add_call(self, call: ast.Call, word: str, scope: str = "", target: str = "", direct: bool = False) -> None:
        """Add the key of a call with those of its arguments."""
        if word in RUNS:
            name = f"{scope}.{word}" if scope else word
        elif target:
            name = f"{scope}.{target}" if scope else target
        elif direct and scope:
            name = scope
        else:
            name = f"{scope}.{word}" if scope else word
        values: dict[str, Any] = {}
        key = self._add(call, name, values, call.lineno)
        for at, argument in enumerate(call.args):
            values[f"({at + 1})"] = _literal(argument)
            self.lines[f"{key}.({at + 1})"] = argument.lineno
        for one in call.keywords:
            word = one.arg or f"**{source(one.value)}"
            values[word] = _keyword(self.module, one.value)
            self._note_lines(f"{key}.{word}", one.value, values[word])

    def _note_lines(self, key: str, value: ast.expr, data: Any) -> None:
        self.lines[key] = value.lineno
        if isinstance(value, ast.Call) and isinstance(data, dict):
            for one in value.keywords:
                if one.arg:
                    self.lines[f"{key}.{one.arg}"] = one.value.lineno
        elif isinstance(value, ast.Dict) and isinstance(data, dict):
            for name, item in zip(value.keys, value.values, strict=True):
                if isinstance(name, ast.Constant):
                    self.lines[f"{key}.{name.value!s}"] = item.lineno
        elif isinstance(value, (ast.List, ast.Tuple)) and isinstance(data, list):
            for at, item in enumerate(value.elts):
                self.lines[f"{key}[{at}]"] = item.lineno

    def _add(self, node: ast.AST, name: str, value: Any, line: int) -> str:
        key, number = name, 1
        while key in self.data:
            number += 1
            key = f"{name}_{number}"
        self.data[key] = value
        self.lines[key] = line
        self.module.sites[id(node)] = key
        return key


def is_flow(module: Module, node: ast.ClassDef) -> bool:
    """Whether a class is a flow of CrewAI."""
    for base in node.bases:
        target = base.value if isinstance(base, ast.Subscript) else base
        dotted = module.dotted(target)
        if dotted.partition(".")[0] == "crewai" and dotted.endswith("Flow"):
            return True
    return False


def _config_target(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        name = statement.targets[0].id
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        name = statement.target.id
    else:
        return ""
    return name if name in ("agents_config", "tasks_config", "mcp_server_params", "mcp_connect_timeout") else ""


def _target_name(target: ast.expr) -> str:
    if isinstance(target, ast.Name):
        return target.id
    return target.attr if isinstance(target, ast.Attribute) else ""


def _inner(statement: ast.stmt) -> Iterator[ast.expr | ast.stmt]:
    """Expressions and statements below a statement."""
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, (ast.expr, ast.stmt)):
            yield child
        elif isinstance(child, (ast.ExceptHandler, ast.match_case)):
            yield from child.body
        elif isinstance(child, ast.withitem):
            yield child.context_expr


def _literal(value: ast.expr) -> Any:
    """A literal as JSON, else its text as :class:`Code`."""
    if isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, (str, bool, int, float))):
        return value.value
    if isinstance(value, (ast.List, ast.Tuple)):
        return [_literal(item) for item in value.elts]
    if isinstance(value, ast.Dict) and all(isinstance(key, ast.Constant) for key in value.keys):
        return {
            str(key.value): _literal(item)
            for key, item in zip(value.keys, value.values, strict=True)
            if isinstance(key, ast.Constant)
        }
    return Code(source(value))


def _keyword(module: Module, value: ast.expr) -> Any:
    """As :func:`_literal`; the call of a model is the object of its arguments."""
    if isinstance(value, ast.Call) and _is_model(module, value):
        return {one.arg or f"**{source(one.value)}": _literal(one.value) for one in value.keywords}
    return _literal(value)


def _is_model(module: Module, value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and module.dotted(value.func).rpartition(".")[2] in MODEL_CLASSES
