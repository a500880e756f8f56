"""``kastra plugins doctor``: the health of the installed plugins, and of the project's use of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from kastra_core.cli import plugins_doctor_checks, plugins_doctor_project
from kastra_core.cli.common import CliState, KubectlCommand, current, output_option, style
from kastra_core.cli.plugins import render, tell
from kastra_core.cli.plugins_doctor_checks import FAIL, OK, WARN, Finding, Scene
from kastra_core.cli.plugins_installed import Installed
from kastra_core.cli.plugins_records import blockers
from kastra_core.errors import ConfigError, KastraError, PluginError, UserError, ValidationError
from kastra_core.plugins import PluginManager

if TYPE_CHECKING:
    from kastra_core.config import Config

__all__ = ["command"]

_CHECKS: dict[str, tuple[Callable[[Scene], Iterator[Finding]], str]] = {
    "loading": (plugins_doctor_checks.loading, ""),
    "clashes": (plugins_doctor_checks.clashes, "no two plugins offer the same name"),
    "hooks": (plugins_doctor_checks.hook_versions, "every plugin states the version of the hooks"),
    "blocked": (plugins_doctor_checks.blocked, "no plugin is blocked"),
    "entry points": (plugins_doctor_checks.entry_points, "every name is announced once"),
    "distributions": (plugins_doctor_checks.distributions, "every distribution is there once"),
    "requirements": (plugins_doctor_checks.requirements, "all that plugins require is installed"),
    "providers": (plugins_doctor_project.providers, "the configuration names none"),
    "store": (plugins_doctor_project.store, ""),
    "lock file": (plugins_doctor_project.lock, ""),
}
"""Check -> what carries it out, and what is told when that finds nothing."""


@click.command(cls=KubectlCommand)
@click.option(
    "--imports",
    is_flag=True,
    help="Also import each plugin, and all that its records name, in a process of its own.",
)
@output_option("yaml", "json")
@click.pass_context
def command(ctx: click.Context, imports: bool, output: str) -> None:
    """Examine the installed plugins and the project's use of them.

    Each line is OK, WARN or FAIL, with what to do. It looks at plugins that are quarantined or clash, versions of the
    hooks, plugins that are blocked, entry points and distributions that are there twice, what plugins require, the
    model providers that the configuration names, the store and kinds in it that nobody offers, and the lock file. It
    goes on where something is broken.

    With --imports it tells which plugins are slow to import or change the process by it, which names in their records
    lead nowhere, and which imports never end or end the process; those are then left out here.

    Exit code 3 when something FAILs, else 0.
    """
    state = current()
    state.tell_faults = False
    found: list[tuple[str, Finding]] = []
    config = _configuration(state, found)
    blocked_by = blockers(config, state.block)
    checks = dict(_CHECKS)
    if imports:
        from kastra_core.cli import plugins_doctor_imports

        examined = plugins_doctor_imports.examine(blocked_by)
        checks["imports"] = (lambda scene: plugins_doctor_imports.findings(examined), "")
        state.block += tuple(one.plugin for one in examined if one.deadly)
    plugins = state.plugins if config is not None else PluginManager(block=[*blocked_by, *state.block])
    plugins.load()
    scene = Scene(state=state, config=config, plugins=plugins, installed=Installed(), blocked_by=blocked_by)
    for name, (check, well) in checks.items():
        found += [(name, finding) for finding in _carried_out(scene, check, well)]
    counts = Counter(finding.level for _, finding in found)
    tell(render(_data(found, counts), output) if output else _page(found, counts))
    if state.debug:
        click.echo("".join(info.debug for info in scene.plugins.load().values()), err=True)
    ctx.exit(PluginError.exit_code if counts[FAIL] else 0)


def _configuration(state: CliState, found: list[tuple[str, Finding]]) -> Config | None:
    """The configuration; where it cannot be read, that is the first finding."""
    try:
        config = state.config
    except (KastraError, OSError) as error:
        errors: Sequence[object] = error.problems if isinstance(error, ValidationError) else [error]
        remedy = "mend the file; `kastra config path` tells which is the project's"
        if isinstance(error, UserError) and not isinstance(error, (ConfigError, ValidationError)):
            remedy = "call it in a directory that is there, or name one with -C"
        messages = [" ".join(str(one).split()) for one in errors]
        found += [("configuration", Finding(level=FAIL, message=text, remedy=remedy)) for text in messages]
        return None
    found.append(("configuration", Finding(level=OK, message=f"that of {config.project} can be read")))
    return config


def _carried_out(scene: Scene, check: Callable[[Scene], Iterator[Finding]], well: str) -> list[Finding]:
    """What a check finds; one that breaks down is a finding itself, and the others go on."""
    found: list[Finding] = []
    try:
        found.extend(check(scene))
    except Exception as error:
        if scene.state.debug:
            import traceback

            click.echo("".join(traceback.format_exception(error)), err=True)
        message = f"this could not be looked at: {type(error).__name__}: {' '.join(str(error).split())}"
        found.append(Finding(level=FAIL, message=message, remedy="--debug shows the traceback"))
    return found or [Finding(level=OK, message=well)]


def _data(found: Sequence[tuple[str, Finding]], counts: Counter[str]) -> dict[str, Any]:
    return {
        "healthy": not counts[FAIL],
        "counts": {level: counts[level] for level in (OK, WARN, FAIL)},
        "findings": [
            {
                "check": name,
                "level": finding.level,
                "subject": finding.subject,
                "message": finding.message,
                "remedy": finding.remedy,
            }
            for name, finding in found
        ],
    }


_COLOURS = {OK: "green", WARN: "yellow", FAIL: "red"}


def _page(found: Sequence[tuple[str, Finding]], counts: Counter[str]) -> str:
    width = max(len(name) for name, _ in found)
    out = []
    for name, finding in found:
        level = style(f"{finding.level:<4}", fg=_COLOURS[finding.level])
        out.append(f"{level}  {name:<{width}}  {finding.message}\n")
        if finding.remedy:
            out.append(f"{'':<{width + 8}}{style('remedy:', bold=True)} {finding.remedy}\n")
    failed, warned = counts[FAIL], counts[WARN]
    told = [f"{failed} failed" if failed else "", f"{warned} warning{'s' if warned > 1 else ''}" if warned else ""]
    return "".join(out) + "\n" + (", ".join(filter(None, told)) or "all is well") + "\n"
