"""The steps of a flow one after the other, by a list of those that are due: for flows that have no form as blocks."""

from __future__ import annotations

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration import cel_literal
from kastra_plugin_crewai.flow_graph import Events
from kastra_plugin_crewai.flow_layout import Outputs, Steps, answers
from kastra_plugin_crewai.flow_model import Condition

__all__ = ["Queue"]


@attrs.define(eq=False)
class Queue:
    """One method after the other: a list of those that are due, and what each has waited for so far.

    ``data.due`` is {queue, at, last, done, once, METHOD: events it has got}.
    """

    events: Events
    steps: Steps
    data: str
    """Name of the published data."""

    def outputs(self, reader: str) -> Outputs:
        """Outputs as a method sees them: all of those that have run."""
        reachable = set(self.events.reachable())
        return lambda name: self.steps.output(name) if name in reachable else None

    def manifest(self) -> list[JsonObject]:
        """All steps."""
        names = self.events.reachable()
        due = f"data.{self.data}"
        begin, choose = self.steps.fresh(f"{self.data}_begin"), self.steps.fresh(f"{self.data}_next")
        start: JsonObject = {"queue": list(self.events.starts), "at": 0, "last": None, "done": [], "once": []}
        start.update({name: [] for name in self._waiting(names)})
        made = {name: self.steps.make(self.events.methods[name], self.outputs(name)) for name in names}
        cases = [{"when": f"size({due}.queue) <= {due}.at", "name": "over", "next": "END"}]
        cases += [
            {"when": f"{due}.queue[{due}.at] == {cel_literal(name)}", "next": made[name][0]["id"]} for name in names
        ]
        out: list[JsonObject] = [
            {"id": begin, "set": start, "output": {"type": self.data}},
            {"id": choose, "branch": {"cases": cases, "default": "END"}},
        ]
        for name in names:
            out += [*made[name], *self._done(name, due, names, choose)]
        return out

    def _done(self, name: str, due: str, names: list[str], choose: str) -> list[JsonObject]:
        """What follows a method: its end is an event, then its answer is another one."""
        after = self._after(name, due, names, {name: "true"}, "")
        after["at"] = f"{{{{ {due}.at + 1 }}}}"
        after["last"] = f"{{{{ {self.steps.result(name)} }}}}"
        after["done"] = f"{{{{ {due}.done + [{cel_literal(name)}] }}}}"
        steps = [{"id": self.steps.fresh(f"{name}_done"), "set": after, "output": {"type": self.data}}]
        labels = {label: answers(self.steps, name, label) for label in self.events.labels(name)}
        if labels:
            answered = self._after(name, due, names, labels, name)
            step = {"id": self.steps.fresh(f"{name}_answered"), "set": answered, "output": {"type": self.data}}
            steps.append(step)
        steps[-1]["next"] = choose
        return steps

    @property
    def output(self) -> str:
        """CEL of the flow's output."""
        return f"data.{self.data}.last"

    def _waiting(self, names: list[str]) -> list[str]:
        """Methods whose ``and`` collects events."""
        return [name for name in names if _has_and(self.events.condition(self.events.methods[name]))]

    def _after(self, name: str, due: str, names: list[str], now: dict[str, str], by: str) -> JsonObject:
        """The list after events.

        Args:
            now: event -> CEL of whether it happened; of several at most one did.
            by: the router whose answers they are.
        """
        triggered: list[str] = []
        once: list[str] = []
        kept: JsonObject = {}
        # A method that runs again makes those ready again that the first of several ends starts.
        fired = f"{due}.once" if by else f"({cel_literal(name)} in {due}.done ? [] : {due}.once)"
        for other in self._waiting(names):
            place = f"{due}[{cel_literal(other)}]"
            heard = {event: test for event, test in now.items() if other in self.events.listeners(event, by=by)}
            kept[other] = f"{{{{ {place} }}}}"
            if heard:
                met = _met(self._condition(other), heard, place)
                new = [_chosen(test, event) for event, test in heard.items()]
                if self.events.limited(other) and not self._rearms(by):
                    met = f"({met} && !({cel_literal(other)} in {fired}))"
                kept[other] = f"{{{{ {met} ? [] : {' + '.join([place, *new])} }}}}"
                triggered.append(_chosen(met, other))
                once += triggered[-1:] if self.events.limited(other) else []
        for other in names:
            tests = [test for event, test in now.items() if other in self.events.listeners(event, by=by)]
            if tests and other not in kept:
                told = " || ".join(tests)
                if self.events.limited(other) and not self._rearms(by):
                    free = f"!({cel_literal(other)} in {fired})"
                    told = free if told == "true" else f"({told}) && {free}"
                triggered.append(_chosen(told, other))
                once += triggered[-1:] if self.events.limited(other) else []
        return {
            "queue": f"{{{{ {' + '.join([f'{due}.queue', *triggered])} }}}}",
            "at": f"{{{{ {due}.at }}}}",
            "last": f"{{{{ {due}.last }}}}",
            "done": f"{{{{ {due}.done }}}}",
            "once": f"{{{{ {' + '.join([fired, *once])} }}}}",
            **kept,
        }

    def _rearms(self, by: str) -> bool:
        """Whether answers of a router start a method again that has been started by another event."""
        return bool(by) and not self.events.methods[by].start

    def _condition(self, name: str) -> Condition:
        condition = self.events.condition(self.events.methods[name])
        assert condition is not None
        return condition


def _met(condition: Condition, now: dict[str, str], place: str) -> str:
    """CEL of a condition, given CEL of the events that may happen just now."""
    if isinstance(condition, str):
        before = f"{cel_literal(condition)} in {place}"
        if condition not in now:
            return before
        return "true" if now[condition] == "true" else f"({now[condition]} || {before})"
    sign = " && " if condition[0] == "and" else " || "
    return "(" + sign.join(_met(item, now, place) for item in condition[1]) + ")"


def _chosen(test: str, name: str) -> str:
    return f"[{cel_literal(name)}]" if test == "true" else f"({test} ? [{cel_literal(name)}] : [])"


def _has_and(condition: Condition | None) -> bool:
    if not isinstance(condition, tuple):
        return False
    return condition[0] == "and" or any(_has_and(item) for item in condition[1])
