"""Choices of a router as lines: which member a network calls, why, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.cli.run_screen import in_one_line, plural

__all__ = ["ROUTE", "Routing", "is_route", "ranked", "score_words"]

ROUTE = "route"
"""``kind`` of the ``decision`` events of a router."""


def is_route(event: JsonObject) -> bool:
    """Whether an event tells of a router's choice: its run consists of members that answer one after another."""
    return event.get("type") == "decision" and event.get("kind") == ROUTE


def ranked(event: JsonObject) -> list[Mapping[str, Any]]:
    """The candidates of a choice, best first where they have scores, else in their order."""
    found = [item for item in event.get("candidates") or () if isinstance(item, Mapping)]
    return sorted(found, key=lambda item: -_score(item))


def _score(item: Mapping[str, Any]) -> float:
    score = item.get("score")
    return float(score) if isinstance(score, (int, float)) and not isinstance(score, bool) else float("-inf")


def score_words(item: Mapping[str, Any]) -> str:
    """``billing 0.874``, or the name alone.

    >>> score_words({"name": "billing", "score": 0.87412}), score_words({"name": "greeter"})
    ('billing 0.874', 'greeter')
    """
    name = in_one_line(str(item.get("name")))
    return name if _score(item) == float("-inf") else f"{name} {_score(item):.3f}"


class Routing:
    """The choices of one run as lines. Events may come again, as after a resume: they count once."""

    def __init__(self) -> None:
        self.before: list[str] = []
        """Members that were called before this process had the run."""
        self._seen: set[tuple[Any, Any, Any]] = set()
        self._names: dict[str, str] = {}
        """Step -> the member that it calls."""
        self._held = ""
        """What a member gave back, told when something follows: the last one's is the answer, which is shown anyway."""

    def take_over(self, events: Iterable[JsonObject]) -> None:
        """Take events of what was done before. A member that was under way is called again, or goes on."""
        kept = list(events)
        over = {str(event.get("step")) for event in kept if event.get("type") == "step_finished"}
        for event in kept:
            step = str(event.get("step"))
            if step in over:
                for _ in self.lines(event):
                    pass
                if event.get("type") == "step_finished":
                    self.before.append(self._names.get(step, step))
        self._held = ""

    def lines(self, event: JsonObject, *, heard: bool = False) -> Iterator[str]:
        """Take an event of a step or a decision; give the lines about it.

        Args:
            heard: what the member of the step gives back was shown as it came.
        """
        kind, step = event.get("type"), str(event.get("step"))
        key = (kind, step, event.get("kind"))
        if key in self._seen:
            return
        self._seen.add(key)
        held, self._held = self._held, ""
        ends = is_route(event) and event.get("done") and not event.get("chosen")
        if held and kind != "step_finished" and not ends:
            yield held
        if is_route(event):
            yield from self._chosen(event, step)
        elif kind == "step_started":
            if step not in self._names:  # listened to from its middle on
                self._names[step] = _member(event)
                yield f"-> {self._names[step]}: {in_one_line(str(event.get('why') or ''))}".rstrip(": ")
        elif kind == "step_finished":
            name = self._names.get(step, step)
            if event.get("phase") != "Succeeded":
                yield f"<- {name} failed: {_why(event.get('error'))}"
            elif not heard and event.get("output") is not None:
                self._held = f"<- {name} {in_one_line(event.get('output'))}"

    def rest(self) -> Iterator[str]:
        """What is left to tell when no answer comes."""
        held, self._held = self._held, ""
        if held:
            yield held

    def _chosen(self, event: JsonObject, step: str) -> Iterator[str]:
        chosen = in_one_line(str(event.get("chosen") or ""))
        reason = in_one_line(str(event.get("reason") or ""))
        if not chosen:
            if not event.get("done"):
                yield f"no member fits{f': {reason}' if reason else ''}"
            return
        self._names[step] = chosen
        marks = []
        if event.get("fallback"):
            marks.append("fallback")
        if event.get("repaired"):
            marks.append(f"after {plural(event['repaired'], 'repair')}")
        mark = f" ({', '.join(marks)})" if marks else ""
        yield f"-> {chosen}{mark}" + (f": {reason}" if reason else "")


def _member(event: JsonObject) -> str:
    return in_one_line(str(event.get("name") or event.get("body") or event.get("step")))


def _why(error: Any) -> str:
    if not isinstance(error, Mapping):
        return in_one_line(str(error or "it gave no answer"))
    reason, message = str(error.get("reason") or "Failed"), in_one_line(str(error.get("message") or ""))
    return f"{reason}: {message}" if message else reason
