"""Rules of ``x-kubernetes-validations``, compiled for the schema they stand at."""

from __future__ import annotations

from typing import Final

import attrs

from kastra_core.cel import CelSyntaxError, CelType, Environment, Program
from kastra_core.cel.types import BOOL, STRING, optional_of
from kastra_plugin_crd.rule_paths import FieldPathError, field_path
from kastra_plugin_crd.schema import Rule, Structural

__all__ = ["OLD_SELF", "SELF", "CompiledRule", "Compiler"]

SELF: Final = "self"
OLD_SELF: Final = "oldSelf"


@attrs.frozen(kw_only=True)
class CompiledRule:
    """A rule, ready to run; or why it is not."""

    rule: Rule
    program: Program | None = None
    """None: the rule is empty, or wrong."""
    error: str = ""
    """What is wrong with the rule."""
    uses_old: bool = False
    """Whether it looks at the value before a change (a transition rule)."""
    message: Program | None = None
    """``messageExpression``; None: there is none, or it is wrong."""
    message_error: str = ""
    suffix: str = ""
    """``fieldPath``, to follow the path of the value (".name")."""

    @property
    def label(self) -> str:
        """How an error names the rule."""
        return self.rule.message.strip() or self.rule.rule.strip()

    @property
    def default_message(self) -> str:
        return self.rule.message.strip() or f"failed rule: {self.rule.rule.strip()}"


class Compiler:
    """Compiles the rules of one schema."""

    def __init__(self, structural: Structural, type: CelType) -> None:
        self._structural, self._type = structural, type
        self._environments: dict[bool, Environment] = {}

    def _environment(self, optional: bool) -> Environment:
        if optional not in self._environments:
            old = optional_of(self._type) if optional else self._type
            self._environments[optional] = Environment({SELF: self._type, OLD_SELF: old})
        return self._environments[optional]

    def compile(self, rule: Rule) -> CompiledRule:
        if not rule.rule.strip():
            return CompiledRule(rule=rule)
        environment = self._environment(bool(rule.optional_old_self))
        program, error = _compiled(environment, rule.rule, BOOL, "a rule must give a bool")
        if program is None:
            return CompiledRule(rule=rule, error=error)
        message, message_error = None, ""
        if rule.message_expression:
            wanted = "a message must be a string"
            message, message_error = _compiled(environment, rule.message_expression, STRING, wanted)
        try:
            suffix, _ = field_path(rule.field_path, self._structural)
        except FieldPathError:
            suffix = ""  # rule_problems says so when the rule is defined
        uses_old = OLD_SELF in program.names
        return CompiledRule(
            rule=rule, program=program, uses_old=uses_old, message=message, message_error=message_error, suffix=suffix
        )


def _compiled(environment: Environment, source: str, wanted: CelType, otherwise: str) -> tuple[Program | None, str]:
    try:
        program = environment.compile(source)
    except CelSyntaxError as err:
        place = f"line {err.line}, column {err.column}" if "\n" in source else f"column {err.column}"
        return None, f"{err.message} ({place})"
    if program.type != wanted:
        return None, f"{otherwise}, this gives {program.type}"
    return program, ""
