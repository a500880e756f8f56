"""Expressions of Python: what they are worth, as far as reading tells."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from typing import Any

import attrs

from kastra_plugin_crewai.py_module import Module, decorators
from kastra_plugin_crewai.py_questions import LONGEST, as_text, bounded, inner_class, is_known, targets, unknown
from kastra_plugin_crewai.py_reading import Reading, Scope
from kastra_plugin_crewai.py_values import Cls, Config, Ext, Inst, Made, Place, Spread, Unknown, source

__all__ = ["BUILTINS", "Expressions"]

BUILTINS: frozenset[str] = frozenset(name for name in vars(builtins) if name.islower()) | {"cast"}
"""Functions that every module has, and one that gives back what it is given."""


class Expressions(Reading):
    """Values: ``_of_KIND`` for each kind of the syntax tree; of others nothing is known."""

    def value(self, expression: ast.expr, scope: Scope) -> Any:
        """What an expression is worth."""
        if isinstance(expression, ast.Call):
            return bounded(self.of_call(expression, scope), expression)
        if isinstance(expression, (ast.List, ast.Tuple, ast.Set)):
            return bounded(self.of_list(expression, scope), expression)
        method = getattr(self, f"_of_{type(expression).__name__.lower()}", None)
        return unknown(expression) if method is None else bounded(method(expression, scope), expression)

    def _of_constant(self, expression: ast.Constant, scope: Scope) -> Any:
        value = expression.value
        return value if value is None or isinstance(value, (str, bool, int, float)) else unknown(expression)

    def _of_name(self, expression: ast.Name, scope: Scope) -> Any:
        if expression.id in scope.names:
            return scope.names[expression.id]
        if expression.id == "__file__":
            return Place("")
        if expression.id in scope.module.imports:
            # A function is read before its module came to the import, or the import stands in another function.
            return self.imported(scope.module.imports[expression.id], scope.module)
        return unknown(expression) if expression.id not in BUILTINS else Ext(expression.id)

    def _of_attribute(self, expression: ast.Attribute, scope: Scope) -> Any:
        owner = self.value(expression.value, scope)
        found = self.attribute(owner, expression.attr)
        return unknown(expression) if found is None else found

    def attribute(self, owner: Any, name: str) -> Any:
        """An attribute; None where nothing is known of it."""
        if isinstance(owner, Inst):
            return self._of_inst(owner, name)
        if isinstance(owner, Cls):
            inner = inner_class(owner, name)
            method = inner or self.method(owner, name)
            if method is not None:
                return method
            for one in self.bases(owner):
                for statement in one.node.body:
                    if name in targets(statement):
                        value = statement.value  # type: ignore[attr-defined]
                        return self.value(value, Scope(one.module, self.module(one.module))) if value else None
            return None
        if isinstance(owner, Module):
            return self.module(owner).get(name)
        if isinstance(owner, Ext):
            return Ext(f"{owner.dotted}.{name}")
        if isinstance(owner, Made) and name in owner.keywords:
            return owner.keywords[name]
        if isinstance(owner, Place) and name in ("parent", "parents"):
            return Place("")
        return None

    def _of_inst(self, owner: Inst, name: str) -> Any:
        if "CrewBase" in decorators(owner.cls.node):
            found = self._of_crew_base(owner, name)
            if found is not None:
                return found
        if name in owner.attributes:
            return owner.attributes[name]
        method = self.method(owner.cls, name)
        if method is None:
            return inner_class(owner.cls, name)
        bound = attrs.evolve(method, owner=owner)
        return self.call(bound, [], {}) if "property" in decorators(method.node) else bound

    def _of_crew_base(self, owner: Inst, name: str) -> Any:
        """What the decorator gives a class: its configuration, and all that its marked methods make."""
        if name in ("agents_config", "tasks_config"):
            path = owner.attributes.get(name, f"config/{name.partition('_')[0]}.yaml")
            if isinstance(path, str):
                return self.config(path, owner.cls.module) or Unknown(f"self.{name}")
            return path
        if name in ("agents", "tasks"):
            return [self.call(func, [], {}) for func in self.marked(owner, name.removesuffix("s"))]
        return None

    def _of_joinedstr(self, expression: ast.JoinedStr, scope: Scope) -> Any:
        out: list[str] = []
        for part in expression.values:
            if sum(map(len, out)) > LONGEST:
                return unknown(expression)
            if isinstance(part, ast.Constant):
                out.append(str(part.value))
            elif isinstance(part, ast.FormattedValue):
                out.append(as_text(self.value(part.value, scope), part.value))
        return "".join(out)

    def of_list(self, expression: ast.List | ast.Tuple | ast.Set, scope: Scope) -> list[Any]:
        out: list[Any] = []
        for item in expression.elts:
            if isinstance(item, ast.Starred):
                value = self.value(item.value, scope)
                out.extend(value if isinstance(value, list) else [Spread(value)])
            else:
                out.append(self.value(item, scope))
        return out

    def _of_dict(self, expression: ast.Dict, scope: Scope) -> Any:
        out: dict[Any, Any] = {}
        for key, item in zip(expression.keys, expression.values, strict=True):
            value = self.value(item, scope)
            name = self.value(key, scope) if key is not None else None
            if key is None and isinstance(value, dict):
                out.update(value)
            elif isinstance(name, (str, int)):
                out[name] = value
        return out

    def _of_subscript(self, expression: ast.Subscript, scope: Scope) -> Any:
        owner, key = self.value(expression.value, scope), self.value(expression.slice, scope)
        if isinstance(owner, Config) and isinstance(key, (str, int)):
            return Config(owner.node[key])
        if isinstance(owner, dict) and isinstance(key, (str, int)) and key in owner:
            return owner[key]
        if isinstance(owner, list) and isinstance(key, int) and -len(owner) <= key < len(owner):
            return owner[key]
        return unknown(expression)

    def _of_binop(self, expression: ast.BinOp, scope: Scope) -> Any:
        left, right = self.value(expression.left, scope), self.value(expression.right, scope)
        if isinstance(expression.op, ast.Add):
            if isinstance(left, list) or isinstance(right, list):
                items = [one if isinstance(one, list) else [Spread(one)] for one in (left, right)]
                return [*items[0], *items[1]]
            if isinstance(left, str) or isinstance(right, str):
                return as_text(left, expression.left) + as_text(right, expression.right)
        if isinstance(expression.op, ast.Div) and isinstance(right, str):
            if isinstance(left, Place):
                return Place(f"{left.tail}/{right}".lstrip("/"))
            if isinstance(left, Unknown):
                return Place(right)
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if numbers and isinstance(expression.op, (ast.Add, ast.Sub, ast.Mult)):
            return _reckoned(expression.op, left, right)
        return unknown(expression)

    def _of_boolop(self, expression: ast.BoolOp, scope: Scope) -> Any:
        is_or = isinstance(expression.op, ast.Or)
        value: Any = None
        for item in expression.values:
            value = self.value(item, scope)
            if not is_known(value):
                return value
            if bool(value) == is_or:
                return value
        return value

    def _of_unaryop(self, expression: ast.UnaryOp, scope: Scope) -> Any:
        value = self.value(expression.operand, scope)
        if isinstance(expression.op, ast.Not) and is_known(value):
            return not value
        if isinstance(expression.op, ast.USub) and isinstance(value, (int, float)):
            return -value
        return unknown(expression)

    def _of_compare(self, expression: ast.Compare, scope: Scope) -> Any:
        left, right = self.value(expression.left, scope), self.value(expression.comparators[0], scope)
        if len(expression.ops) == 1 and is_known(left) and is_known(right):
            if isinstance(expression.ops[0], (ast.Eq, ast.Is)):
                return left == right
            if isinstance(expression.ops[0], (ast.NotEq, ast.IsNot)):
                return left != right
        return unknown(expression)

    def _of_ifexp(self, expression: ast.IfExp, scope: Scope) -> Any:
        test = self.value(expression.test, scope)
        if is_known(test):
            return self.value(expression.body if test else expression.orelse, scope)
        body, other = self.value(expression.body, scope), self.value(expression.orelse, scope)
        return body if isinstance(body, Made) else other if isinstance(other, Made) else unknown(expression)

    def _of_await(self, expression: ast.Await, scope: Scope) -> Any:
        return self.value(expression.value, scope)

    def _of_namedexpr(self, expression: ast.NamedExpr, scope: Scope) -> Any:
        value = self.value(expression.value, scope)
        self.bind(expression.target, value, scope)
        return value

    def _of_listcomp(self, expression: ast.ListComp | ast.GeneratorExp | ast.SetComp, scope: Scope) -> Any:
        return self._each(expression.generators, scope, lambda inner: self.value(expression.elt, inner), expression)

    _of_generatorexp = _of_setcomp = _of_listcomp

    def _of_dictcomp(self, expression: ast.DictComp, scope: Scope) -> Any:
        pairs = self._each(
            expression.generators,
            scope,
            lambda inner: (self.value(expression.key, inner), self.value(expression.value, inner)),
            expression,
        )
        if not isinstance(pairs, list):
            return pairs
        return {pair[0]: pair[1] for pair in pairs if isinstance(pair, tuple) and isinstance(pair[0], (str, int))}

    def _each(
        self, parts: list[ast.comprehension], scope: Scope, give: Callable[[Scope], Any], expression: ast.expr
    ) -> Any:
        items = self.value(parts[0].iter, scope)
        known = len(parts) == 1 and isinstance(items, (list, dict)) and self.may_loop(len(items))
        if not known or any(isinstance(item, Spread) for item in items):
            inner = attrs.evolve(scope, names=dict(scope.names))
            for part in parts:
                self.bind(part.target, Unknown(source(part.target)), inner)
            return [Spread(give(inner))] if not isinstance(expression, ast.DictComp) else unknown(expression)
        out = []
        for item in items:
            inner = attrs.evolve(scope, names=dict(scope.names))
            self.bind(parts[0].target, item, inner)
            tests = [self.value(test, inner) for test in parts[0].ifs]
            if all(test is True or not is_known(test) for test in tests):
                out.append(give(inner))
        return out


def _reckoned(op: ast.operator, left: float, right: float) -> float:
    if isinstance(op, ast.Add):
        return left + right
    return left - right if isinstance(op, ast.Sub) else left * right
