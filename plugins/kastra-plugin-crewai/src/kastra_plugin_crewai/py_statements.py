"""Statements of Python, followed as far as reading tells."""

from __future__ import annotations

import ast
from typing import Any

from kastra_plugin_crewai.py_module import Module
from kastra_plugin_crewai.py_questions import is_crewai, is_known
from kastra_plugin_crewai.py_reading import Reading, ReturnedError, Scope
from kastra_plugin_crewai.py_values import Cls, Ext, Func, Inst, Made, Spread, Unknown, source

__all__ = ["Statements"]


class Statements(Reading):
    """Follows statements: ``_on_KIND`` for each kind of the syntax tree; others do nothing here."""

    def block(self, body: list[ast.stmt], scope: Scope) -> None:
        for statement in body:
            self.statement(statement, scope)

    def statement(self, statement: ast.stmt, scope: Scope) -> None:
        method = getattr(self, f"_on_{type(statement).__name__.lower()}", None)
        if method is not None:
            method(statement, scope)

    def _on_assign(self, statement: ast.Assign, scope: Scope) -> None:
        value = self.value(statement.value, scope)
        for target in statement.targets:
            self.bind(target, value, scope)

    def _on_annassign(self, statement: ast.AnnAssign, scope: Scope) -> None:
        if statement.value is not None:
            self.bind(statement.target, self.value(statement.value, scope), scope)

    def _on_augassign(self, statement: ast.AugAssign, scope: Scope) -> None:
        joint = ast.BinOp(left=_as_load(statement.target), op=statement.op, right=statement.value)
        self.bind(statement.target, self.value(ast.copy_location(joint, statement), scope), scope)

    def _on_expr(self, statement: ast.Expr, scope: Scope) -> None:
        self.value(statement.value, scope)

    def _on_return(self, statement: ast.Return, scope: Scope) -> None:
        raise ReturnedError(self.value(statement.value, scope) if statement.value is not None else None)

    def _on_if(self, statement: ast.If, scope: Scope) -> None:
        test = self.value(statement.test, scope)
        if is_known(test):
            self.block(statement.body if test else statement.orelse, scope)
            return
        before, where = dict(scope.names), f"{scope.module.document.file}:{statement.lineno}"
        at = len(self.made)
        try:
            self.block(statement.body, scope)
        finally:
            for made in self.made[at:]:
                made.notes.append(f"made under a condition that only running would tell ({where})")
        after, scope.names = scope.names, before
        try:
            self.block(statement.orelse, scope)
        finally:
            # What the first branch says holds; the second one adds what only it has.
            before.update(after)
            scope.names = before

    def _on_for(self, statement: ast.For, scope: Scope) -> None:
        items = self.value(statement.iter, scope)
        known = list(items) if isinstance(items, (list, dict)) else None
        if known is None or not self.may_loop(len(known)) or any(isinstance(item, Spread) for item in known):
            known = [Unknown(source(statement.target))]
        for item in known:
            self.bind(statement.target, item, scope)
            self.block(statement.body, scope)
        self.block(statement.orelse, scope)

    _on_asyncfor = _on_for

    def _on_while(self, statement: ast.While, scope: Scope) -> None:
        self.block([*statement.body, *statement.orelse], scope)

    def _on_with(self, statement: ast.With, scope: Scope) -> None:
        for item in statement.items:
            value = self.value(item.context_expr, scope)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, value, scope)
        self.block(statement.body, scope)

    _on_asyncwith = _on_with

    def _on_try(self, statement: ast.Try, scope: Scope) -> None:
        try:
            self.block([*statement.body, *statement.orelse], scope)
        finally:
            self.block(statement.finalbody, scope)

    _on_trystar = _on_try

    def _on_functiondef(self, statement: ast.FunctionDef, scope: Scope) -> None:
        scope.names[statement.name] = Func(scope.module, statement)

    _on_asyncfunctiondef = _on_functiondef

    def _on_classdef(self, statement: ast.ClassDef, scope: Scope) -> None:
        scope.names[statement.name] = Cls(scope.module, statement)

    def _on_import(self, statement: ast.Import, scope: Scope) -> None:
        for alias in statement.names:
            if alias.asname:
                scope.names[alias.asname] = self.imported(alias.name, scope.module)
            else:
                scope.names[alias.name.partition(".")[0]] = Ext(alias.name.partition(".")[0])

    def _on_importfrom(self, statement: ast.ImportFrom, scope: Scope) -> None:
        package = "." * statement.level + (statement.module or "")
        found = None if is_crewai(package) else self.load(package, scope.module)
        for alias in statement.names:
            name = alias.asname or alias.name
            joint = "" if package.endswith(".") else "."
            if alias.name == "*":
                scope.names.update(self.module(found) if found is not None else {})
                continue
            names = self.module(found) if found is not None else {}
            if alias.name in names:
                scope.names[name] = names[alias.name]
            else:
                scope.names[name] = self.imported(f"{package}{joint}{alias.name}", scope.module)

    def imported(self, dotted: str, module: Module) -> Any:
        if is_crewai(dotted):
            return Ext(dotted)
        found = self.load(dotted, module)
        return found if found is not None else Ext(dotted.lstrip("."))

    def bind(self, target: ast.expr, value: Any, scope: Scope) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            items = value if isinstance(value, list) and len(value) == len(target.elts) else None
            for at, one in enumerate(target.elts):
                self.bind(one, items[at] if items is not None else Unknown(source(one)), scope)
            return
        name = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
        if isinstance(value, Unknown):
            value = value.named(name)
        if isinstance(value, Made) and not value.holder:
            value.holder = name
        if isinstance(target, ast.Name):
            scope.names[target.id] = value
        elif isinstance(target, ast.Attribute):
            owner = self.value(target.value, scope)
            if isinstance(owner, Inst):
                owner.attributes[target.attr] = value
            elif isinstance(owner, Made):
                owner.keywords[target.attr] = value
        elif isinstance(target, ast.Subscript):
            owner, key = self.value(target.value, scope), self.value(target.slice, scope)
            if isinstance(owner, dict) and isinstance(key, (str, int)):
                owner[key] = value


def _as_load(target: ast.expr) -> ast.expr:
    """The target of an assignment as an expression."""
    return ast.parse(source(target), mode="eval").body
