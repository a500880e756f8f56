"""``x-kubernetes-validations`` of a value: rules in CEL that a definition writes at the nodes of its schema.

As in Kubernetes: a rule sees the value it stands at as ``self`` and, when a stored value corresponds to it, that one as
``oldSelf``. Properties and entries of maps correspond by name, items of a list of type map by its keys, other items to
nothing. A rule that fails at a value that did not change, and does not look at ``oldSelf``, is forgiven: what is stored
stays valid when its definition gets stricter.

Source: Kubernetes' apiextensions-apiserver, ``pkg/apiserver/schema/cel/validation.go``; limits of
``apiserver/pkg/apis/cel/config.go``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from kastra_core.cel import ABSENT, BudgetError, CelType, EvaluationError, Meter, Optional
from kastra_core.cel.words import MissingError
from kastra_core.errors import Problem
from kastra_plugin_crd.cel_types import Declarations, escape
from kastra_plugin_crd.rule_checks import rule_problems, rules_of
from kastra_plugin_crd.rule_programs import OLD_SELF, SELF, CompiledRule, Compiler
from kastra_plugin_crd.schema import Rule, Structural

__all__ = ["CALL_LIMIT", "OBJECT_LIMIT", "Rules", "rule_problems"]

CALL_LIMIT: Final = 1_000_000
"""Steps that one evaluation of one rule may take."""
OBJECT_LIMIT: Final = 10_000_000
"""Steps that the rules of one object may take together."""
MAX_PROBLEMS: Final = 1000
"""As many problems of one object are told; then its rules are not run any further."""
_MAX_MESSAGE_BYTES: Final = 5 * 1024

_INVALID: Final = "FieldValueInvalid"


class Rules:
    """The rules of a schema; each is compiled when it is needed for the first time.

    Args:
        structural: a schema whose rules have no problems (:func:`rule_problems`).
        root: it is the schema of a whole resource, so that rules may look at its apiVersion, kind and metadata.name.
    """

    def __init__(self, structural: Structural, *, root: bool = True) -> None:
        self._node = _node(_Source.of(structural), structural, root, _Types(structural, root))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self._node is not None

    def problems(self, value: Any, old: Any, path: str, meter: Meter) -> list[Problem]:
        """Return what the rules find wrong with a value.

        Args:
            value: pruned, defaulted and of the schema's types; a rule that stumbles over it is a problem.
            old: the stored value that ``value`` is to replace, None if there is none.
            path: field path of the value, "" for a whole resource.
            meter: the budget of the object, ``Meter(OBJECT_LIMIT)``. When it is used up, or one rule takes more than
                ``CALL_LIMIT``, that is a problem and no further rule runs.
        """
        if self._node is None:
            return []
        run = _Run(meter)
        pair = None if old is None else _Pair(value, old, self._node.structural)
        try:
            run.walk(self._node, value, old, path, pair, None)
        except _Stop as stop:
            run.problems.append(stop.problem)
        return run.problems


class _Stop(Exception):
    """No further rule is run."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


@attrs.frozen(slots=True)
class _Pair:
    """A value and the stored value that corresponds to it."""

    value: Any
    old: Any
    structural: Structural

    def below(self, key: str, value: Any) -> _Pair | None:
        if not isinstance(self.old, dict) or key not in self.old:
            return None
        schema = self.structural.properties.get(key) or self.structural.additional
        return _Pair(value, self.old[key], schema) if isinstance(schema, Structural) else None


class _Types:
    """Types of the nodes of a tree, made from the top when the first is asked for."""

    def __init__(self, structural: Structural, root: bool) -> None:
        self._declarations = Declarations()
        self._top = (structural, root)

    def of(self, structural: Structural, root: bool) -> CelType | None:
        self._declarations.of(self._top[0], SELF, root=self._top[1])  # gives names
        declared = self._declarations.of(structural, SELF, root=root)
        return declared.type if declared is not None else None


@attrs.define(slots=True, eq=False)
class _Node:
    """Where rules stand, or what leads there."""

    structural: Structural
    root: bool
    types: _Types
    rules: tuple[Rule, ...]
    properties: Sequence[tuple[str, _Node]] = ()
    additional: _Node | None = None
    items: _Node | None = None
    list_keys: tuple[str, ...] = ()
    all_of: Sequence[_Node] = ()
    compiled: Sequence[CompiledRule] = ()
    """Empty until the first value comes."""

    def compile(self) -> Sequence[CompiledRule]:
        kind = self.types.of(self.structural, self.root)
        if kind is None:
            error = "rules cannot look at what is kept without a schema"
            self.compiled = [CompiledRule(rule=rule, error=error) for rule in self.rules]
        else:
            compiler = Compiler(self.structural, kind)
            self.compiled = [compiler.compile(rule) for rule in self.rules]
        return self.compiled


_Json: TypeAlias = Mapping[str, Any]


@attrs.frozen
class _Source:
    """What is said of rules at a node, in a schema or in a clause of its allOf (which is kept as JSON)."""

    rules: tuple[Rule, ...]
    properties: Mapping[str, Structural | _Json]
    additional: Structural | _Json | None
    items: Structural | _Json | None
    all_of: Sequence[_Json]

    @classmethod
    def of(cls, schema: Structural | _Json) -> _Source:
        if isinstance(schema, Structural):
            additional = schema.additional if isinstance(schema.additional, Structural) else None
            return cls(schema.rules, schema.properties, additional, schema.items, schema.values.get("allOf", ()))
        more = schema.get("additionalProperties")
        return cls(
            tuple(rules_of(schema)),
            schema.get("properties") or {},
            more if isinstance(more, Mapping) else None,
            schema.get("items"),
            schema.get("allOf") or (),
        )


def _node(source: _Source, structural: Structural, root: bool, types: _Types) -> _Node | None:
    """Return the node of a schema, None if no rule is at it or below it."""

    def below(inner: Structural | _Json | None, schema: Structural | bool | None) -> _Node | None:
        if inner is None or not isinstance(schema, Structural):
            return None
        return _node(_Source.of(inner), schema, schema.embedded_resource, types)

    properties = [(key, below(inner, structural.properties.get(key))) for key, inner in source.properties.items()]
    clauses = [_node(_Source.of(clause), structural, root, types) for clause in source.all_of]
    node = _Node(
        structural=structural,
        root=root,
        types=types,
        rules=source.rules,
        properties=[(key, inner) for key, inner in properties if inner is not None],
        additional=below(source.additional, structural.additional),
        items=below(source.items, structural.items),
        list_keys=structural.list_keys if structural.list_type == "map" else (),
        all_of=[clause for clause in clauses if clause is not None],
    )
    if node.rules or node.properties or node.additional or node.items or node.all_of:
        return node
    return None


class _Run:
    """One walk over a value."""

    __slots__ = ("_call", "_known", "_meter", "problems")

    def __init__(self, meter: Meter) -> None:
        self.problems: list[Problem] = []
        self._meter, self._call = meter, Meter(CALL_LIMIT)
        self._known: dict[tuple[int, int], bool] = {}

    def walk(self, node: _Node, value: Any, old: Any, path: str, pair: _Pair | None, nearest: _Pair | None) -> None:
        """Run the rules at a node and below it.

        Args:
            old: the stored value that corresponds to ``value`` for rules.
            pair: the same, for whether it is unchanged; None where nothing corresponds.
            nearest: the pair of the closest node above that has one.
        """
        if value is None:
            return  # what may be null is for the rules of what it is in
        if node.rules:
            self._run_rules(node, value, old, path, pair, nearest)
        for clause in node.all_of:
            self.walk(clause, value, old, path, None, nearest)
        if isinstance(value, dict):
            if node.additional is not None:
                stored = old if isinstance(old, dict) else {}
                for key, inner in value.items():
                    below, close = (None, nearest) if pair is None else (pair.below(key, inner), pair)
                    self.walk(node.additional, inner, stored.get(key), f"{path}.{key}" if path else key, below, close)
            for key, property_node in node.properties:
                inner = value.get(key)
                if inner is not None:
                    before = old.get(key) if isinstance(old, dict) else None
                    below, close = (None, nearest) if pair is None else self._property(key, inner, pair, nearest)
                    self.walk(property_node, inner, before, f"{path}.{key}" if path else key, below, close)
        elif isinstance(value, list) and node.items is not None:
            self._walk_items(node, node.items, value, old, path, pair, nearest)

    def _property(self, key: str, value: Any, pair: _Pair, nearest: _Pair | None) -> tuple[_Pair | None, _Pair | None]:
        if nearest is None and key in ("apiVersion", "kind"):
            return None, None  # both are given in one version, so that a change of version cannot be seen
        return pair.below(key, value), pair

    def _walk_items(
        self,
        node: _Node,
        items: _Node,
        value: list[Any],
        old: Any,
        path: str,
        pair: _Pair | None,
        nearest: _Pair | None,
    ) -> None:
        before = _by_keys(old, node.list_keys) if node.list_keys and isinstance(old, list) else None
        for index, inner in enumerate(value):
            was = before.get(_key(inner, node.list_keys)) if before else None
            if pair is None:
                below, close = None, nearest
            else:
                below, close = (None if was is None else _Pair(inner, was, items.structural)), pair
            self.walk(items, inner, was, f"{path}[{index}]", below, close)

    def _run_rules(
        self, node: _Node, value: Any, old: Any, path: str, pair: _Pair | None, nearest: _Pair | None
    ) -> None:
        alone = {SELF: value}
        budget, call = self._meter, self._call
        for compiled in node.compiled or node.compile():
            program, values = compiled.program, alone
            if program is None:
                self._add_uncompiled(compiled, path)
                continue
            if compiled.uses_old:
                if compiled.rule.optional_old_self:
                    values = {SELF: value, OLD_SELF: ABSENT if old is None else Optional(old)}
                elif old is None:
                    continue  # there is no change to look at
                else:
                    values = {SELF: value, OLD_SELF: old}
            left = budget.left
            call.left = limit = CALL_LIMIT if left > CALL_LIMIT else left
            try:
                result = program.evaluate(values, call)
            except BudgetError as err:
                raise self._stopped(compiled.label, err, limit, path) from None
            except EvaluationError as err:
                budget.left = left - limit + call.left
                text = f"rule '{compiled.label}' could not be evaluated: {err}"
                self._add(Problem(text, path, hint=_hint(err), reason=_INVALID))
                continue
            budget.left = left - limit + call.left
            if result is True:
                continue
            message = self._message(compiled, values, path)
            if compiled.uses_old or not self._unchanged(pair if pair is not None else nearest):
                self._add(Problem(message, _joined(path, compiled.suffix), reason=compiled.rule.reason or _INVALID))

    def _add(self, problem: Problem) -> None:
        self.problems.append(problem)
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop(Problem(f"{MAX_PROBLEMS} problems were found; no further rules were run", problem.path))

    def _add_uncompiled(self, compiled: CompiledRule, path: str) -> None:
        if compiled.error:
            text = f"rule '{compiled.label}' does not compile: {compiled.error}"
            self._add(Problem(text, path, reason=_INVALID))

    def _stopped(self, label: str, err: BudgetError, limit: int, path: str) -> _Stop:
        """What ends the run when an evaluation that had ``limit`` steps was given up."""
        self._meter.left -= limit
        text = str(err)
        if self._call.left < 0:
            text = f"it takes more than {CALL_LIMIT:,} steps"
            if limit < CALL_LIMIT:
                text = f"the rules of this object take more than {self._meter.limit:,} steps"
        return _Stop(Problem(f"rule '{label}' was stopped: {text}; no further rules were run", path, reason=_INVALID))

    def _message(self, compiled: CompiledRule, values: dict[str, Any], path: str) -> str:
        """What to say of a broken rule. Raises: _Stop."""
        if compiled.message is None:
            return compiled.default_message
        left = self._meter.left
        self._call.left = limit = min(left, CALL_LIMIT)
        try:
            text = compiled.message.evaluate(values, self._call)
        except BudgetError as err:
            raise self._stopped(f"messageExpression of {compiled.label}", err, limit, path) from None
        except EvaluationError:
            text = ""
        self._meter.left = left - limit + self._call.left
        text = text.strip() if isinstance(text, str) else ""
        usable = text and "\n" not in text and len(text.encode("utf-8", "replace")) <= _MAX_MESSAGE_BYTES
        return text if usable else compiled.default_message

    def _unchanged(self, pair: _Pair | None) -> bool:
        if pair is None:
            return False
        key = (id(pair.value), id(pair.old))
        if key not in self._known:
            self._known[key] = _equal(pair.value, pair.old, pair.structural)
        return self._known[key]


def _equal(value: Any, old: Any, structural: Structural) -> bool:
    """Whether a value is the stored one: lists of type map in any order, nothing that no schema describes."""
    if value is None or old is None:
        return value is old
    if isinstance(value, dict) and isinstance(old, dict):
        return value.keys() == old.keys() and all(
            isinstance(schema := structural.properties.get(key) or structural.additional, Structural)
            and _equal(inner, old[key], schema)
            for key, inner in value.items()
        )
    if isinstance(value, list) and isinstance(old, list) and structural.list_type == "map" and structural.items:
        if len(value) != len(old):
            return False
        keys, items = structural.list_keys, structural.items
        before = _by_keys(old, keys)
        return all((was := before.get(_key(each, keys))) is not None and _equal(each, was, items) for each in value)
    return type(value) is type(old) and bool(value == old)


def _by_keys(items: list[Any], keys: tuple[str, ...]) -> dict[Any, Any]:
    """Items of a list of type map by their keys; of several with the same keys the first."""
    found: dict[Any, Any] = {}
    for item in items:
        key = _key(item, keys)
        if key is not None:
            found.setdefault(key, item)
    return found


def _key(item: Any, keys: tuple[str, ...]) -> Any:
    if not isinstance(item, dict):
        return None
    values = [item.get(key) for key in keys]
    if not all(isinstance(each, (str, int, float)) for each in values):
        return None
    return tuple((type(each), each) for each in values)


def _hint(err: EvaluationError) -> str:
    if not isinstance(err, MissingError) or not isinstance(err.part, str) or not err.where.startswith(SELF):
        return ""
    return f"set the field, or let the definition's rule ask has({err.where}.{escape(err.part) or err.part})"


def _joined(path: str, suffix: str) -> str:
    return f"{path}{suffix}" if path else suffix.removeprefix(".")
