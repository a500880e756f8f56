"""What a run is about: the resource that a user names, what should be said of it, and runs by name."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.errors import KastraError, NotFoundError, NotReadyError, UserError

if TYPE_CHECKING:
    from kastra_core.cli.common import CliState
    from kastra_core.runtime import RuntimeManager

__all__ = [
    "choose_plugins",
    "find_run",
    "find_target",
    "models_of",
    "option_n",
    "preload_model",
    "require_model",
    "short_name",
    "tell_notes",
]

RUN_KIND = "Run"


def short_name(kind: str, name: str) -> str:
    """``agent/greeter``."""
    return f"{kind.lower()}/{name}"


def option_n(runtime: RuntimeManager, namespace: str) -> str:
    """`` -n NAMESPACE`` when a command needs it, else ""."""
    return "" if namespace in ("", runtime.config.namespace) else f" -n {namespace}"


async def find_target(runtime: RuntimeManager, text: str, namespace: str | None) -> Resource:
    """The resource that should be run.

    Args:
        text: ``agent/greeter``, ``agent/cooking/greeter``, ``agent/cooking.greeter``.
        namespace: of a name that says none; default: the configuration's.
    Raises: UserError, UnknownKindError, NotFoundError.
    """
    kind_word, slash, name = text.partition("/")
    if not slash or not name:
        known = runtime.registry.lookup(kind_word)
        if known is not None:
            raise UserError(f"{text!r} is a kind; write {kind_word}/NAME (`kastra get {kind_word} -A` lists them)")
        word = text.strip("/")
        here = await _called(runtime, word, namespace)
        hint = f"here is {' and '.join(here)}" if here else f"for example agent/{word}"
        raise UserError(f"{text!r} does not say of what kind it is; write KIND/NAME, {hint}")
    kind = runtime.registry.resolve(kind_word)
    if not kind.executable:
        able = ", ".join(k.plural for k in runtime.registry if k.executable) or "none"
        raise UserError(f"a resource of kind {kind.kind} cannot be run; kinds that can: {able}")
    reference = runtime.reference(text, namespace=namespace)
    found = await runtime.client.get(reference.key)
    if found is None and "." in name and "/" not in name:
        there, _, rest = name.partition(".")
        other = attrs.evolve(reference, namespace=there if kind.namespaced else "", name=rest)
        found = await runtime.client.get(other.key)
    if found is None:
        raise await _missing(runtime, reference)
    return found


async def _called(runtime: RuntimeManager, name: str, namespace: str | None) -> list[str]:
    """``KIND/NAME`` of all that can be run and has this name."""
    keys = [
        ResourceKey(kind.group, kind.kind, (namespace or runtime.config.namespace) if kind.namespaced else "", name)
        for kind in runtime.registry
        if kind.executable
    ]
    return [short_name(key.kind, name) for key in keys if await runtime.client.get(key) is not None]


async def _missing(runtime: RuntimeManager, reference: Reference) -> UserError:
    kind = runtime.registry.of_key(reference.key)
    every = (await runtime.client.list(kind)).items
    places = sorted(r.metadata.namespace for r in every if r.metadata.name == reference.name)
    if places:
        return UserError(
            f"{reference.key} not found; there is one in namespace {', '.join(places)}: add -n {places[0]}"
        )
    if not every:
        return UserError(f"{reference.key} not found; there are no {kind.plural} yet: kastra apply -f FILE makes some")
    here = [str(r.key) for r in every if r.metadata.namespace == reference.namespace]
    return NotFoundError(str(reference.key), here)


async def find_run(runtime: RuntimeManager, text: str, namespace: str | None) -> Resource:
    """The Run that ``run/NAME``, ``run/NAMESPACE/NAME`` or ``NAME`` names. Raises: UserError, NotFoundError."""
    kind = runtime.registry.resolve(RUN_KIND)
    word, slash, _ = text.partition("/")
    if not slash:
        key = ResourceKey(MAIN_GROUP, RUN_KIND, namespace or runtime.config.namespace, text)
    else:
        if runtime.registry.lookup(word) != kind.group_kind:
            raise UserError(f"{text!r} is no run; write run/NAME (`kastra get runs -A` lists them)")
        key = runtime.reference(text, namespace=namespace).key
    found = await runtime.client.get(key)
    if found is None:
        runs = (await runtime.client.list(kind)).items
        places = [run.metadata.namespace for run in runs if run.metadata.name == key.name]
        if places:
            raise UserError(f"{key} not found; it is in namespace {places[0]}: add -n {places[0]}")
        raise NotFoundError(str(key), [str(run.key) for run in runs if run.metadata.namespace == key.namespace])
    return found


def choose_plugins(runtime: RuntimeManager, choices: Sequence[str]) -> None:
    """Let ``NAME=PLUGIN`` choices decide which plugin serves a provider, as long as this runtime lives.

    Raises: UserError, ConfigError (the plugin does not serve it).
    """
    if not choices:
        return
    from kastra_core.settings import ProviderSettings

    providers = dict(runtime.config.providers)
    for choice in choices:
        name, equal, plugin = choice.partition("=")
        if not (name and equal and plugin):
            raise UserError(f"--provider {choice!r}: write NAME=PLUGIN, for example --provider openai=litellm")
        providers[name] = attrs.evolve(providers.get(name) or ProviderSettings(), plugin=plugin)
    runtime.config = attrs.evolve(runtime.config, providers=providers)
    for choice in choices:
        runtime.models.choose(choice.partition("=")[0])


def models_of(runtime: RuntimeManager, target: Resource, override: str | None) -> str:
    """The model that answers for a target ("provider/name"), "" when none does or it is not known yet."""
    own = str(target.status.get("model") or "")
    # What has no model of its own is not answered by the one that replaces it.
    return (override or runtime.config.model or own) if own or "model" in target.spec else ""


def preload_model(runtime: RuntimeManager, target: Resource, override: str | None) -> None:
    """Have what the first model call needs imported while the run is prepared; errors are left to the run."""
    provider = models_of(runtime, target, override).partition("/")[0]
    if provider:
        with contextlib.suppress(KastraError):
            runtime.models.preload(provider)


def require_model(runtime: RuntimeManager, model: str, target: Resource) -> None:
    """Raise NotReadyError when a model that was asked for could not answer; UserError when it is none."""
    from kastra_core.execution.models import split_model

    provider, name = split_model(model)
    runtime.models.choose(provider)
    if target.status.get("model") == model:
        return  # its own address and key hold, which its controller has looked at
    check = runtime.models.check(provider, name)
    if not check.ok:
        message = check.told
        raise NotReadyError(f"model {model}", check.reason, message)


def tell_notes(state: CliState, runtime: RuntimeManager, target: Resource, override: str | None) -> None:
    """Tell on stderr what the user should know of a target that can run: a weak model, conditions that are amiss."""
    if state.quiet:
        return
    model = models_of(runtime, target, override)
    if model:
        from kastra_core.execution.models import split_model

        provider, name = split_model(model)
        if runtime.models.choose(provider).registration.keyless:
            note = runtime.models.check(provider, name).details.get("note")
            if note:
                state.note(note)
    for condition in target.status.get("conditions") or ():
        kind, reason = condition.get("type"), str(condition.get("reason") or "")
        if condition.get("status") != "False" or kind == "Ready" or (override and reason.startswith("Model")):
            continue
        state.note(f"{kind} is False ({reason}): {condition.get('message') or 'no message'}")
