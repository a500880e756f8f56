"""Follows the syntax trees of a project as far as they tell what is made: assignments, calls of its functions, lists.

This is reading, not running: nothing is imported, nothing outside the trees is called, and what is no literal and no
object of the project stays unknown. The number of calls and passes is bounded.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable
from typing import Any

import attrs

from kastra_plugin_crewai.py_calls import Calls
from kastra_plugin_crewai.py_expressions import Expressions
from kastra_plugin_crewai.py_module import Module, decorators
from kastra_plugin_crewai.py_questions import targets
from kastra_plugin_crewai.py_reading import ReturnedError, Scope
from kastra_plugin_crewai.py_statements import Statements
from kastra_plugin_crewai.py_values import Cls, Config, Func, Inst, Made, Unknown

__all__ = ["Evaluator", "Scope"]

_DEEPEST = 40
_MOST_CALLS = 5_000


class Evaluator(Statements, Expressions, Calls):
    """Reads modules.

    Args:
        load: gives the module of a dotted name as an import of a module has it; None: it is not of the project.
        config: gives a YAML file that a module names; None: there is none.
    """

    def __init__(
        self, load: Callable[[str, Module], Module | None], config: Callable[[str, Module], Config | None]
    ) -> None:
        self._loads, self._configs = load, config
        self.made: list[Made] = []
        """All that was made, in order."""
        self._memo: dict[tuple[int, int], tuple[Func, Any]] = {}
        self.passes = 0
        self._calls = 0
        self._depth = 0

    def load(self, dotted: str, module: Module) -> Module | None:
        """The module that an import means; None: it is not of the project."""
        return self._loads(dotted, module)

    def config(self, path: str, module: Module) -> Config | None:
        """The YAML file that a module names; None: there is none."""
        return self._configs(path, module)

    def module(self, module: Module) -> dict[str, Any]:
        """Read the statements of a module, once. Return its names."""
        if not module.state:
            module.state = "running"
            module.names["__name__"] = "__main__"
            scope = Scope(module, module.names)
            for statement in module.tree.body:
                with contextlib.suppress(RecursionError, ReturnedError):  # the others hold
                    self.statement(statement, scope)
            module.state = "done"
        return module.names

    def call_unknown(self, func: Func) -> Any:
        """Call a function with arguments that nobody knows."""
        return self.call(func, [], {})

    def instance(self, cls: Cls, arguments: list[Any] | None = None, keywords: dict[str, Any] | None = None) -> Inst:
        """Make an object of a class of the project."""
        arguments, keywords = arguments or [], keywords or {}
        settings = {f"({at + 1})": value for at, value in enumerate(arguments)} | keywords
        made = Inst(cls, settings=settings)
        for one in reversed(self.bases(cls)):
            scope = Scope(one.module, dict(self.module(one.module)), made, one.node.name)
            for statement in one.node.body:
                if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                    self.statement(statement, scope)
                    for name in targets(statement):
                        if name in scope.names:
                            made.attributes[name] = scope.names[name]
        init = self.method(cls, "__init__")
        if init is not None:
            self.call(attrs.evolve(init, owner=made), arguments, keywords)
        elif keywords:
            made.attributes.update(keywords)
        return made

    def bases(self, cls: Cls) -> list[Cls]:
        """The class and the classes of the project that it is made of, nearest first."""
        out, todo = [cls], list(cls.node.bases)
        while todo and len(out) < _DEEPEST:
            found = self.value(todo.pop(0), Scope(cls.module, self.module(cls.module)))
            if isinstance(found, Cls) and all(one.node is not found.node for one in out):
                out.append(found)
                todo.extend(found.node.bases)
        return out

    def method(self, cls: Cls, name: str) -> Func | None:
        """A method by name, also of the classes it is made of."""
        for one in self.bases(cls):
            for statement in one.node.body:
                if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and statement.name == name:
                    return Func(one.module, statement, cls, one.node.name)
        return None

    def marked(self, inst: Inst, word: str) -> list[Func]:
        """Methods of an object with a decorator, in order."""
        return [
            Func(one.module, statement, inst, one.node.name)
            for one in self.bases(inst.cls)[:1]
            for statement in one.node.body
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and word in decorators(statement)
        ]

    def call(self, func: Func, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Follow a function of the project; missing arguments are unknown."""
        key = (id(func.node), id(func.owner))
        plain = not arguments and not keywords
        if plain and key in self._memo:
            return self._memo[key][1]
        self._calls += 1
        if self._depth >= _DEEPEST or self._calls > _MOST_CALLS:
            return Unknown(f"{func.node.name}()")
        names = self._bound(func, arguments, keywords)
        scope = Scope(
            func.module,
            {**self.module(func.module), **names},
            func.owner if isinstance(func.owner, Inst) else None,
            func.inside,
        )
        self._depth += 1
        before = len(self.made)
        try:
            self.block(func.node.body, scope)
            value: Any = None
        except ReturnedError as returned:
            value = returned.value
        except RecursionError:
            value = Unknown(f"{func.node.name}()")
        finally:
            self._depth -= 1
        if isinstance(value, Made) and not value.holder and value in self.made[before:]:
            value.holder = func.node.name
        if plain:
            self._memo[key] = (func, value)  # the function is kept, so that its ids stay its own
        return value

    def _bound(self, func: Func, arguments: list[Any], keywords: dict[str, Any]) -> dict[str, Any]:
        given, spec = list(arguments), func.node.args
        parameters = [*spec.posonlyargs, *spec.args]
        names: dict[str, Any] = {}
        static = bool(decorators(func.node) & {"staticmethod"}) or not func.inside
        if not static and parameters:
            names[parameters.pop(0).arg] = func.owner
        defaults = dict(zip([one.arg for one in reversed(parameters)], reversed(spec.defaults), strict=False))
        defaults |= {
            one.arg: value for one, value in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if value is not None
        }
        for one in (*parameters, *spec.kwonlyargs):
            if one in parameters and given:
                value = given.pop(0)
            elif one.arg in keywords:
                value = keywords[one.arg]
            elif one.arg in defaults:
                value = self.value(defaults[one.arg], Scope(func.module, self.module(func.module)))
                value = Unknown(one.arg) if value is None else value
            else:
                value = Unknown(one.arg)
            names[one.arg] = value.named(one.arg) if isinstance(value, Unknown) else value
        if spec.vararg is not None:
            names[spec.vararg.arg] = given
        if spec.kwarg is not None:
            names[spec.kwarg.arg] = {key: item for key, item in keywords.items() if key not in names}
        return names
