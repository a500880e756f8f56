"""The choices of a network run, for ``kastra explain run/NAME``: who was chosen, of whom and why, what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.cli.common import style
from kastra_core.cli.run_routing import is_route, ranked, score_words
from kastra_core.cli.run_screen import in_one_line, plural
from kastra_core.cli.run_steps import path_of, reason_words, took_words
from kastra_core.cli.tables import clip
from kastra_core.execution.run_status import FINISHED

__all__ = ["Routes", "pointer"]

_COLUMNS = 300
"""Of what a member is asked and answers that are shown; ``-o json`` has all of it."""
_CANDIDATES = 20
"""Candidates that are named."""


@attrs.define
class _Call:
    member: str
    began_s: float


class Routes:
    """Reads the entries of a trace in their order; gives lines for those that are a router's or its members'.

    Args:
        children: journal path -> name of the run that a call made.
    """

    def __init__(self, children: Mapping[str, Resource]) -> None:
        self._children = children
        self._chosen: dict[str, str] = {}
        """Step -> member, from the choice until the member has answered."""
        self._calls: dict[str, _Call] = {}
        self._run = ""
        """Name of the run that the last call made,"""
        self._more: list[str] = []
        """and where that is explained."""
        self.members: list[str] = []
        """Those that were called, in order."""

    def takes(self, event: JsonObject) -> bool:
        """Whether an event belongs to a choice."""
        return is_route(event) or (
            event.get("type") in ("step_started", "step_finished") and path_of(event) in self._chosen
        )

    def read_call(self, event: JsonObject) -> None:
        """Take note of a call: it is that of the member under way."""
        child = self._children.get(str(event.get("path")))
        self._run = child.metadata.name if child is not None else ""
        self._more = list(pointer(child, "    ")) if child is not None else []

    def lines(self, event: JsonObject, time_s: float) -> Iterator[str]:
        """The lines of an event that it :meth:`takes`; ``time_s`` is when it happened."""
        if is_route(event):
            yield from self._choice(event)
            return
        step = path_of(event)
        if event.get("type") == "step_started":
            self._calls[step] = _Call(self._chosen[step], time_s)
            self.members.append(self._chosen[step])
            self._run, self._more = "", []
            return
        yield f"    {self._outcome(event, step, time_s)}"
        yield from self._more
        del self._chosen[step]

    def under_way(self, *, over: bool) -> Iterator[str]:
        """What began and has no end in the trace. ``over``: the run is, so it never will have one."""
        if not any(step in self._calls for step in self._chosen):
            return
        if over:
            yield "    it was ended with the run"
            return
        unfinished = [child for child in self._children.values() if child.status.get("phase") not in FINISHED]
        where = ", ".join(f"run/{child.metadata.name}: {child.status.get('phase')}" for child in unfinished)
        yield "    it has not answered yet" + (f" ({where})" if where else "")
        for child in unfinished:
            yield from pointer(child, "    ")

    def _choice(self, event: JsonObject) -> Iterator[str]:
        step, chosen = str(event.get("step")), in_one_line(str(event.get("chosen") or ""))
        reason = _short(str(event.get("reason") or ""))
        what = f"-> {chosen}" if chosen else "done" if event.get("done") else "no member fits"
        yield style(f"{step} {what}", bold=True) + (f": {reason}" if reason else "")
        if chosen:
            self._chosen[step] = chosen
        yield f"    {_chooser(event, chosen)}"
        if chosen and event.get("input") is not None:
            yield f"    asked: {_short(event['input'])}"
        if chosen and event.get("done"):
            yield "    with its answer the request is done"

    def _outcome(self, event: JsonObject, step: str, time_s: float) -> str:
        call = self._calls.pop(step, None)
        took = f" in {took_words(time_s - call.began_s)}" if call is not None else ""
        run = f" (run/{self._run})" if self._run else ""
        if event.get("phase") == "Succeeded":
            output = event.get("output")
            return f"{style('ok', fg='green')}{took}{run}" + (f": {_short(output)}" if output is not None else "")
        return f"{style('failed', fg='red')}{took}{run}: {reason_words(event.get('error'))}"


_TOLD = frozenset({"Agent", "Tool"})
"""Kinds whose runs choose nothing that their caller does not tell."""


def pointer(child: Resource, indent: str) -> Iterator[str]:
    """Where a run is explained that chooses by itself; nothing of others."""
    if (child.spec.get("target") or {}).get("kind") not in _TOLD:
        name = f"run/{child.metadata.name}"
        yield f"{indent}`kastra explain {name}` tells more"


def _chooser(event: JsonObject, chosen: str) -> str:
    """``by embedding, of billing 0.874, tech 0.801``."""
    words = [f"by {in_one_line(str(event.get('router') or 'the router'))}"]
    candidates = ranked(event)
    if candidates and (chosen or not event.get("done")):
        names = [score_words(item) for item in candidates[:_CANDIDATES]]
        more = f" and {len(candidates) - _CANDIDATES} more" if len(candidates) > _CANDIDATES else ""
        words.append(f"of {', '.join(names)}{more}")
    if event.get("repaired"):
        words.append(f"after {plural(event['repaired'], 'choice')} that did not fit")
    if event.get("fallback"):
        words.append("as the fallback, since no other member fits")
    return ", ".join(words)


def _short(value: JsonValue | Any) -> str:
    return clip(in_one_line(value), _COLUMNS)
