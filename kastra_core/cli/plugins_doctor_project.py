"""What ``kastra plugins doctor`` looks at in the project: its configuration, its store and its lock file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kastra_core.cli.plugins_doctor_checks import FAIL, OK, WARN, Finding, Scene
from kastra_core.errors import ConfigError, KastraError, StoreError, UnknownProviderError, UserError, nearest

if TYPE_CHECKING:
    from kastra_core.origins import MissingKind
    from kastra_core.runtime import RuntimeManager

__all__ = ["UNREAD", "lock", "providers", "store"]

UNREAD = "not looked at, as the configuration cannot be read"


def providers(scene: Scene) -> Iterator[Finding]:
    """Model providers that the configuration names and no plugin serves."""
    from kastra_core.execution.models import Models

    config = scene.config
    if config is None:
        yield Finding(level=WARN, message=UNREAD, remedy="mend the configuration first")
        return
    models = Models(scene.plugins, config)
    named = {f"providers.{name}": name for name in config.providers}
    for key, value in (
        ("model", config.model),
        ("defaultModel", config.default_model),
        ("defaultEmbeddings", config.default_embeddings),
    ):
        if value:
            named[key] = value.partition("/")[0]
    served = []
    for key, name in named.items():
        try:
            served.append(f"{name} by {models.choose(name).plugin}")
        except UnknownProviderError as error:
            message = f"{key} names the model provider {name!r}, which no plugin serves ({config.origin(key)})"
            near = nearest(name, error.known)
            remedy = f"did you mean {near!r}?" if near else f"install the plugin that does, or {_off(scene)}"
            # Settings of a provider that nobody uses do no harm.
            level = WARN if key.startswith("providers.") else FAIL
            yield Finding(level=level, subject=name, message=message, remedy=remedy)
        except ConfigError as error:
            wanted = _chosen(scene, name)
            info = scene.plugins.load().get(wanted)
            why = f"; plugin {wanted!r} is {info.state}" if info is not None and info.state != "loaded" else ""
            if info is None:
                why = f"; no plugin {wanted!r} is installed"
            remedy = f"install or mend it, or `kastra config unset {key}.plugin`"
            yield Finding(level=FAIL, subject=name, message=f"{error}{why}", remedy=remedy)
    if served:
        yield Finding(level=OK, message=", ".join(dict.fromkeys(served)))


def _chosen(scene: Scene, provider: str) -> str:
    """The plugin that the configuration chooses for a provider, "" when it chooses none."""
    section = scene.config.providers.get(provider) if scene.config is not None else None
    return (section.plugin or "") if section is not None else ""


def _off(scene: Scene) -> str:
    """What may bring back what is missing, when plugins are there that do not work."""
    off = [info.name for info in scene.plugins.load().values() if info.state != "loaded"]
    return f"bring one back that is off: {', '.join(off)}" if off else "take the setting away"


def store(scene: Scene) -> Iterator[Finding]:
    """The store that nobody opens, and kinds in it that nobody offers."""
    from kastra_core.cli.common import file_of

    state = scene.state
    if scene.config is None:
        yield Finding(level=WARN, message=UNREAD, remedy="mend the configuration first")
        return
    from kastra_core.settings import shown_text

    url = state.url
    shown = shown_text("store", url)
    scheme, colon, _ = url.partition(":")
    schemes = {name: plugin for plugin, r in scene.plugins.records("kastra_stores") for name in r.schemes}
    if colon and scheme not in schemes:
        near = nearest(scheme, list(schemes))
        remedy = f"did you mean {near!r}?" if near else f"install the plugin that does, or {_off(scene)}"
        message = f"the store {shown} has the scheme {scheme!r}, which no plugin serves"
        yield Finding(level=FAIL, subject=scheme, message=message, remedy=remedy)
        return
    file = file_of(url)
    if file is not None and not file.exists():
        yield Finding(level=OK, message=f"{shown} is not there yet")
        return
    try:
        found = state.read(_missing)
    except (Exception, SystemExit) as error:
        plugin = schemes.get(scheme, "")
        told = str(error) if isinstance(error, KastraError) else f"{type(error).__name__}: {error}"
        remedy = (error.remedy or "") if isinstance(error, KastraError) else ""
        if not remedy:
            more = f", `kastra plugins show {plugin}`" if plugin else ""
            remedy = "--debug shows more"
            if isinstance(error, StoreError):
                remedy = f"`kastra store check` looks at it{more}"
            elif isinstance(error, UserError):
                remedy = "mend the URL: --store, or store in the configuration"
        message = f"the store {shown} cannot be read: {' '.join(told.split())}"
        yield Finding(level=FAIL, subject=plugin, message=message, remedy=remedy)
        return
    for missing in found:
        count = "1 resource" if missing.count == 1 else f"{missing.count} resources"
        level = WARN if missing.reason == "blocked" else FAIL
        name = missing.plugin or missing.kind
        yield Finding(level=level, subject=name, message=f"{count} orphaned: {missing}", remedy=missing.remedy)
    if not found:
        yield Finding(level=OK, message=f"{shown} is served by {schemes[scheme]}; all its kinds are offered")


async def _missing(runtime: RuntimeManager) -> list[MissingKind]:
    return list((await runtime.missing_kinds()).values())


def lock(scene: Scene) -> Iterator[Finding]:
    """What differs from the lock file, where there is one."""
    from kastra_core.cli.plugins_compare import absent_plugins, compare
    from kastra_core.cli.plugins_lockfile import LOCK_FILE, lock_data, read_lock, there_is

    if scene.config is None:
        yield Finding(level=WARN, message=UNREAD, remedy="mend the configuration first")
        return
    path = scene.config.project / LOCK_FILE
    if not there_is(path):
        yield Finding(level=OK, message=f"there is no {LOCK_FILE}")
        return
    try:
        locked = read_lock(path)
    except KastraError as error:
        yield Finding(
            level=FAIL, subject=LOCK_FILE, message=str(error), remedy=error.remedy or "let it be read, or remove it"
        )
        return
    now, failed = lock_data(scene.plugins)
    for title, why in failed.items():
        message = f"the fields of {title} cannot be told: {why}"
        remedy = "mend the class or schema that it names (`kastra plugins doctor --imports`)"
        yield Finding(level=FAIL, subject=title, message=message, remedy=remedy)
    found = compare(locked, now, absent_plugins(scene.plugins.load(), scene.blocked_by))
    changed: dict[str, list[str]] = {}
    for difference in found:
        if difference.level == "lost":
            subject, remedy = difference.plugin, difference.remedy
            yield Finding(level=FAIL, subject=subject, message=difference.message, remedy=remedy)
        elif difference.level == "changed":
            changed.setdefault(difference.plugin, []).append(difference.message)
    for plugin, messages in changed.items():
        more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
        remedy = "`kastra plugins lock` takes it into the file"
        yield Finding(level=WARN, subject=plugin, message=messages[0] + more, remedy=remedy)
    new = sum(difference.level == "new" for difference in found)
    told = f"; new and not in it: {new} (`kastra plugins lock --check`)" if new else ""
    if not any(difference.level == "lost" for difference in found):
        yield Finding(level=OK, message=f"nothing of {LOCK_FILE} was lost{told}")
