"""A plugin as data: what it offers, its clashes, and what to do when something is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kastra_core import __version__
from kastra_core.cli.plugins_requirements import text_of
from kastra_core.errors import SamePluginNameError
from kastra_core.hookspecs import API_VERSION
from kastra_core.plugins import BUILTIN

if TYPE_CHECKING:
    from kastra_core.api.kind import ResourceKind
    from kastra_core.cli.plugins_installed import Installed
    from kastra_core.config import Config
    from kastra_core.errors import PluginConflictError
    from kastra_core.plugins import PluginInfo

__all__ = [
    "WORDS",
    "blockers",
    "conflict_data",
    "count_text",
    "kind_title",
    "load_remedy",
    "metadata_of",
    "offers_of",
    "plain",
    "plugin_data",
    "record_data",
    "version_of",
]

WORDS = {
    "kastra_resource_kinds": "kinds",
    "kastra_controllers": "controllers",
    "kastra_stores": "stores",
    "kastra_model_providers": "modelProviders",
    "kastra_migrators": "migrators",
    "kastra_operations": "operations",
    "kastra_commands": "commands",
}
"""Hook -> what its records are, as a field's name."""


def version_of(info: PluginInfo) -> str:
    """The version of a plugin's distribution, "" when nobody says."""
    return info.version or (__version__ if info.distribution == "kastra-core" else "")


def kind_title(kind: str, group: str) -> str:
    """``Agent.mastra.ai``, without group ``Agent``."""
    return f"{kind}.{group}" if group else kind


def count_text(word: str, count: int) -> str:
    """``1 kind``, ``2 model providers``; the word is one of :data:`WORDS`."""
    words = re.sub("[A-Z]", lambda found: f" {found[0].lower()}", word)
    return f"{count} {words.removesuffix('s') if count == 1 else words}"


def plain(data: Any) -> Any:
    """JSON data as it can be written: names of files need not be UTF-8, what is not is told as ``\\udcff``."""
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode()
    if isinstance(data, Mapping):
        return {plain(key): plain(value) for key, value in data.items()}
    return [plain(item) for item in data] if isinstance(data, list) else data


def offers_of(info: PluginInfo) -> dict[str, list[str]]:
    """The names of what is used of a plugin, by what it is."""
    return {WORDS[hook]: _names(hook, records) for hook, records in info.records.items() if records}


def _names(hook: str, records: Sequence[Any]) -> list[str]:
    if hook == "kastra_resource_kinds":
        return [kind_title(record.kind, record.group) for record in records]
    if hook == "kastra_stores":
        return [f"{scheme}:" for record in records for scheme in record.schemes]
    if hook == "kastra_model_providers":
        return [f"{name} (fallback)" if record.fallback else name for record in records for name in record.providers]
    return [record.name for record in records]


def metadata_of(info: PluginInfo) -> str:
    """The directory of a plugin's metadata, "" when it is of no installed distribution."""
    if info.name != BUILTIN:
        return info.metadata
    from kastra_core.cli.plugins_installed import Installed

    core = Installed().get(BUILTIN)
    return str(core.metadata) if core is not None else ""


def plugin_data(info: PluginInfo) -> dict[str, Any]:
    """A plugin as JSON: name, distribution, version, module, state, installed, offers, cause, conflicts."""
    data: dict[str, Any] = {
        "name": info.name,
        "distribution": info.distribution,
        "version": version_of(info),
        "module": info.module,
        "state": "conflict" if info.state == "loaded" and info.conflicts else info.state,
        "offers": offers_of(info),
    }
    if metadata := metadata_of(info):
        from kastra_core.cli.plugins_installed import place_of

        data["installed"] = place_of(metadata).to_json()
    if info.error is not None:
        data["cause"] = str(info.error)
    if info.conflicts:
        data["conflicts"] = [conflict_data(conflict) for conflict in info.conflicts]
    return data


# ------------------------------------------------------------------------------------------------ records


def record_data(hook: str, record: Any) -> dict[str, Any]:
    """A record as JSON: what people want to know of it."""
    return _RECORDS[hook](record)


def _kind(kind: ResourceKind) -> dict[str, Any]:
    return {
        "kind": kind.kind,
        "group": kind.group,
        "versions": list(kind.served_versions),
        "plural": kind.plural,
        "singular": kind.singular,
        "shortNames": list(kind.short_names),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "runs": kind.executable,
        "definesKinds": kind.defines is not None,
        "description": kind.description,
    }


_RECORDS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "kastra_resource_kinds": _kind,
    "kastra_controllers": lambda r: {
        "name": r.name,
        "kind": kind_title(r.kind, r.group),
        "workers": r.workers,
        "periodic": r.periodic,
    },
    "kastra_stores": lambda r: {"name": r.name, "schemes": list(r.schemes), "maintenance": r.admin is not None},
    "kastra_model_providers": lambda r: {
        "name": r.name,
        "providers": list(r.providers),
        "fallback": r.fallback,
        "keyless": r.keyless,
        "embeddings": r.embeddings,
        "description": r.description,
    },
    "kastra_migrators": lambda r: {
        "name": r.name,
        "exports": r.exporter is not None,
        "apiVersions": list(r.api_versions),
        "description": r.description,
    },
    "kastra_operations": lambda r: {"name": r.name, "countsAs": r.counts_as},
    "kastra_commands": lambda r: {"name": r.name, "description": r.short_help},
}


# ------------------------------------------------------------------------------------------------ what is wrong


def blockers(config: Config | None, flags: Sequence[str]) -> dict[str, str]:
    """Plugins that are not to be loaded, and what says so.

    Args:
        config: None: it cannot be read; then the environment's variable alone is asked.
        flags: values of ``--no-plugin``.
    """
    if config is not None:
        origin = config.origin("plugins.block")
        where = origin if origin.startswith("KASTRA_") else f"plugins.block in {origin}"
        found = dict.fromkeys(config.plugins.block, where)
    else:
        text = os.environ.get("KASTRA_PLUGINS_BLOCK", "")
        found = {name.strip(): "KASTRA_PLUGINS_BLOCK" for name in text.split(",") if name.strip()}
    return {**found, **{name: f"--no-plugin {name}" for name in flags}}


def conflict_data(conflict: PluginConflictError) -> dict[str, str]:
    """A clash as JSON: what, name, usedBy, unusedBy (plugins, of two with one name distributions), message, remedy."""
    whose = "" if isinstance(conflict, SamePluginNameError) else "plugin "
    first, second = f"{whose}{conflict.first}", f"{whose}{conflict.second}"
    what, name = conflict.what, conflict.name
    if what == "kind" and name.startswith("plural "):
        what, name = "plural", name.removeprefix("plural ")
    return {
        "what": what,
        "name": name,
        "usedBy": conflict.first,
        "unusedBy": conflict.second,
        "message": f"{what} {name!r} is of {first} and of {second}; that of {first} is used",
        "remedy": _conflict_remedy(conflict),
    }


def _conflict_remedy(conflict: PluginConflictError) -> str:
    """What settles a clash."""
    first, second = conflict.first, conflict.second
    if isinstance(conflict, SamePluginNameError):
        distribution = second.partition(" ")[0]
        if first.partition(" ")[0] == distribution:
            return f"take one of the two from the entry points of {distribution}, or upgrade it"
        return f"keep one of them: pip uninstall {distribution}"
    if first == BUILTIN:
        return f"switch it off: --no-plugin {second}, for good in plugins.block of the configuration"
    if conflict.what == "model provider":
        return f"choose: `kastra config set providers.{conflict.name}.plugin PLUGIN` with {first} or {second}"
    return f"switch one of them off: --no-plugin {second} (or {first}), for good in plugins.block of the configuration"


def load_remedy(info: PluginInfo, installed: Installed) -> str:
    """What mends a plugin that is quarantined, "" for one that is not."""
    error: Any = info.error
    if error is None:
        return ""
    return f"{_mend(info, error.cause, error.stage, installed)}; until then leave it out: --no-plugin {info.name}"


def _mend(info: PluginInfo, cause: str, stage: str, installed: Installed) -> str:
    distribution = installed.of(info.metadata) if info.metadata else None
    name = info.distribution or info.name
    for need in installed.needs(distribution) if distribution is not None else ():
        if need.requirement is not None and need.state in ("missing", "wrong version"):
            return f"it requires {need}: pip install {text_of(need.requirement)!r}"
    place = distribution.place if distribution is not None else None
    if cause.startswith("PermissionError:"):
        return "let the file be read by whoever calls kastra"
    if stage == "entry point":
        return f"mend the entry point in the metadata of {name}, or upgrade it"
    lacks = re.search(r"No module named '([\w.]+)'", cause)
    own = info.module.partition(":")[0].partition(".")[0]
    if lacks and lacks[1].partition(".")[0] == own:
        if place is not None and place.how in ("editable", "PYTHONPATH", "path"):
            return f"its module is to be in {place.path}: put it there, or install {name} again"
        return f"its files are gone: pip install --force-reinstall {name}"
    if lacks:
        return f"install what has the module {lacks[1]}; {name} should require it"
    stated = info.api_version
    if isinstance(stated, int) and stated != API_VERSION:
        return f"pip install --upgrade {'kastra-core' if stated > API_VERSION else name}"
    if place is not None and place.how != "wheel":
        return f"mend {info.module} in {place.path} (--debug shows the traceback)"
    return f"pip install --upgrade {name}, or tell its author (--debug shows the traceback)"
