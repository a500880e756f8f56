"""How the next member is chosen, for each type of router. All choices are recorded operations."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import attrs
import orjson

from kastra_core.api.meta import JsonObject, JsonValue, Resource
from kastra_core.errors import OperationError, RunFailedError
from kastra_core.model_spec import ModelSpec, chosen_model
from kastra_core.protocols.model_input import text_of
from kastra_core.protocols.runner import RunContext
from kastra_core.serde import type_word
from kastra_plugin_network.choice import Choice, ChoiceError, read_choice, read_object
from kastra_plugin_network.members import Member, MisfitError
from kastra_plugin_network.prompts import RESULT_CHARS, Done, cut, message, repair_text, situation
from kastra_plugin_network.spec import NetworkSpec

__all__ = ["NoCandidateError", "Pass", "Plan", "Way", "choose", "embedding_text", "model_of", "way_of"]

_ROUTE = "route"
"""Step of the journal path of a choice."""
_OF_A_SCHEMA = re.compile(r"response_format|schema|structured", re.IGNORECASE)
"""What providers write when a model has no structured output (gpt-4, many served locally)."""
_PICK = """\
Choose the member that can answer the request best. Answer with JSON: {{"agent": name}}.

Members:
{members}"""


class NoCandidateError(Exception):
    """The router has nobody to call; ``message`` says why, ``scores`` what it thinks of the members."""

    def __init__(self, message: str, scores: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.message, self.scores = message, scores or {}


class UnusableError(NoCandidateError):
    """What the model answers is no choice, whatever it was told."""


@attrs.frozen(eq=False)
class Plan:
    """What does not change between the runs of one pinned network."""

    target: Resource
    spec: NetworkSpec
    members: Mapping[str, Member]
    system: JsonObject
    """What the router's model is told."""
    schema: JsonObject
    """Of the model's choice."""
    bounded: JsonObject
    """The same with bounds on its texts, for models without account."""
    candidates: Sequence[JsonObject]
    """The members, as operations get them."""

    @property
    def fallback(self) -> Member | None:
        return self.members.get(self.spec.router.fallback or "")


@attrs.frozen(kw_only=True)
class Way:
    """How a run routes."""

    type: str
    request: JsonObject | None
    """Arguments of ``model.chat`` without messages; None: no model is there."""
    weak: bool = False
    """The model is one without account: it only chooses between members that are about as near."""
    why: str = ""
    """Why it is not what the network itself says."""


@attrs.define(kw_only=True)
class Pass:
    """What a router decides on."""

    request: str
    """The user's words."""
    conversation: Sequence[JsonObject]
    """Messages before them."""
    scope: str | None
    """Of the shared state."""
    done: list[Done] = attrs.field(factory=list)
    step: int = 1
    schema: bool = True
    """The model is given the schema of its choice; false when it has refused one: the instructions say it too."""

    @property
    def answered(self) -> bool:
        """Some member has answered."""
        return any(result.error is None for result in self.done)

    async def state(self, ctx: RunContext) -> JsonObject | None:
        if self.scope is None:
            return None
        found = await ctx.perform("state.get", {"scope": self.scope}, name="state")
        return found if isinstance(found, dict) else None


# ------------------------------------------------------------------------------------------------ the way


def model_of(
    spec: NetworkSpec, override: str | None, default: str | None, *, does: str = "routes"
) -> tuple[ModelSpec | None, str]:
    """Return (model of the router, why it is not the network's own or ""); ``does`` says what for."""
    return chosen_model(spec.router.model, override, default, field="spec.router.model", does=does)


def embedding_text(own: ModelSpec | None, model: ModelSpec | None) -> str:
    """Why a network without a router type is routed by embeddings.

    Args:
        own: what the network names.
        model: what would route in its place, a small one; None: there is none.
    """
    decides = "the nearest description decides (router type embedding)"
    if model is None:
        return f"{decides}, as there is no model"
    place = f" in place of {own}" if own is not None else ""
    return f"{decides}{place}, as {model} needs no account and such models are small"


async def way_of(ctx: RunContext, spec: NetworkSpec) -> Way:
    """Decide how this run routes; what depends on the installation is recorded.

    Raises: RunFailedError (ModelMissing).
    """
    router = spec.router
    model, _ = model_of(spec, ctx.spec.get("model"), ctx.spec.get("defaultModel"))
    kind, weak, why = router.type, False, ""
    if kind == "auto" or (kind is None and (model is None or model is not router.model)):
        asked = {"type": kind, "model": str(model) if model else None, "embeddings": router.embeddings}
        found = await ctx.perform("network.plan", asked, name="plan")
        kind, weak = found["type"], found["weak"]
        # A model that is only the reason does not route itself.
        if kind == "embedding" and router.type is None:
            why = embedding_text(router.model, model)
    else:
        kind = kind or "model"
    if model is None and (kind == "model" or (router.answer == "router" and kind not in ("embedding", "auto"))):
        raise RunFailedError(
            "the network names no model (spec.router.model) and there is no default", reason="ModelMissing"
        )
    return Way(type=kind, request=model.request() if model is not None else None, weak=weak, why=why)


# ------------------------------------------------------------------------------------------------ choosing


async def choose(ctx: RunContext, plan: Plan, way: Way, now: Pass) -> Choice:
    """The next choice.

    Raises: NoCandidateError; OperationError: the router itself failed.
    """
    if way.type == "model":
        return await _by_model(ctx, plan, way, now)
    if way.type == "embedding":
        return (await _by_embedding(ctx, plan, now))[0]
    if way.type == "auto":
        return await _auto(ctx, plan, way, now)
    return await _by_plugin(ctx, plan, way, now)


async def _by_model(
    ctx: RunContext, plan: Plan, way: Way, now: Pass, scores: Mapping[str, float] | None = None
) -> Choice:
    assert way.request is not None
    told = situation(now.request, now.conversation, now.done, await now.state(ctx))
    messages = [plan.system, message("user", told)]
    request = {**way.request, "show": False}
    repaired, bounded = 0, way.weak
    while True:
        schema = {"response_schema": plan.bounded if bounded else plan.schema} if now.schema else {}
        text, endless = "", False
        try:
            response = await ctx.perform("model.chat", {**request, **schema, "messages": messages}, name=_ROUTE)
            text, endless = _answer_of(response), response.get("finish_reason") == "length"
            choice = read_choice(
                read_object(text), plan.members, now.request, router="model", repaired=repaired, scores=scores or {}
            )
            _sensible(choice, plan, now)
        except ChoiceError as error:
            wrong = error.message
            if endless:
                wrong = f"it was cut at the model's limit of output tokens ({wrong})"
        except OperationError as error:
            if now.schema and error.reason == "InvalidRequest" and _OF_A_SCHEMA.search(error.message):
                now.schema = False
                if ctx.streaming:
                    told = f"the router's model takes no schema, it is asked without one ({error.message})"
                    await ctx.emit({"type": "note", "message": told})
                continue
            if error.reason != "BadResponse":
                raise
            # So says a provider that reads the JSON itself when it is broken, cut or does not fit the schema.
            wrong, endless = error.message, True
        else:
            if choice.member is None and not choice.done:
                raise NoCandidateError(choice.reason or "the router says that no member fits", choice.scores)
            return choice
        if ctx.streaming:
            await ctx.emit({"type": "note", "message": f"the router's choice cannot be carried out: {wrong}"})
        if repaired >= plan.spec.router.max_repairs:
            raise UnusableError(f"the router's choice cannot be carried out: {wrong}", scores)
        repaired += 1
        if endless and not bounded:
            bounded = await _needs_no_account(ctx, request)
        # Its text alone: a call of a tool that nobody offered would have to be answered.
        said = cut(text, RESULT_CHARS) if text.strip() else "(nothing)"
        messages += [message("assistant", said), message("user", repair_text(wrong))]


async def _needs_no_account(ctx: RunContext, request: JsonObject) -> bool:
    """Whether the model takes bounds in a schema: those of strict modes do not."""
    asked = {"type": "model", "model": f"{request['provider']}/{request['model']}", "embeddings": None}
    found = await ctx.perform("network.plan", asked, name="plan")
    return bool(found["weak"])


def _answer_of(response: Any) -> str:
    finish = response.get("finish_reason")
    if finish == "content_filter":
        raise RunFailedError("the provider's content filter stopped the router", reason="ContentFilter")
    return text_of(response["message"])


def _sensible(choice: Choice, plan: Plan, now: Pass) -> None:
    """Raises: ChoiceError for what contradicts itself."""
    if choice.member is not None:
        return
    if choice.done:
        words = plan.spec.router.answer == "router" and choice.asked.strip()
        if not now.answered and not words:
            raise ChoiceError("done is true, but no member has answered yet; choose a member")
    elif now.answered:
        raise ChoiceError("agent is null and done is false; choose a member, or set done when the request is answered")


async def _by_embedding(ctx: RunContext, plan: Plan, now: Pass) -> tuple[Choice, float]:
    """Return (the nearest member that takes the request, how much nearer it is than the next one).

    Raises: NoCandidateError: no member takes it.
    """
    options: JsonObject = {}
    if plan.spec.router.embeddings:
        options["embeddings"] = plan.spec.router.embeddings
    found = await ctx.perform("router.embedding", _arguments(plan, now, None, options), name=_ROUTE)
    scores: dict[str, float] = found["scores"]
    ranked = sorted(scores, key=lambda name: -scores[name])
    for at, name in enumerate(ranked):
        member = plan.members[name]
        try:
            fitting = member.fit(now.request)
        except MisfitError:
            continue
        choice = Choice(
            member=member,
            input=fitting,
            asked=now.request,
            reason=found["reason"] if at == 0 else f"nearest of those that take a text ({scores[name]:.3f})",
            done=True,
            router="embedding",
            scores=scores,
            final=True,
        )
        return choice, float(found["margin"]) if at == 0 else 0.0
    told = "no member takes the request as it is; a model could make their inputs (router type model)"
    raise NoCandidateError(told, scores)


async def _auto(ctx: RunContext, plan: Plan, way: Way, now: Pass) -> Choice:
    strong = way.request is not None and not way.weak
    if now.done and strong:
        try:
            return await _by_model(ctx, plan, way, now)
        except OperationError as error:
            if now.done[-1].error is None:
                raise
            raise NoCandidateError(f"the model could not decide how to go on: {error}") from error
    nearest, margin = await _by_embedding(ctx, plan, now)
    if strong:  # and reacts when the member fails
        nearest = attrs.evolve(nearest, final=False)
    limit = plan.spec.router.margin
    if margin >= limit or way.request is None or len(plan.members) == 1:
        return nearest
    try:
        if way.weak:
            return await _pick(ctx, plan, way, now, nearest, limit)
        return await _by_model(ctx, plan, way, now, nearest.scores)
    except (OperationError, UnusableError) as error:
        if ctx.streaming:
            told = f"the model could not decide ({error}); the nearest member is taken"
            await ctx.emit({"type": "note", "message": told})
        return nearest


async def _pick(ctx: RunContext, plan: Plan, way: Way, now: Pass, nearest: Choice, limit: float) -> Choice:
    """Have a small model choose between members that are about as near; it gets the user's words."""
    assert way.request is not None
    assert nearest.member is not None
    scores = nearest.scores
    best = scores[nearest.member.name]
    near: dict[str, JsonValue] = {}
    for name, member in plan.members.items():
        try:
            near_enough = abs(best - scores[name]) < limit or member is nearest.member
            if near_enough:
                near[name] = member.fit(now.request)
        except MisfitError:
            continue
    if len(near) == 1:
        return nearest
    lines = [f"- {name}: {plan.members[name].description}".rstrip(": ") for name in near]
    schema: JsonObject = {
        "type": "object",
        "properties": {"agent": {"type": "string", "enum": list(near)}},
        "required": ["agent"],
        "additionalProperties": False,
    }
    messages = [
        message("system", _PICK.format(members="\n".join(lines))),
        message("user", situation(now.request, now.conversation, (), None)),
    ]
    response = await ctx.perform(
        "model.chat",
        {**way.request, "response_schema": schema, "show": False, "messages": messages},
        name=_ROUTE,
    )
    try:
        picked = read_object(_answer_of(response)).get("agent")
    except ChoiceError:
        picked = None
    if not isinstance(picked, str) or picked not in near:
        return nearest
    told = ", ".join(f"{other} {scores[other]:.3f}" for other in near)
    return attrs.evolve(
        nearest,
        member=plan.members[picked],
        input=near[picked],
        reason=f"the model chose between those that are about as near: {told}",
        router="model",
    )


async def _by_plugin(ctx: RunContext, plan: Plan, way: Way, now: Pass) -> Choice:
    arguments = _arguments(plan, now, await now.state(ctx), dict(plan.spec.router.options))
    # A copy: what it does to its arguments stays there.
    arguments = orjson.loads(orjson.dumps(arguments))
    timeout_s = plan.spec.router.timeout
    try:
        found = await _in_time(ctx.perform(f"router.{way.type}", arguments, name=_ROUTE), timeout_s)
    except TimeoutError as late:
        told = f"router {way.type} made no choice within {timeout_s:g} s (spec.router.timeout)"
        raise RunFailedError(told, reason="RouterTimeout") from late
    scores = _scores(found.get("scores"), plan.members) if isinstance(found, dict) else {}
    try:
        if not isinstance(found, dict):
            raise ChoiceError(f"its result is {type_word(found)}, expected an object")
        choice = read_choice(found, plan.members, now.request, router=way.type, scores=scores)
        _sensible(choice, plan, now)
    except ChoiceError as error:
        raise NoCandidateError(f"router {way.type}: {error.message}", scores) from error
    if choice.member is None and not choice.done:
        raise NoCandidateError(choice.reason or f"router {way.type} says that no member fits", scores)
    last = now.done[-1] if now.done else None
    if last is not None and last.error is not None and choice.member is not None:
        same = (last.member, last.asked) == (choice.member.name, choice.asked)
        if same:
            raise NoCandidateError(f"router {way.type} chose {last.member} again, which has just failed", scores)
    return choice


async def _in_time(work: Awaitable[JsonValue], timeout_s: float) -> JsonValue:
    """Await what is recorded only when it is done in time: begun again elsewhere, it has its whole time again.

    Raises: TimeoutError.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return await work  # a replay that is driven by hand: all is recorded
    async with asyncio.timeout(timeout_s):
        return await work


def _scores(given: JsonValue, members: Mapping[str, Member]) -> dict[str, float]:
    """Those that are numbers, of members."""
    if not isinstance(given, dict):
        return {}
    return {
        name: score
        for name, score in given.items()
        if name in members and isinstance(score, int | float) and not isinstance(score, bool)
    }


def _arguments(plan: Plan, now: Pass, state: JsonObject | None, options: JsonObject) -> JsonObject:
    """What the operation of a router type gets."""
    meta, spec = plan.target.metadata, plan.spec
    return {
        "network": {"namespace": meta.namespace, "name": meta.name},
        "instructions": "\n\n".join(text for text in (spec.instructions, spec.router.instructions) if text),
        "request": now.request,
        "conversation": list(now.conversation),
        "candidates": list(plan.candidates),
        "results": [result.to_json() for result in now.done],
        "state": state,
        "options": options,
        "step": now.step,
    }
