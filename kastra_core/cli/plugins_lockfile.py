"""The lock file of a project's plugins: what it holds, reading and writing it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kastra_core._plugin_checks import one_line, undisturbed
from kastra_core.api.meta import JsonObject
from kastra_core.cli.plugins_fields import fields_of
from kastra_core.cli.plugins_records import kind_title, plain, version_of
from kastra_core.cli.plugins_requirements import normal_name
from kastra_core.errors import UserError
from kastra_core.hookspecs import API_VERSION
from kastra_core.plugins import BUILTIN

if TYPE_CHECKING:
    from kastra_core.api.kind import ResourceKind
    from kastra_core.plugins import PluginInfo, PluginManager

__all__ = ["LISTS", "LOCK_FILE", "LockFileError", "lock_data", "lock_text", "read_lock", "there_is", "write_lock"]

LOCK_FILE = "kastra-plugins.lock"
FORMAT = 1
"""Of the file; a newer one is not read."""
LISTS = {
    "stores": "store scheme",
    "maintainedStores": "maintenance of store scheme",
    "modelProviders": "model provider",
    "embeddings": "embeddings of model provider",
    "migrators": "migrator",
    "exporters": "exporter",
    "migratedVersions": "migration of stored apiVersion",
    "operations": "operation",
    "commands": "command",
}
"""What is offered by name alone -> what a name of it is."""


class LockFileError(UserError):
    """A lock file cannot be read: it is damaged, or of a newer format."""

    def __init__(self, message: str, *, newer: bool = False) -> None:
        super().__init__(message)
        self._newer = newer

    @property
    def remedy(self) -> str:
        return f"{'upgrade kastra-core, or ' if self._newer else ''}write it anew: kastra plugins lock --force"


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
            # The same everywhere: it is in the name of a directory that installers write in ways of their own.
            "distribution": normal_name(info.distribution),
            "version": version_of(info),
            "hooks": API_VERSION if info.name == BUILTIN else info.api_version,
            "offers": _offers(info, failed),
        }
    return {"format": FORMAT, "plugins": told}, failed


def _offers(info: PluginInfo, failed: dict[str, str]) -> JsonObject:
    records = info.records
    stores, providers = records.get("kastra_stores", ()), records.get("kastra_model_providers", ())
    migrators = records.get("kastra_migrators", ())
    offers: JsonObject = {
        "kinds": {},
        "controllers": {r.name: kind_title(r.kind, r.group) for r in records.get("kastra_controllers", ())},
        "stores": {scheme for r in stores for scheme in r.schemes},
        "maintainedStores": {scheme for r in stores if r.admin is not None for scheme in r.schemes},
        "modelProviders": {name for r in providers for name in r.providers},
        "embeddings": {name for r in providers if r.embeddings for name in r.providers},
        "migrators": {r.name for r in migrators},
        "exporters": {r.name for r in migrators if r.exporter is not None},
        "migratedVersions": {version for r in migrators for version in r.api_versions},
        "operations": {r.name for r in records.get("kastra_operations", ())},
        "commands": {r.name for r in records.get("kastra_commands", ())},
    }
    offers |= {what: sorted(offers[what]) for what in LISTS}
    for kind in records.get("kastra_resource_kinds", ()):
        title = kind_title(kind.kind, kind.group)
        try:
            with undisturbed():
                offers["kinds"][title] = _kind(kind)
        except (Exception, SystemExit) as error:  # what a plugin's own modules raise when they are imported
            failed[f"{title} of plugin {info.name!r}"] = one_line(error)
    return {what: found for what, found in offers.items() if found}


def _kind(kind: ResourceKind) -> JsonObject:
    versions: JsonObject = dict.fromkeys(kind.served_versions)
    for version in (kind.version, *kind.structures):
        versions[f"{kind.group}/{version}" if kind.group else version] = fields_of(kind, version=version)
    able = {
        "be drawn": kind.graph,
        "be run": kind.runner,
        "be scaled": kind.scale,
        "define kinds": kind.defines,
    }
    return {
        "plural": kind.plural,
        "singular": kind.singular,
        "shortNames": sorted(kind.short_names),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "can": sorted(word for word, there in able.items() if there),
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

    try:
        text = _regular(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if b"<<<<<<<" in text and b">>>>>>>" in text:
        raise LockFileError(f"{path} has the marks of a merge that was not settled")
    try:
        data = orjson.loads(text)
    except ValueError as error:
        raise LockFileError(f"{path} is damaged: {error}") from error
    found = data.get("format") if isinstance(data, dict) else None
    if isinstance(found, int) and not isinstance(found, bool) and found > FORMAT:
        raise LockFileError(f"{path} has format {found}, this kastra-core reads format {FORMAT}", newer=True)
    if wrong := _wrong(data):
        raise LockFileError(f"{path} is damaged: {wrong}")
    return dict(data)


def there_is(path: Path) -> bool:
    """Whether there is a lock file, or something else in its place. A link that leads nowhere is none."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:  # whoever reads it says what it is
        return True
    return True


def _regular(path: Path) -> Path:
    """The file that a path leads to, which may not be there.

    Raises: UserError: it is something else, to which nobody may write a lock file, nor wait for what it gives.
    """
    real = Path(os.path.realpath(path))
    if real.exists() and not real.is_file():
        what = "a directory" if real.is_dir() else "no regular file"
        raise UserError(f"{path} is {what}: name a file with --file")
    return real


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
            if what in LISTS and not _is_list(found):
                return f"plugins.{name}.offers.{what}: expected a list of names"
        if not _are_texts(offers.get("controllers", {})):
            return f"plugins.{name}.offers.controllers: expected names with kinds"
        kinds = offers.get("kinds", {})
        if not isinstance(kinds, dict) or not all(_is_kind(kind) for kind in kinds.values()):
            wanted = "plural, singular, shortNames, scope, can and versions"
            return f"plugins.{name}.offers.kinds: expected kinds with {wanted}"
    return ""


def _is_kind(kind: Any) -> bool:
    return (
        isinstance(kind, dict)
        and all(isinstance(kind.get(word), str) for word in ("plural", "singular", "scope"))
        and all(_is_list(kind.get(word)) for word in ("shortNames", "can"))
        and isinstance(kind.get("versions"), dict)
        and all(_are_texts(fields) for fields in kind["versions"].values())
    )


def _is_list(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(one, str) for one in found)


def _are_texts(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def lock_text(data: JsonObject) -> bytes:
    """The content of a lock file: the same data give the same bytes."""
    import orjson

    return orjson.dumps(plain(data), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def write_lock(path: Path, data: JsonObject) -> bool:
    """Write a lock file whole or not at all; return False when it says that already and is left alone.

    Raises: UserError.
    """
    import contextlib

    text = lock_text(data)
    try:
        path = _regular(path)  # the file that a link leads to is replaced, not the link
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    # Several may write at once, also in containers, where all have the same process id.
    beside = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
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
