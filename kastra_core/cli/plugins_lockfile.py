"""The lock file of a project's plugins: what it holds, reading and writing it, and what differs from it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.cli.plugins_fields import allows, fields_of, holds_field
from kastra_core.cli.plugins_records import kind_title, version_of
from kastra_core.errors import UserError
from kastra_core.hookspecs import API_VERSION
from kastra_core.plugins import BUILTIN

if TYPE_CHECKING:
    from kastra_core.api.kind import ResourceKind
    from kastra_core.plugins import PluginInfo, PluginManager

__all__ = [
    "LOCK_FILE",
    "Difference",
    "LockFileError",
    "absent_plugins",
    "compare",
    "lock_data",
    "lock_text",
    "read_lock",
    "write_lock",
]

LOCK_FILE = "kastra-plugins.lock"
FORMAT = 1
"""Of the file; a newer one is not read."""
_LISTS = ("stores", "modelProviders", "migrators", "exporters", "operations", "commands")
_TITLES = {
    "stores": "store scheme",
    "modelProviders": "model provider",
    "migrators": "migrator",
    "exporters": "exporter",
    "operations": "operation",
    "commands": "command",
}


class LockFileError(UserError):
    """A lock file cannot be read: it is damaged, or of a newer format."""


# ------------------------------------------------------------------------------------------------ what is installed


def lock_data(plugins: PluginManager) -> tuple[JsonObject, dict[str, str]]:
    """Return what a lock file says of the loaded plugins, and the kinds whose fields cannot be told.

    Returns:
        The data, and "Kind.group of plugin 'name'" -> why.
    """
    told: JsonObject = {}
    failed: dict[str, str] = {}
    for info in plugins.load().values():
        if info.state != "loaded":
            continue
        told[info.name] = {
            "distribution": info.distribution,
            "version": version_of(info),
            "hooks": API_VERSION if info.name == BUILTIN else info.api_version,
            "offers": _offers(info, failed),
        }
    return {"format": FORMAT, "plugins": told}, failed


def _offers(info: PluginInfo, failed: dict[str, str]) -> JsonObject:
    records = info.records
    migrators = records.get("kastra_migrators", ())
    offers: JsonObject = {
        "kinds": {},
        "controllers": {r.name: kind_title(r.kind, r.group) for r in records.get("kastra_controllers", ())},
        "stores": sorted(scheme for r in records.get("kastra_stores", ()) for scheme in r.schemes),
        "modelProviders": sorted({name for r in records.get("kastra_model_providers", ()) for name in r.providers}),
        "migrators": sorted(r.name for r in migrators),
        "exporters": sorted(r.name for r in migrators if r.exporter is not None),
        "operations": sorted(r.name for r in records.get("kastra_operations", ())),
        "commands": sorted(r.name for r in records.get("kastra_commands", ())),
    }
    for kind in records.get("kastra_resource_kinds", ()):
        title = kind_title(kind.kind, kind.group)
        try:
            offers["kinds"][title] = _kind(kind)
        except Exception as error:  # what a plugin's own modules raise when they are imported
            failed[f"{title} of plugin {info.name!r}"] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return {what: found for what, found in offers.items() if found}


def _kind(kind: ResourceKind) -> JsonObject:
    versions: JsonObject = dict.fromkeys(kind.served_versions)
    for version in (kind.version, *kind.structures):
        versions[f"{kind.group}/{version}" if kind.group else version] = fields_of(kind, version=version)
    return {
        "plural": kind.plural,
        "shortNames": sorted(kind.short_names),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "runs": kind.executable,
        # A version that is only converted has no fields of its own.
        "versions": {version: fields or {} for version, fields in versions.items()},
    }


# ------------------------------------------------------------------------------------------------ the file


def read_lock(path: Path) -> JsonObject:
    """Return what a lock file says.

    Raises:
        LockFileError: it is damaged or of a newer format. UserError: it cannot be read.
    """
    import orjson

    anew = "write it anew: kastra plugins lock --force"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if b"<<<<<<<" in text and b">>>>>>>" in text:
        raise LockFileError(f"{path} has the marks of a merge that was not settled; {anew}")
    try:
        data = orjson.loads(text)
    except ValueError as error:
        raise LockFileError(f"{path} is damaged: {error}; {anew}") from error
    found = data.get("format") if isinstance(data, dict) else None
    if isinstance(found, int) and not isinstance(found, bool) and found > FORMAT:
        raise LockFileError(
            f"{path} has format {found}, this kastra-core reads format {FORMAT}: upgrade kastra-core, or {anew}"
        )
    if wrong := _wrong(data):
        raise LockFileError(f"{path} is damaged: {wrong}; {anew}")
    return dict(data)


def _wrong(data: Any) -> str:
    """What makes data no lock file, "" when they are one."""
    # Python takes true for 1.
    if not isinstance(data, dict) or data.get("format") != FORMAT or data["format"] is True:
        return f"expected an object with format {FORMAT}"
    plugins = data.get("plugins")
    if not isinstance(plugins, dict):
        return "plugins: expected an object"
    for name, plugin in plugins.items():
        offers = plugin.get("offers") if isinstance(plugin, dict) else None
        if not isinstance(offers, dict) or not all(isinstance(plugin.get(k), str) for k in ("distribution", "version")):
            return f"plugins.{name}: expected distribution, version, hooks and offers"
        for what, found in offers.items():
            if what in _LISTS and not (isinstance(found, list) and all(isinstance(one, str) for one in found)):
                return f"plugins.{name}.offers.{what}: expected a list of names"
        if not _are_texts(offers.get("controllers", {})):
            return f"plugins.{name}.offers.controllers: expected names with kinds"
        kinds = offers.get("kinds", {})
        if not isinstance(kinds, dict) or not all(_is_kind(kind) for kind in kinds.values()):
            return f"plugins.{name}.offers.kinds: expected kinds with plural, shortNames, scope, runs and versions"
    return ""


def _is_kind(kind: Any) -> bool:
    return (
        isinstance(kind, dict)
        and isinstance(kind.get("plural"), str)
        and isinstance(kind.get("scope"), str)
        and isinstance(kind.get("runs"), bool)
        and isinstance(kind.get("shortNames"), list)
        and isinstance(kind.get("versions"), dict)
        and all(_are_texts(fields) for fields in kind["versions"].values())
    )


def _are_texts(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def lock_text(data: JsonObject) -> bytes:
    """The content of a lock file: the same data give the same bytes."""
    import orjson

    return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def write_lock(path: Path, data: JsonObject) -> bool:
    """Write a lock file whole or not at all; return False when it says that already and is left alone.

    Raises: UserError.
    """
    import contextlib

    text = lock_text(data)
    # The file that a link leads to is replaced, not the link.
    path = Path(os.path.realpath(path))
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        mode: int | None = None
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == text:
                return False
            mode = path.stat().st_mode & 0o777
        with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), "wb") as file:
            if mode is not None:
                beside.chmod(mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    return True


# ------------------------------------------------------------------------------------------------ comparing


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
    return f"pip install {plugin['distribution']}=={plugin['version']}"


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
    return out | {(_TITLES[what], name): None for what in _LISTS for name in offers.get(what, ())}


def _detail(what: str, was: Any, now: Any) -> Iterator[tuple[str, str]]:
    """(level, what is different) of one thing that is there before and after."""
    if what != "kind":
        return
    for word, text in (("plural", "plural"), ("scope", "scope")):
        if was[word] != now[word]:
            yield "lost", f"its {text} was {was[word]} and is {now[word]} now"
    for name in was["shortNames"]:
        if name not in now["shortNames"]:
            yield "lost", f"its short name {name} is gone"
    if was["runs"] and not now["runs"]:
        yield "lost", "it cannot be run any more"
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
    if now["runs"] and not was["runs"]:
        yield "new", "it can be run"


def _fields(version: str, was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    gone = [path for path in was if not holds_field(now, path)]
    for path in gone:
        # What is below a field that is gone is gone with it.
        if not any(path.startswith((f"{other}.", f"{other}[")) for other in gone):
            yield "lost", f"{version} has no field {path} any more"
    for path, kind in was.items():
        if path in now and not allows(now[path], kind):
            yield "lost", f"{version}: the field {path} was {kind} and is {now[path]} now"
        elif path in now and now[path] != kind:
            yield "changed", f"{version}: the field {path} was {kind} and is {now[path]} now"
    for path in now:
        if was and path not in was:
            yield "new", f"{version}: the field {path} is not in the file"


def absent_plugins(infos: Mapping[str, PluginInfo], blocked_by: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Why installed plugins offer nothing, and what to do, for :func:`compare`.

    Args:
        blocked_by: plugin -> what blocks it.
    """
    out = {}
    for name, info in infos.items():
        if info.state == "blocked":
            by = blocked_by.get(name, "the configuration")
            remedy = "leave the option out" if by.startswith("--") else f"take {name} from {by}"
            out[name] = (f"is blocked by {by}", remedy)
        elif info.error is not None:
            why = str(info.error).removeprefix(f"plugin {name!r} ")
            out[name] = (why, f"`kastra plugins show {name}` says what to do")
    return out
