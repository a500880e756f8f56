"""What an agent in a workflow gets to know: the request, what others said before, and the values of placeholders."""

from __future__ import annotations

import re

import attrs

from kastra_core.migration import cel_literal, escape_braces
from kastra_plugin_adk.placeholders import Placeholder

__all__ = ["Said", "Sight", "at", "prompt"]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def at(base: str, key: str) -> str:
    """A field of an object in an expression.

    >>> at("data", "draft"), at("data", "user:name")
    ('data["draft"]', 'data["user:name"]')
    >>> at("workflow.input", "topic")
    'workflow.input.topic'
    """
    if base != "data" and _PLAIN.fullmatch(key):
        return f"{base}.{key}"
    return f"{base}[{cel_literal(key)}]"


@attrs.frozen
class Said:
    """What an agent said before, or in the pass before."""

    who: str
    value: str
    """Expression."""
    key: str = ""
    """Data that it is published as."""


@attrs.define
class Sight:
    """What is known at a place of a workflow. A copy for each block whose doings are out of sight outside."""

    request: str
    """Expression of what the user asked."""
    given: str = ""
    """Expression of the block's input where it is not the request."""
    said: list[Said] = attrs.field(factory=list)
    later: list[Said] = attrs.field(factory=list)
    """Of agents that come later in the same loop: in its next pass they have spoken."""
    sure: set[str] = attrs.field(factory=set)
    """Data that is there."""
    maybe: set[str] = attrs.field(factory=set)
    """Data that may be there."""
    outside: set[str] = attrs.field(factory=set)
    """Keys that nobody in the workflow publishes and that are fields of its input."""

    def copy(self) -> Sight:
        return attrs.evolve(
            self,
            said=list(self.said),
            later=list(self.later),
            sure=set(self.sure),
            maybe=set(self.maybe),
        )

    def value_of(self, one: Placeholder) -> str:
        """Expression of a placeholder's value; "" where nothing can ever be there."""
        if one.key in self.sure:
            return at("data", one.key)
        if one.key in self.maybe:
            return f'{cel_literal(one.key)} in data ? {at("data", one.key)} : ""'
        if one.key in self.outside:
            place = at("workflow.input", one.key)
            if not one.optional:
                return place
            return f'{cel_literal(one.key)} in workflow.input ? {place} : ""'
        return ""


def prompt(sight: Sight, wanted: list[Placeholder], *, alone: bool) -> tuple[str, bool]:
    """Return (what an agent is asked, as a template; whether that is no more than its block's input).

    Args:
        wanted: the placeholders of its instructions.
        alone: it sees what came last only, and no conversation (``include_contents: none``).
    """
    values = [(one.key, sight.value_of(one)) for one in wanted]
    shown = {key for key, value in values if value}
    said = [one for one in (*sight.said, *sight.later) if not one.key or one.key not in shown]
    start = sight.given or sight.request
    parts: list[str] = []
    if alone and sight.said:
        said = [sight.said[-1]] if sight.said[-1] in said else []
    elif alone:
        said, parts = [], [f"{{{{ {start} }}}}"]
    else:
        parts = [f"{{{{ {start} }}}}"]
    plain = parts == [f"{{{{ {start} }}}}"] and not said and not shown
    parts += [f"{escape_braces(one.who)} said:\n{{{{ {one.value} }}}}" for one in said]
    parts += [f"{escape_braces(key)}:\n{{{{ {value} }}}}" for key, value in values if value]
    return "\n\n".join(parts), plain
