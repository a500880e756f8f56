"""What ``kastra plugins doctor`` looks at in the installed set: how plugins load, and what their distributions say."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from kastra_core.cli.plugins_installed import Distribution, Installed
from kastra_core.cli.plugins_records import conflict_data, load_remedy
from kastra_core.cli.plugins_requirements import meets, text_of
from kastra_core.errors import SamePluginNameError
from kastra_core.hookspecs import API_VERSION
from kastra_core.plugins import BUILTIN, ENTRY_POINT_GROUP, PluginManager

if TYPE_CHECKING:
    from kastra_core.cli.common import CliState
    from kastra_core.config import Config

__all__ = [
    "FAIL",
    "OK",
    "WARN",
    "Finding",
    "Scene",
    "blocked",
    "clashes",
    "distributions",
    "entry_points",
    "hook_versions",
    "loading",
    "requirements",
]

OK, WARN, FAIL = "OK", "WARN", "FAIL"
_PREFIX = "kastra-plugin-"


@attrs.frozen(kw_only=True)
class Finding:
    """What a check found. FAIL: something that is promised does not work; WARN: it may stop working unnoticed."""

    level: str
    message: str
    subject: str = ""
    """The plugin, distribution or kind that it is about."""
    remedy: str = ""


@attrs.frozen(kw_only=True)
class Scene:
    """What the checks look at."""

    state: CliState
    config: Config | None
    """None: it cannot be read."""
    plugins: PluginManager
    installed: Installed
    blocked_by: dict[str, str]
    """Plugin -> what blocks it."""

    def kastra_distributions(self) -> list[Distribution]:
        """Those that announce plugins or are called as if they did, and the core; hidden ones included."""
        return [
            distribution
            for distribution in self.installed.every
            if distribution.key == BUILTIN
            or distribution.key.startswith(_PREFIX)
            or distribution.announced(ENTRY_POINT_GROUP)
        ]

    def used_distributions(self) -> list[Distribution]:
        """Those of :meth:`kastra_distributions` that no other one hides."""
        return [d for d in self.kastra_distributions() if self.installed.used[d.key] is d]


# ------------------------------------------------------------------------------------------------ loading


def loading(scene: Scene) -> Iterator[Finding]:
    """Plugins that are quarantined."""
    infos = scene.plugins.load()
    for info in infos.values():
        if info.error is not None:
            remedy = load_remedy(info, scene.installed)
            yield Finding(level=FAIL, subject=info.name, message=str(info.error), remedy=remedy)
    count = sum(info.state == "loaded" for info in infos.values())
    yield Finding(level=OK, message="1 plugin is loaded" if count == 1 else f"{count} plugins are loaded")


def clashes(scene: Scene) -> Iterator[Finding]:
    """Names that two plugins offer, and commands with a name of the core's."""
    from kastra_core.cli.app import COMMANDS

    seen = []
    for info in scene.plugins.load().values():
        for conflict in info.conflicts:
            if conflict in seen or isinstance(conflict, SamePluginNameError):
                continue
            seen.append(conflict)
            told = conflict_data(conflict)
            yield Finding(level=FAIL, subject=conflict.second, message=told["message"], remedy=told["remedy"])
    for plugin, record in scene.plugins.records("kastra_commands"):
        if record.name in COMMANDS:
            message = f"command {record.name!r} of plugin {plugin} is never called: kastra has one of that name"
            remedy = "upgrade the plugin when it calls its command something else"
            yield Finding(level=FAIL, subject=plugin, message=message, remedy=remedy)


def hook_versions(scene: Scene) -> Iterator[Finding]:
    """Plugins that do not say which version of the hooks they were made for."""
    for info in scene.plugins.load().values():
        if info.state == "loaded" and info.api_version is None and info.name != BUILTIN:
            yield Finding(
                level=WARN,
                subject=info.name,
                message=f"plugin {info.name!r} states no KASTRA_API_VERSION: that the hooks changed would go unnoticed",
                remedy=f"put KASTRA_API_VERSION = {API_VERSION} into {info.module}",
            )


def blocked(scene: Scene) -> Iterator[Finding]:
    """Plugins that are not to be loaded, and names among them that nobody has."""
    infos = scene.plugins.load()
    for name, by in sorted(scene.blocked_by.items()):
        if name == BUILTIN:
            message = f"{by} blocks {name!r}, which is the core itself and is loaded all the same"
            yield Finding(level=WARN, subject=name, message=message, remedy="take the name away")
        elif name in infos:
            yield Finding(level=OK, subject=name, message=f"plugin {name!r} is blocked by {by}")
        else:
            message = f"{by} blocks {name!r}, and no installed plugin is called so"
            yield Finding(level=WARN, subject=name, message=message, remedy="`kastra plugins -o name` lists the names")


# ------------------------------------------------------------------------------------------------ distributions


def entry_points(scene: Scene) -> Iterator[Finding]:
    """Plugin names that several announce, and distributions that look like plugins and announce none."""
    by_name: dict[str, list[Distribution]] = {}
    for distribution in scene.used_distributions():
        points = distribution.announced(ENTRY_POINT_GROUP)
        for name in dict.fromkeys(name for name, _ in points):
            by_name.setdefault(name, []).append(distribution)
        for name, count in Counter(name for name, _ in dict.fromkeys(points)).items():
            if count > 1:
                message = f"{distribution} announces {count} plugins {name!r}; the first is used"
                remedy = f"upgrade {distribution.name}; if it is yours, take the others from its entry points"
                yield Finding(level=FAIL, subject=name, message=message, remedy=remedy)
        if not points and distribution.key.startswith(_PREFIX):
            yield Finding(
                level=WARN,
                subject=distribution.name,
                message=f"{distribution} announces no plugin: it has no entry point in the group {ENTRY_POINT_GROUP!r}",
                remedy=f"pip install --force-reinstall {distribution.name}; if it is yours, add "
                f"[project.entry-points.{ENTRY_POINT_GROUP}] to its pyproject.toml first",
            )
    for name, those in sorted(by_name.items()):
        if name == BUILTIN:
            message = f"{those[0]} announces a plugin {BUILTIN!r}, which is the name of the core's own"
            yield Finding(level=FAIL, subject=name, message=message, remedy=f"pip uninstall {those[0].name}")
        elif len(those) > 1:
            several = " and ".join(str(one) for one in those)
            info = scene.plugins.load().get(name)
            used = scene.installed.of(info.metadata) if info is not None and info.metadata else None
            others = [one for one in those if one is not used] or those[1:]
            yield Finding(
                level=FAIL,
                subject=name,
                message=f"{several} announce a plugin {name!r}; that of {used or those[0]} is used",
                remedy=f"keep one of them: pip uninstall {others[0].name}",
            )


def distributions(scene: Scene) -> Iterator[Finding]:
    """Metadata of plugins that are there twice, left over or damaged."""
    those = scene.kastra_distributions()
    for one in those:
        used = scene.installed.used[one.key]
        if not one.readable:
            message = f"{one.metadata} has no name and version that can be read"
            remedy = f"remove it, then pip install --force-reinstall {one.name}"
            yield Finding(level=WARN, subject=one.name, message=message, remedy=remedy)
        elif not one.recorded:
            message = f"{one.metadata} has no RECORD: nobody can upgrade or uninstall it"
            remedy = f"remove it, then pip install --force-reinstall {one.name}"
            yield Finding(level=WARN, subject=one.name, message=message, remedy=remedy)
        if one is used:
            continue
        if one.metadata.parent == used.metadata.parent:
            message = f"{one.name} is there twice, as {used.metadata.name} (used) and {one.metadata.name}"
            remedy = f"remove both from {one.metadata.parent}, then pip install --force-reinstall {one.name}"
        else:
            message = f"{used} in {used.metadata.parent} hides {one} in {one.metadata.parent}"
            remedy = f"keep one of them: pip uninstall {one.name}, or remove {one.metadata}"
        yield Finding(level=WARN, subject=one.name, message=message, remedy=remedy)
    for path, why in scene.installed.unreadable.items():
        message = f"{path} cannot be read ({why}): nobody knows whether there are plugins"
        yield Finding(level=WARN, subject=path.name, message=message, remedy="let it be read by whoever calls kastra")
    for path in scene.installed.leftovers:
        if re.fullmatch(r"[~-]+[\w-]*?\b(?:plugin|core)\b.*", path.name.partition(".")[0].replace("_", "-")):
            message = f"{path} was left behind by an installation that was interrupted"
            yield Finding(level=WARN, subject=path.name, message=message, remedy="remove it")


def requirements(scene: Scene) -> Iterator[Finding]:
    """What plugins require and is not there, or is there in another version."""
    off = {info.metadata for info in scene.plugins.load().values() if info.state == "blocked"}
    for distribution in scene.used_distributions():
        if str(distribution.metadata) in off:
            continue
        python = distribution.field("Requires-Python")
        if python and meets(platform.python_version(), python) is False:
            message = f"{distribution} requires Python {python}; this is {platform.python_version()}"
            remedy = f"install a version of {distribution.name} for this Python, or use another Python"
            yield Finding(level=FAIL, subject=distribution.name, message=message, remedy=remedy)
        for need in scene.installed.needs(distribution):
            if need.satisfied:
                continue
            message = f"{distribution} requires {need}"
            fails = need.state in ("missing", "wrong version")
            wanted = text_of(need.requirement) if need.requirement is not None else need.line
            remedy = f"pip install {wanted!r}" if need.requirement is not None else f"upgrade {distribution.name}"
            if need.state == "no such extra":
                remedy = f"pip install --upgrade {wanted!r}; one that is editable is to be installed again"
            yield Finding(level=FAIL if fails else WARN, subject=distribution.name, message=message, remedy=remedy)
