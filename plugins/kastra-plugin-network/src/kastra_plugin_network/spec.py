"""What a Network's manifest may say under ``spec``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import attrs

from kastra_core.api.limits import LimitsSpec, ScalingSpec
from kastra_core.api.meta import JsonObject
from kastra_core.durations import Duration
from kastra_core.model_spec import ModelSpec
from kastra_core.serde import FieldError, converter, register_schema, structure_object, type_word

__all__ = [
    "CHOICE_S",
    "LISTS",
    "LONGEST_EXAMPLE",
    "MOST_EXAMPLES",
    "MemberUse",
    "MemorySpec",
    "ModelSpec",
    "NetworkSpec",
    "RouterSpec",
    "StateSpec",
]

LISTS: Mapping[str, str] = {"agents": "Agent", "workflows": "Workflow", "tools": "Tool", "networks": "Network"}
"""Lists of members in their order -> the kind that an entry means when it names none."""
CHOICE_S = Duration(60)
"""How long a router of a plugin may take by default."""
MOST_EXAMPLES = 20
"""Of one member: each is a vector in the memory of the process."""
LONGEST_EXAMPLE = 500
"""Characters of an example."""


@attrs.frozen(kw_only=True)
class MemberUse:
    """A member. In a manifest a reference, or {name, ref | refName | namespace, kind, description, examples}."""

    name: str
    """What the router sees; default: the name of what is referred to."""
    reference: str | Mapping[str, Any]
    """What the manifest says: a text, or an object with name, namespace, ref, refName, kind."""
    description: str = ""
    """Said to the router in place of the resource's own description."""
    examples: tuple[str, ...] = ()
    """Requests that are meant for the member, as people put them; a router compares others with them."""


@attrs.frozen(kw_only=True)
class RouterSpec:
    """Who decides which member is called next, and when the request is answered."""

    field_hints: ClassVar[Mapping[str, str]] = {
        "provider": "write it under model: spec.router.model.provider",
        "name": "write it under model: spec.router.model.name",
        "maxIterations": "it is called maxSteps here",
        "fallbackAgent": "it is called fallback here",
    }

    type: str | None = None
    """model: a model chooses. embedding: the member whose description and examples are nearest. auto: embedding, and
    the model when two are about as near. Another word: the operation router.WORD of a plugin. Default: model;
    embedding where a provider without account answers in place of the router's own model."""
    model: ModelSpec | None = None
    """Default: the configuration's ``defaultModel``, else a provider that needs no account."""
    instructions: str = ""
    """Added to what the router's model is told."""
    max_steps: int = 10
    """Members called in one run."""
    fallback: str | None = None
    """Name of the member that gets what nobody else fits."""
    max_repairs: int = 1
    """How often the model is shown what was wrong with its choice and asked again."""
    answer: Literal["member", "router"] = "member"
    """member: the last member's answer is the network's. router: the router words it."""
    embeddings: str | None = None
    """``provider/name`` of the model that makes embeddings. Default: the configuration's ``defaultEmbeddings``, else
    that of a provider without account."""
    margin: float = 0.01
    """auto: the model decides when the cosines of the best two differ by less."""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """For router types of plugins."""
    timeout: Duration = CHOICE_S
    """How long a router of a plugin may take for a choice; a model has its own ``timeoutS``."""


@attrs.frozen(kw_only=True)
class StateSpec:
    """State that the members of a run share. In a manifest ``true`` stands for all defaults."""

    persistence: bool = True
    """true: it belongs to the thread, without thread to the network. false: to the run, and goes with it."""
    ttl: Duration | None = None
    """How long a value lives after it was written: seconds (3600), or 90s, 10m, 7d. Default: for ever."""
    tools: bool = True
    """Agents get the tools state_get and state_set."""


@attrs.frozen(kw_only=True)
class MemorySpec:
    """What the network knows of earlier turns of its thread."""

    enabled: bool = True
    """False: the thread is neither read nor written."""
    max_messages: int = 20
    """The last so many messages of the thread are told to the router, and to members that are agents or networks."""


@attrs.frozen(kw_only=True)
class NetworkSpec:
    """Spec of kind Network."""

    field_hints: ClassVar[Mapping[str, str]] = {
        "members": "list members under agents, workflows, tools and networks",
        "model": "write it under router: spec.router.model",
        "maxSteps": "write it under router: spec.router.maxSteps",
        "fallback": "write it under router: spec.router.fallback",
        "ttl": "write it under state: spec.state.ttl",
    }

    instructions: str = ""
    """What the network is for; the router reads it."""
    description: str = ""
    """What it is good for, for people, agents that call it and routers of other networks."""
    agents: tuple[MemberUse, ...] = ()
    """Members of kind Agent; a ref may name another kind (workflows/report)."""
    workflows: tuple[MemberUse, ...] = ()
    """Members of kind Workflow."""
    tools: tuple[MemberUse, ...] = ()
    """Members of kind Tool."""
    networks: tuple[MemberUse, ...] = ()
    """Members of kind Network; a network may not reach itself."""
    router: RouterSpec = attrs.field(factory=RouterSpec)
    state: StateSpec | None = None
    """State that the members share; none: they share nothing."""
    memory: MemorySpec = attrs.field(factory=MemorySpec)
    limits: LimitsSpec = attrs.field(factory=LimitsSpec)
    scaling: ScalingSpec = attrs.field(factory=ScalingSpec)


_MEMBER_FIELDS = ("description", "examples", "kind", "name", "namespace", "ref", "refName")


def _state(value: Any, _: Any) -> StateSpec:
    if value is True:
        return StateSpec()
    return structure_object(value, StateSpec)


def _member(value: Any, _: Any) -> MemberUse:
    if isinstance(value, str):
        return MemberUse(name=_last(value), reference=value)
    if not isinstance(value, Mapping):
        raise FieldError(f"expected a reference or an object, found {type_word(value)}")
    for key, item in value.items():
        if key not in _MEMBER_FIELDS:
            hint = "a member is named here and described by a resource of its own"
            known = ", ".join(_MEMBER_FIELDS)
            raise FieldError(f"unknown field {key!r}; known fields: {known}", path=str(key), hint=hint)
        if key != "examples" and not isinstance(item, str):
            raise FieldError(f"expected a string, found {type_word(item)}", path=str(key))
    target = value.get("ref") or value.get("refName") or value.get("name")
    if not target:
        raise FieldError("expected name, ref or refName")
    return MemberUse(
        name=value.get("name") or _last(target),
        reference={key: item for key, item in value.items() if key not in ("description", "examples")},
        description=value.get("description", ""),
        examples=_examples(value.get("examples", ())),
    )


def _examples(given: Any) -> tuple[str, ...]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise FieldError(f"expected a list of texts, found {type_word(given)}", path="examples")
    for at, text in enumerate(given):
        if not isinstance(text, str):
            raise FieldError(f"expected a string, found {type_word(text)}", path=f"examples[{at}]")
    return tuple(given)


def _last(reference: str) -> str:
    """Name of what a reference in text form names."""
    text = reference.strip()
    tail = text.rpartition("/")[2]
    return tail if "/" in text else tail.partition(".")[2] or tail


def _member_schema(own: JsonObject, schema_of: Callable[[Any], JsonObject]) -> JsonObject:
    words: JsonObject = {name: {"type": "string"} for name in _MEMBER_FIELDS}
    words["name"]["description"] = own["properties"]["name"]["description"]
    words |= {name: own["properties"][name] for name in ("description", "examples")}
    known = {"type": "object", "properties": words, "additionalProperties": False}
    target = [{"required": [name], "properties": {name: {"minLength": 1}}} for name in ("ref", "refName", "name")]
    return {"anyOf": [{"type": "string", "description": "A reference."}, {**known, "anyOf": target}]}


converter().register_structure_hook(StateSpec, _state)
converter().register_structure_hook(MemberUse, _member)
register_schema(StateSpec, lambda own, _: {"anyOf": [{"const": True}, own]})
register_schema(MemberUse, _member_schema)
