"""What differs between a lock file and what is installed: what was lost, what changed, what is new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.cli.plugins_fields import allows, demands, holds_field, is_required, type_of
from kastra_core.cli.plugins_lockfile import LISTS

if TYPE_CHECKING:
    from kastra_core.plugins import PluginInfo

__all__ = ["Difference", "absent_plugins", "compare"]


@attrs.frozen(kw_only=True)
class Difference:
    """What is not as the lock file says."""

    level: str
    """lost: it was there and is not; changed: it is there in another way that takes nothing away; new."""
    plugin: str
    message: str
    remedy: str = ""

    def to_json(self) -> JsonObject:
        return attrs.asdict(self)


def compare(locked: JsonObject, now: JsonObject, absent: Mapping[str, tuple[str, str]]) -> list[Difference]:
    """Return what differs, by plugin: what was lost first.

    Args:
        locked, now: data of lock files.
        absent: of a plugin that is installed and offers nothing why ("is blocked by --no-plugin"), and a remedy.
    """
    before, after = locked["plugins"], now["plugins"]
    owners = {
        feature: name for name, plugin in sorted(after.items(), reverse=True) for feature in _features(plugin["offers"])
    }
    out: list[Difference] = []
    for name in sorted({*before, *after}):
        if name not in before:
            version = _title(after[name])
            out.append(Difference(level="new", plugin=name, message=f"plugin {name!r} ({version}) is not in the file"))
        elif name not in after:
            out.append(_gone(name, before[name], *absent.get(name, ("is not installed", _pin(before[name])))))
        else:
            out.extend(_plugin(name, before[name], after, owners))
    ranks = ("lost", "changed", "new")
    return sorted(out, key=lambda difference: ranks.index(difference.level))


def _title(plugin: Mapping[str, Any]) -> str:
    return f"{plugin['distribution']} {plugin['version']}".strip()


def _pin(plugin: Mapping[str, Any]) -> str:
    name, version = plugin["distribution"], plugin["version"]
    return f"pip install {name}=={version}" if name and version else f"install {name or 'the plugin'} as it was"


def _gone(name: str, plugin: Mapping[str, Any], why: str, remedy: str) -> Difference:
    offered = ", ".join(" ".join(feature) for feature in _features(plugin["offers"]))
    message = f"plugin {name!r} ({_title(plugin)}) {why}; the file has it with {offered or 'nothing'}"
    return Difference(level="lost", plugin=name, message=message, remedy=remedy)


def _plugin(
    name: str, before: Mapping[str, Any], every: Mapping[str, Any], owners: Mapping[tuple[str, str], str]
) -> Iterator[Difference]:
    after = every[name]
    if _title(before) != _title(after):
        message = f"plugin {name!r} is {_title(after)}, the file has {_title(before)}"
        yield Difference(level="changed", plugin=name, message=message)
    if before.get("hooks") != after.get("hooks"):
        hooks = [f"version {p.get('hooks')}" if p.get("hooks") is not None else "no version" for p in (after, before)]
        message = f"plugin {name!r} states {hooks[0]} of the hooks, the file has {hooks[1]}"
        yield Difference(level="changed", plugin=name, message=message)
    there = _features(after["offers"])
    served = {kind for plugin in every.values() for kind in plugin["offers"].get("controllers", {}).values()}
    of = f"{after['distribution']} {after['version']}"
    for feature, was in _features(before["offers"]).items():
        title = " ".join(feature)
        owner = owners.get(feature)
        if owner is None:
            message = f"{title} is gone: plugin {name!r} ({of}) does not offer it"
            # Nobody names a controller; what counts is that there is one for the kind.
            level = "changed" if feature[0] == "controller" and was in served else "lost"
            yield Difference(level=level, plugin=name, message=message, remedy=_pin(before) if level == "lost" else "")
            continue
        if owner != name and feature not in there:
            message = f"{title} is of plugin {owner!r} now, it was of {name!r}"
            yield Difference(level="changed", plugin=name, message=message)
        found = there.get(feature, _features(every[owner]["offers"])[feature])
        if feature[0] == "controller" and found != was:
            level, what = "changed" if was in served else "lost", f"it was for {was} and is for {found} now"
            yield Difference(level=level, plugin=name, message=f"{title}: {what}")
        for level, what in _detail(feature[0], was, found):
            remedy = _pin(before) if level == "lost" else ""
            yield Difference(level=level, plugin=name, message=f"{title}: {what}", remedy=remedy)
    for feature in sorted(there.keys() - _features(before["offers"]).keys()):
        message = f"plugin {name!r} offers {' '.join(feature)}, which is not in the file"
        yield Difference(level="new", plugin=name, message=message)


def _features(offers: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """(what, name) -> what there is to know of it."""
    out: dict[tuple[str, str], Any] = {("kind", name): kind for name, kind in offers.get("kinds", {}).items()}
    out |= {("controller", name): kind for name, kind in offers.get("controllers", {}).items()}
    return out | {(title, name): None for what, title in LISTS.items() for name in offers.get(what, ())}


def _detail(what: str, was: Any, now: Any) -> Iterator[tuple[str, str]]:
    """(level, what is different) of one thing that is there before and after."""
    if what != "kind":
        return
    for word in ("plural", "singular", "scope"):
        if was[word] != now[word]:
            yield "lost", f"its {word} was {was[word]} and is {now[word]} now"
    for name in was["shortNames"]:
        if name not in now["shortNames"]:
            yield "lost", f"its short name {name} is gone"
    for what in was["can"]:
        if what not in now["can"]:
            yield "lost", f"it cannot {what} any more"
    yield from _added(was, now)
    for version, fields in was["versions"].items():
        if version not in now["versions"]:
            yield "lost", f"version {version} is gone"
        elif now["versions"][version]:
            yield from _fields(version, fields, now["versions"][version])


def _added(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for version in sorted(now["versions"].keys() - was["versions"].keys()):
        yield "new", f"version {version} is not in the file"
    for name in sorted(set(now["shortNames"]) - set(was["shortNames"])):
        yield "new", f"the short name {name} is not in the file"
    for what in sorted(set(now["can"]) - set(was["can"])):
        yield "new", f"it can {what}"


def _fields(version: str, was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    gone = [path for path in was if not holds_field(now, path)]
    for path in gone:
        # What is below a field that is gone is gone with it.
        if not any(path.startswith((f"{other}.", f"{other}[")) for other in gone):
            yield "lost", f"{version} has no field {path} any more"
    if not was:
        return
    for path, kind in now.items():
        before = was.get(path)
        if demands(now, was, path):
            yield "lost", f"{version}: the field {path} is required now, manifests could do without it"
        if before is None:
            yield "new", f"{version}: the field {path} is not in the file"
            continue
        if type_of(kind) != type_of(before):
            level = "changed" if allows(kind, before) else "lost"
            yield level, f"{version}: the field {path} was {type_of(before)} and is {type_of(kind)} now"
        if is_required(before) and not is_required(kind):
            yield "changed", f"{version}: the field {path} need not be there any more"


def absent_plugins(infos: Mapping[str, PluginInfo], blocked_by: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Why installed plugins offer nothing, and what to do, for :func:`compare`.

    Args:
        blocked_by: plugin -> what blocks it.
    """
    out = {}
    for name, info in infos.items():
        if info.state == "blocked":
            # `kastra plugins doctor --imports` leaves out by itself what nobody can import.
            by = blocked_by.get(name)
            if by is None:
                out[name] = ("is left out, as its import does not end well", f"mend {info.module}")
                continue
            remedy = "leave the option out" if by.startswith("--") else f"take {name} from {by}"
            out[name] = (f"is blocked by {by}", f"{remedy}, or `kastra plugins lock` takes it from the file")
        elif info.error is not None:
            why = str(info.error).removeprefix(f"plugin {name!r} ")
            out[name] = (why, f"`kastra plugins show {name}` says what to do")
    return out
