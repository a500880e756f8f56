"""NetworkRunner: router, member, router, member, as a durable program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.errors import OperationError, RunFailedError
from kastra_core.protocols.model_input import input_messages, text_of
from kastra_core.protocols.runner import Outcome, RunContext, SharedState
from kastra_core.serde import typed
from kastra_plugin_network import routers
from kastra_plugin_network.choice import Choice, choice_schema
from kastra_plugin_network.members import Member, MisfitError, call_member, members_of
from kastra_plugin_network.prompts import (
    SAID_CHARS,
    Done,
    answer_messages,
    cut,
    message,
    shown,
    so_far,
    system_text,
)
from kastra_plugin_network.routers import NoCandidateError, Pass, Plan, Way
from kastra_plugin_network.spec import NetworkSpec
from kastra_plugin_network.state import shared_by

__all__ = ["NetworkRunner"]

_PLANS = 256
_REMEDY = "; name a member in spec.router.fallback that gets what nobody else fits"


class NetworkRunner:
    """Runs networks. Input: a text, ``{"input": text}``, ``{"messages": [...]}``, or any JSON, taken as text.

    Output: the last member's answer (any JSON), or with ``router.answer: router`` a text. The run's reason is
    Completed, MaxSteps, NoCandidate, MemberFailed, LimitExceeded, Cancelled or that of a router that failed.
    Events: ``decision`` {kind: "route", step, router, chosen, candidates, input, reason, done}, ``step_started``,
    ``step_finished``, ``text`` (of a router that words the answer), ``note``; those of members as ``child``.
    """

    def __init__(self) -> None:
        self._plans: dict[int, Plan] = {}

    async def run(self, ctx: RunContext, target: Resource, input: JsonValue) -> Outcome:
        """Route until the request is answered.

        Raises: RunFailedError, OperationError (the router's model failed), LimitExceededError.
        """
        plan = self._plan(ctx, target)
        return await _Loop(ctx, plan, input).run()

    def _plan(self, ctx: RunContext, target: Resource) -> Plan:
        plan = self._plans.get(id(target))
        if plan is not None and plan.target is target:
            return plan
        spec = typed(target.spec, NetworkSpec)
        members = members_of(ctx, target)
        plan = Plan(
            target,
            spec,
            members,
            message("system", system_text(spec, members.values())),
            choice_schema(members),
            choice_schema(members, bounded=True),
            [member.candidate() for member in members.values()],
        )
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        self._plans[id(target)] = plan
        return plan


class _Loop:
    """One run of a network."""

    def __init__(self, ctx: RunContext, plan: Plan, input: JsonValue) -> None:
        self.ctx, self.plan = ctx, plan
        self.asked = _asked(input)
        self.way: Way
        self.now: Pass
        self.fell_back = False
        self.output: JsonValue = None
        """The last answer."""

    async def run(self) -> Outcome:
        ctx, plan, spec = self.ctx, self.plan, self.plan.spec
        self.way = await routers.way_of(ctx, spec)
        if self.way.why and ctx.streaming:
            await ctx.emit({"type": "note", "message": self.way.why})
        shared = shared_by(ctx, plan.target, spec)
        conversation = [
            message(said["role"], cut(text, SAID_CHARS))
            for said in (*await self._history(), *self.asked[:-1])
            if said["role"] != "tool" and (text := text_of(said))
        ]
        seen = shared or ctx.shared
        self.now = Pass(
            request=text_of(self.asked[-1]), conversation=conversation, scope=seen.scope if seen is not None else None
        )
        choice = await self._until_done(shared)
        if spec.router.answer == "router":
            self.output = await self._worded(choice)
        if ctx.thread and spec.memory.enabled:
            # What the caller says as system holds for this run.
            said = [given for given in self.asked if given["role"] in ("user", "assistant")]
            await ctx.remember([*said, message("assistant", shown(self.output))])
        return Outcome(output=self.output, reason="Completed", message=self.way.why)

    async def _until_done(self, shared: SharedState | None) -> Choice:
        """Call members until the router is done; return its last choice."""
        ctx, now, most = self.ctx, self.now, self.plan.spec.router.max_steps
        forced: Choice | None = None
        for now.step in range(1, most + 1):
            ctx.step()
            choice = forced or await self._choice()
            forced = None
            if ctx.streaming:
                await ctx.emit(_decision(now.step, choice, self.plan))
            if choice.member is None:
                return choice
            failure = await self._call(choice, choice.member, shared)
            if failure is None:
                if choice.done:
                    return choice
            elif choice.final:
                forced = self._fallback(f"{choice.member.name} failed", choice.scores) if now.step < most else None
                if forced is None:
                    raise self._failed(f"{choice.member.name} failed: {failure.message}", "MemberFailed") from failure
        what = f"{most} members were called (spec.router.maxSteps) and the router was not done"
        last = now.done[-1]
        if last.error is not None:
            what += f"; the last one, {last.member}, failed: {last.error['message']}"
        raise self._failed(what, "MaxSteps")

    async def _choice(self) -> Choice:
        """The router's choice, or the fallback where it has none."""
        now = self.now
        try:
            return await routers.choose(self.ctx, self.plan, self.way, now)
        except NoCandidateError as nobody:
            found = self._fallback(nobody.message, nobody.scores)
            if found is not None:
                return found
            if self.ctx.streaming:
                refused = Choice(
                    member=None,
                    input=None,
                    asked="",
                    reason=nobody.message,
                    router=self.way.type,
                    scores=nobody.scores,
                )
                await self.ctx.emit(_decision(now.step, refused, self.plan))
            last = now.done[-1] if now.done else None
            remedy = "" if self.plan.spec.router.fallback else _REMEDY
            if last is not None and last.error is not None:
                told = f"{last.member} failed: {last.error['message']}; then {nobody.message}{remedy}"
                raise self._failed(told, "MemberFailed") from nobody
            raise self._failed(f"{nobody.message}{remedy}", "NoCandidate") from nobody

    def _fallback(self, why: str, scores: Mapping[str, float]) -> Choice | None:
        """The fallback with the user's words, once; ``scores`` are those of the choice that it takes the place of."""
        member = self.plan.fallback
        if member is None or self.fell_back or any(done.member == member.name for done in self.now.done if done.error):
            return None
        self.fell_back = True
        request = self.now.request
        try:
            given = member.fit(request)
        except MisfitError:
            return None
        return Choice(
            member=member,
            input=given,
            asked=request,
            reason=why,
            done=True,
            router=self.way.type,
            scores=scores,
            fallback=True,
            final=True,
        )

    async def _call(self, choice: Choice, member: Member, shared: SharedState | None) -> OperationError | None:
        """Call the chosen member; return its failure."""
        ctx, now = self.ctx, self.now
        streaming, number = ctx.streaming, str(now.step)
        if streaming:
            await ctx.emit(
                {
                    "type": "step_started",
                    "step": number,
                    "path": number,
                    "name": member.name,
                    "body": f"{member.kind.lower()} {member.name}",
                    "input": choice.input,
                    "why": choice.reason,
                    "attempt": 1,
                }
            )
        finished: JsonObject = {"type": "step_finished", "step": number, "path": number}
        try:
            before = [*now.conversation, *so_far(now.request, now.done)] if member.converses else ()
            output = await call_member(ctx, member, choice.input, before, shared)
        except OperationError as error:
            told: JsonObject = {"reason": error.reason, "message": error.message}
            now.done.append(Done(member=member.name, asked=choice.asked, error=told))
            if streaming:
                await ctx.emit({**finished, "phase": "Failed", "error": told, "attempts": 1})
            return error
        self.output = output
        now.done.append(Done(member=member.name, asked=choice.asked, output=output))
        if streaming:
            await ctx.emit({**finished, "phase": "Succeeded", "output": output, "attempts": 1})
        return None

    async def _worded(self, choice: Choice) -> JsonValue:
        """The answer in the router's words."""
        ctx, now = self.ctx, self.now
        if choice.member is None and choice.asked.strip():
            if ctx.streaming:
                await ctx.emit({"type": "text", "text": choice.asked})
            return choice.asked
        if self.way.request is None:
            return self.output
        messages = answer_messages(self.plan.spec, now.request, now.conversation, now.done)
        response = await ctx.perform("model.chat", {**self.way.request, "messages": messages}, name="answer")
        if response.get("finish_reason") == "content_filter":
            raise self._failed("the provider's content filter stopped the answer", "ContentFilter")
        # Words that are none are no better than what the member said.
        return text_of(response["message"]).strip() or self.output

    async def _history(self) -> Sequence[JsonObject]:
        ctx, memory = self.ctx, self.plan.spec.memory
        if not ctx.thread or not memory.enabled:
            return ()
        messages = [stored.message for stored in await ctx.history(last=memory.max_messages)]
        # A turn begins with the user; anything before its first message was cut in the middle.
        first = next((at for at, said in enumerate(messages) if said["role"] == "user"), len(messages))
        return messages[first:]

    def _failed(self, told: str, reason: str) -> RunFailedError:
        return RunFailedError(told, reason=reason, output=self.output)


def _decision(step: int, choice: Choice, plan: Plan) -> JsonObject:
    scores = choice.scores
    event: JsonObject = {
        "type": "decision",
        "kind": "route",
        "step": step,
        "router": choice.router,
        "chosen": choice.member.name if choice.member is not None else "",
        "candidates": [
            {"name": name, "score": scores[name]} if name in scores else {"name": name} for name in plan.members
        ],
        "input": choice.asked,
        "reason": choice.reason,
        "done": choice.done,
    }
    if choice.repaired:
        event["repaired"] = choice.repaired
    if choice.fallback:
        event["fallback"] = True
    return event


def _asked(input: JsonValue) -> list[JsonObject]:
    """The messages that begin the turn, their texts only; the last one is the request.

    Raises: RunFailedError (InvalidInput).
    """
    asked = input_messages(input, what="a network")
    if asked[-1]["role"] != "user":
        raise RunFailedError("the last of input.messages must have the role user", reason="InvalidInput")
    return [message(said["role"], text_of(said)) for said in asked]
