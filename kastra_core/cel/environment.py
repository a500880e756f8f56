"""Environments and programs: expressions, compiled once for variables of known types."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kastra_core.cel.dialect import KUBERNETES, Dialect
from kastra_core.cel.evaluation import TYPE_NAMES, compile_node
from kastra_core.cel.loops import Thunk, weight_of
from kastra_core.cel.parser import parse
from kastra_core.cel.syntax import CelSyntaxError, FaultError, Node
from kastra_core.cel.types import DYN, CelType
from kastra_core.cel.values import EvaluationError, Frame, Meter

__all__ = ["Environment", "Program"]


class Program:
    """An expression that can be evaluated again and again, in any thread."""

    def __init__(self, source: str, tree: Node, kind: CelType, names: frozenset[str], dialect: Dialect) -> None:
        self.source = source
        self.tree = tree
        """Checked: each node has its type."""
        self.type = kind
        """Of the value."""
        self.names = names
        """Variables that the expression uses."""
        self._dialect, self._weight = dialect, 0
        self._thunk: Thunk | None = None

    def __repr__(self) -> str:
        return f"Program({self.source!r}, {self.type})"

    def evaluate(self, values: Mapping[str, Any], meter: Meter) -> Any:
        """Return the value; parts of ``values`` come as they are, not copied.

        Args:
            values: name -> JSON of the variable's type; at least :attr:`names`. Nothing in it is changed.
            meter: what may be spent; several evaluations may share one.
        Raises:
            EvaluationError: a missing field or key, an overflow, an index out of range, a value of another type.
            BudgetError: the meter is used up, or a value gets too big.
        """
        thunk = self._thunk or self._compiled()
        try:
            names = {name: values[name] for name in self.names}
        except KeyError as error:
            raise EvaluationError(f"{error.args[0]!r} has no value here") from None
        meter.charge(self._weight)
        try:
            return thunk(Frame(names, meter))
        except RecursionError:
            raise EvaluationError("the data are nested too deeply") from None
        except MemoryError:
            raise EvaluationError("it needs too much memory") from None
        except (TypeError, AttributeError, ValueError, OverflowError) as error:
            # Values are of the types that were declared; where they are not, functions may fail anyhow.
            raise EvaluationError(f"a value is not of the type that it should be: {error}") from error

    def _compiled(self) -> Thunk:
        self._weight = weight_of(self.tree)
        self._thunk = compile_node(self.tree, self._dialect)
        return self._thunk


class Environment:
    """The variables, functions and rules that expressions are compiled with.

    Args:
        variables: name -> type of its value.
    """

    def __init__(self, variables: Mapping[str, CelType], dialect: Dialect = KUBERNETES) -> None:
        self.variables, self.dialect = dict(variables), dialect

    def compile(self, source: str) -> Program:
        """Return the program of an expression.

        Raises:
            CelSyntaxError: it cannot be read, or cannot work; with the place.
        """
        try:
            tree = parse(source, self.dialect)
            if self.dialect.typed:
                kind = self._checked(tree)
                names = frozenset(_free_names(tree))
            else:
                offsets = {name: offset for name, offset in _free_names(tree).items() if name not in TYPE_NAMES}
                names = frozenset(offsets)
                kind = self._unchecked(tree, source, offsets)
        except FaultError as fault:
            raise fault.in_source(source) from None
        except RecursionError:
            raise CelSyntaxError(f"it is nested too deeply{self.dialect.deep_hint}") from None
        return Program(source, tree, kind, names, self.dialect)

    def _checked(self, tree: Node) -> CelType:
        from kastra_core.cel.checker import check_tree

        return check_tree(tree, self.variables, _signatures(self.dialect), self.dialect)

    def _unchecked(self, tree: Node, source: str, names: Mapping[str, int]) -> CelType:
        from kastra_core.cel.json_types import check

        for name, offset in names.items():
            if name not in self.variables:
                known = ", ".join(sorted(self.variables)) or "none"
                raise FaultError(f"there is no variable {name!r}; there are: {known}", offset)
        name = check(source, tuple(sorted(names)), self.dialect)
        compile_node(tree, self.dialect)  # which refuses what JSON has not
        return DYN if name == "dyn" else CelType(name)


@lru_cache(maxsize=8)
def _signatures(dialect: Dialect) -> Any:
    from kastra_core.cel.checker import Signatures

    return Signatures(dialect.library())


def _free_names(tree: Node) -> dict[str, int]:
    """The variables that a tree uses, each with the offset of one of its places."""
    found: dict[str, int] = {}

    def visit(node: Node, bound: frozenset[str]) -> None:
        if node.kind == "ident":
            if node.value not in bound:
                found.setdefault(node.value, node.offset)
            return
        if node.target is not None:
            visit(node.target, bound)
        if node.kind == "fold":
            source, first, *inner, result = node.items
            visit(source, bound)
            visit(first, bound)
            outer = bound | {node.names[1]}
            for part in inner:
                visit(part, outer | frozenset(node.names))
            visit(result, outer)
            return
        for item in node.items:
            for part in item if isinstance(item, tuple) else (item,):
                visit(part, bound)

    visit(tree, frozenset())
    return found
