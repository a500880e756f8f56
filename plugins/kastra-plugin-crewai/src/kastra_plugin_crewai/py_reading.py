"""What the parts of the evaluator share: scopes, and what each part asks of the others."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from typing import Any

import attrs

from kastra_plugin_crewai.py_module import Module
from kastra_plugin_crewai.py_values import Cls, Config, Func, Inst, Made

__all__ = ["Reading", "ReturnedError", "Scope"]

_MOST_PASSES = 200
"""Items of a loop that are followed one by one."""
_MOST_PASSES_IN_ALL = 5_000
"""When these are spent, each loop is followed once."""


class ReturnedError(Exception):
    """A function returns."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


@attrs.define
class Scope:
    """Names in sight of a piece of code."""

    module: Module
    names: dict[str, Any]
    owner: Inst | None = None
    inside: str = ""
    """Qualified name of the class or function."""


class Reading(ABC):
    """A part of the evaluator, with what the other parts do for it."""

    made: list[Made]
    """All that was made, in order."""
    passes: int
    """Of all loops so far."""

    def may_loop(self, passes: int) -> bool:
        """Whether a loop may be followed item by item; counts its passes."""
        if passes > _MOST_PASSES or self.passes + passes > _MOST_PASSES_IN_ALL:
            return False
        self.passes += passes
        return True

    @abstractmethod
    def value(self, expression: ast.expr, scope: Scope) -> Any:
        """What an expression is worth."""

    @abstractmethod
    def block(self, body: list[ast.stmt], scope: Scope) -> None:
        """Follow statements."""

    @abstractmethod
    def statement(self, statement: ast.stmt, scope: Scope) -> None:
        """Follow a statement."""

    @abstractmethod
    def bind(self, target: ast.expr, value: Any, scope: Scope) -> None:
        """Give a value to the target of an assignment."""

    @abstractmethod
    def imported(self, dotted: str, module: Module) -> Any:
        """What an import gives: a module of the project, else a name of another package."""

    @abstractmethod
    def module(self, module: Module) -> dict[str, Any]:
        """Read the statements of a module, once. Return its names."""

    @abstractmethod
    def load(self, dotted: str, module: Module) -> Module | None:
        """The module that an import means; None: it is not of the project."""

    @abstractmethod
    def config(self, path: str, module: Module) -> Config | None:
        """The YAML file that a module names; None: there is none."""

    @abstractmethod
    def call(self, func: Func, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Follow a function of the project; missing arguments are unknown."""

    @abstractmethod
    def instance(self, cls: Cls, arguments: list[Any] | None = None, keywords: dict[str, Any] | None = None) -> Inst:
        """Make an object of a class of the project."""

    @abstractmethod
    def bases(self, cls: Cls) -> list[Cls]:
        """The class and the classes of the project that it is made of, nearest first."""

    @abstractmethod
    def method(self, cls: Cls, name: str) -> Func | None:
        """A method by name, also of the classes it is made of."""

    @abstractmethod
    def marked(self, inst: Inst, word: str) -> list[Func]:
        """Methods of an object with a decorator, in order."""

    @abstractmethod
    def attribute(self, owner: Any, name: str) -> Any:
        """An attribute; None where nothing is known of it."""

    @abstractmethod
    def of_list(self, expression: ast.List | ast.Tuple | ast.Set, scope: Scope) -> list[Any]:
        """The items of a list."""

    @abstractmethod
    def of_call(self, call: ast.Call, scope: Scope) -> Any:
        """What a call gives."""
