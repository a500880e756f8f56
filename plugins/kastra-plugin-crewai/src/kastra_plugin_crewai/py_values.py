"""What expressions of Python are worth, as far as reading tells: literals, objects of CrewAI, classes and functions."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.migration.names import identifier
from kastra_core.migration.report import Node

if TYPE_CHECKING:
    from kastra_plugin_crewai.py_module import Module

__all__ = ["Cls", "Config", "Ext", "Func", "Inst", "Made", "Place", "Spread", "Unknown", "name_of", "source"]


@attrs.frozen(eq=False)
class Unknown:
    """What only running would tell."""

    text: str
    """The expression."""
    name: str = ""
    """Of the parameter or variable that holds it: names the input that stands for it."""

    def named(self, name: str) -> Unknown:
        """The same under the name of what holds it first."""
        return self if self.name or not name else attrs.evolve(self, name=name)


@attrs.frozen(eq=False)
class Spread:
    """Items of a list that are not known: ``[a] + f()``, ``[a, *f()]``."""

    value: Any


@attrs.frozen
class Ext:
    """A name of another package ("crewai_tools.SerperDevTool")."""

    dotted: str

    @property
    def last(self) -> str:
        return self.dotted.rpartition(".")[2]


@attrs.frozen
class Place:
    """A path of which only the end is known: ``Path(__file__).parent / "config" / "agents.yaml"``."""

    tail: str


@attrs.frozen(eq=False)
class Config:
    """A file of YAML that was loaded, or a part of it."""

    node: Node


@attrs.frozen(eq=False)
class Cls:
    module: Module
    node: ast.ClassDef


@attrs.frozen(eq=False)
class Func:
    module: Module
    node: ast.FunctionDef | ast.AsyncFunctionDef
    owner: Inst | Cls | None = None
    """What it is bound to."""
    inside: str = ""
    """Qualified name of the class that it stands in."""


@attrs.define(eq=False)
class Inst:
    """An object of a class of the project."""

    cls: Cls
    attributes: dict[str, Any] = attrs.field(factory=dict)
    settings: dict[str, Any] = attrs.field(factory=dict)
    """What it was made with."""


@attrs.define(eq=False)
class Made:
    """What a call of another package gives: an Agent, a Task, a Crew, a model, a tool."""

    what: Ext
    module: Module
    call: ast.Call
    arguments: list[Any]
    keywords: dict[str, Any]
    owner: Inst | None = None
    """Whose method makes it."""
    holder: str = ""
    """Name of the method or variable that holds it first."""
    inputs: list[tuple[str, Module, Any]] = attrs.field(factory=list)
    """Of a crew: what it is run with, with the sites of the calls."""
    notes: list[str] = attrs.field(factory=list)
    used: bool = False
    """Of a task: it is carried out by itself, without a crew."""

    @property
    def kind(self) -> str:
        """Agent, Task, Crew, LLM ... of CrewAI; "" for what others make."""
        package = self.what.dotted.partition(".")[0]
        return self.what.last if package == "crewai" else ""


def source(expression: ast.AST) -> str:
    """The text of an expression; "..." for one that is nested too deeply."""
    try:
        return ast.unparse(expression)
    except RecursionError:
        return "..."


def name_of(expression: ast.expr) -> str:
    """A name for the input that stands for an expression."""
    if isinstance(expression, ast.Name):
        return expression.id
    if isinstance(expression, ast.Attribute):
        return expression.attr
    if isinstance(expression, ast.Subscript) and isinstance(expression.slice, ast.Constant):
        return identifier(str(expression.slice.value))
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Attribute) and not expression.args:
        return name_of(
            expression.func.value if expression.func.attr in ("strip", "lower", "upper") else expression.func
        )
    return identifier(source(expression)[:40])
