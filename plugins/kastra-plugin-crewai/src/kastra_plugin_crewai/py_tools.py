"""Values of ``tools=[...]`` as tools by name."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration.names import identifier
from kastra_core.migration.report import Node
from kastra_plugin_crewai.model import Code, ToolPart
from kastra_plugin_crewai.py_eval import Evaluator, Scope
from kastra_plugin_crewai.py_module import decorators, docstring
from kastra_plugin_crewai.py_schema import arguments_schema, class_schema
from kastra_plugin_crewai.py_values import Cls, Config, Ext, Func, Inst, Made, Spread, Unknown, source
from kastra_plugin_crewai.tools import SET_SCHEMA

__all__ = ["literal", "tool_parts"]

_ONLY_RUNNING = "which tools these are, only running would tell: one tool stands for all of them"


def tool_parts(evaluator: Evaluator, value: Any, node: Node) -> list[ToolPart]:
    """The tools of a list; ``node`` is that of the list, whose items get the rows."""
    items = value if isinstance(value, list) else [Spread(value)]
    places = node.items()
    out: list[ToolPart] = []
    for at, item in enumerate(items):
        place = places[at] if len(places) == len(items) else node
        out += _parts(evaluator, item, place)
    return out


def _parts(evaluator: Evaluator, item: Any, node: Node) -> Iterable[ToolPart]:
    if isinstance(item, list):
        for one in item:
            yield from _parts(evaluator, one, node)
    elif isinstance(item, Spread):
        yield _set_of(item.value, node)
    elif isinstance(item, Made):
        where = f"{item.module.document.file}:{item.call.lineno}"
        settings = {key: literal(one) for key, one in item.keywords.items()}
        settings = {f"({at + 1})": literal(one) for at, one in enumerate(item.arguments)} | settings
        yield ToolPart(name=item.what.last, node=node, origin=f"{item.what.dotted}, {where}", settings=settings)
    elif isinstance(item, Inst):
        settings = {key: literal(one) for key, one in item.settings.items()}
        yield attrs.evolve(_of_class(evaluator, item.cls, node), settings=settings)
    elif isinstance(item, Cls):
        yield _of_class(evaluator, item, node)
    elif isinstance(item, Func):
        yield _of_function(evaluator, item, node)
    elif isinstance(item, Ext):
        yield ToolPart(name=item.last, node=node, origin=item.dotted)
    elif isinstance(item, (str, Config)):
        name = item if isinstance(item, str) else str(item.node.value)
        yield ToolPart(name=name, node=node)
    elif item is not None:
        yield _single(item, node)


def _of_class(evaluator: Evaluator, cls: Cls, node: Node) -> ToolPart:
    """A subclass of BaseTool: its description, and the arguments of ``args_schema`` or ``_run``."""
    fields: dict[str, ast.expr] = {}
    for one in reversed(evaluator.bases(cls)):
        for statement in one.node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
                fields[statement.target.id] = statement.value
            elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                fields[statement.targets[0].id] = statement.value
    scope = Scope(cls.module, evaluator.module(cls.module))
    said = evaluator.value(fields["description"], scope) if "description" in fields else None
    schema: JsonObject | None = None
    if "args_schema" in fields:
        found = evaluator.value(fields["args_schema"], scope)
        schema = class_schema(evaluator, found) if isinstance(found, Cls) else None
    run = evaluator.method(cls, "_run") or evaluator.method(cls, "run")
    if schema is None and run is not None:
        schema = arguments_schema(evaluator, run)
    return ToolPart(
        name=cls.node.name,
        node=node,
        description=said if isinstance(said, str) else docstring(cls.node),
        schema=schema,
        origin=f"class {cls.node.name}, {cls.module.document.file}:{cls.node.lineno}",
    )


def _of_function(evaluator: Evaluator, func: Func, node: Node) -> ToolPart:
    """A function: one that is decorated as a tool of a crew class gives the tool, others are it."""
    if (
        isinstance(func.owner, Inst)
        and "tool" in decorators(func.node)
        and "CrewBase" in decorators(func.owner.cls.node)
    ):
        value = evaluator.call(func, [], {})
        if value is not None and not isinstance(value, (Unknown, Func)):
            return next(iter(_parts(evaluator, value, node)), _single(Unknown(func.node.name), node))
    return ToolPart(
        name=func.node.name,
        node=node,
        description=docstring(func.node),
        schema=arguments_schema(evaluator, func),
        origin=f"function {func.node.name}, {func.module.document.file}:{func.node.lineno}",
    )


def _set_of(value: Any, node: Node) -> ToolPart:
    told = literal(value)
    name = value.what.last if isinstance(value, Made) else _name(str(told))
    return ToolPart(
        name=name,
        node=node,
        description=f"Calls the tools of {_short(str(told))}.",
        schema=SET_SCHEMA,
        origin=f"{_short(str(told))}, {node.document.file}:{node.line}",
        why=_ONLY_RUNNING,
    )


def _single(value: Any, node: Node) -> ToolPart:
    told = str(literal(value))
    name = value.name if isinstance(value, Unknown) and value.name else _name(told)
    return ToolPart(name=name, node=node, origin=f"{_short(told)}, {node.document.file}:{node.line}")


def _name(text: str) -> str:
    """A name for an expression: ``self.toolkit.get_tools()`` is toolkit."""
    bare = text.partition("(")[0].removeprefix("self.")
    first, _, last = bare.rpartition(".")
    return identifier(first if last.startswith("get") and first else bare, "tools")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) < 80 else f"{line[:76]} ..."


def literal(value: Any) -> Any:
    """A value as JSON, with :class:`Code` where only running would tell."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, list):
        return [literal(item) for item in value]
    if isinstance(value, dict):
        return {str(key): literal(item) for key, item in value.items()}
    if isinstance(value, Config):
        return value.node.value
    if isinstance(value, Spread):
        return literal(value.value)
    if isinstance(value, Unknown):
        return Code(value.text)
    if isinstance(value, Made):
        return Code(source(value.call))
    if isinstance(value, (Cls, Func)):
        return Code(value.node.name)
    if isinstance(value, Inst):
        return Code(f"{value.cls.node.name}()")
    if isinstance(value, Ext):
        return Code(value.dotted)
    return Code(str(value))
