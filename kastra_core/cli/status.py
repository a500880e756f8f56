"""``kastra status``: store, resources, runs, models and plugins at a glance."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from kastra_core.api.meta import condition_of
from kastra_core.cli.common import KubectlCommand, current, emit, file_of, output_option, style
from kastra_core.cli.plugins import plugins_exit_code
from kastra_core.cli.printing import NONE, render_data
from kastra_core.cli.tables import format_table, size_text, terminal_width

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["SLEEPS", "command", "unfinished_runs"]


@click.command(cls=KubectlCommand)
@output_option("yaml", "json")
@click.pass_context
def command(ctx: click.Context, output: str) -> None:
    """Show store, resources, runs, models and plugins at a glance.

    Exit code 3 when a plugin is quarantined or two plugins clash.
    """
    state = current()
    state.tell_faults = False

    async def read(runtime: RuntimeManager) -> dict[str, Any]:
        return {
            "resources": await _resources(runtime),
            "runs": await _runs(runtime),
            "keyless": runtime.models.keyless_model,
        }

    config = state.config
    data: dict[str, Any] = {
        "project": str(config.project),
        "store": config.to_manifest()["store"] if state.store is None else state.store,
        "namespace": config.namespace,
    }
    file = file_of(state.url)
    if file is not None:
        data["storeExists"] = file.exists()
        if file.exists():
            data["storeBytes"] = file.stat().st_size
    data["models"] = _models(state.plugins, config)
    data |= state.read(read)
    data["models"]["keyless"] = data.pop("keyless")
    faults = state.plugins.faults
    infos = state.plugins.load().values()
    data["plugins"] = {
        "loaded": sum(info.state == "loaded" for info in infos),
        "blocked": [info.name for info in infos if info.state == "blocked"],
        "faults": [str(fault) for fault in faults],
    }
    emit(render_data(data, output) if output else _page(data))
    ctx.exit(plugins_exit_code(faults))


async def _resources(runtime: RuntimeManager) -> list[dict[str, Any]]:
    """Each kind that has resources, by group and kind; bookkeeping is left out."""
    missing = await runtime.missing_kinds()
    out = []
    for (group, name), count in sorted((await runtime.store.resources.counts()).items()):
        kind = runtime.registry.get(group, name)
        if not count or (kind is not None and kind.ephemeral):
            continue
        row: dict[str, Any] = {"kind": name, "group": group, "count": count, "ready": 0, "notReady": 0}
        for resource in (await runtime.store.resources.list(group, name)).items:
            ready = condition_of(resource, "Ready")
            if ready is not None:
                row["ready" if ready.get("status") == "True" else "notReady"] += 1
        if kind is None:
            gone = missing[group, name]
            row |= {"orphaned": True, "plugin": gone.plugin_name, "reason": gone.reason, "remedy": gone.remedy}
        out.append(row)
    return out


async def _runs(runtime: RuntimeManager) -> dict[str, Any]:
    from kastra_core.execution.worker import Worker

    runs = (await runtime.client.list(runtime.registry.resolve("runs"))).items
    phases = Counter(str(run.status.get("phase") or "Pending") for run in runs)
    leases = {lease.name: lease for lease in await runtime.store.leases.list("worker/")}
    now_s, here = time.time(), Worker(runtime.store)
    awaited = {
        run.metadata.uid: [str(item.get("signal")) for item in run.status.get("awaiting") or ()]
        for run in runs
        if run.status.get("phase") == "Suspended"
    }
    unfinished: list[dict[str, Any]] = []
    for claim in await runtime.store.journal.claims():
        lease = leases.get(claim.holder)
        signals = awaited.get(claim.run) or []
        if signals:
            worker = f"nobody: it awaits {', '.join(signals)}"
        elif not claim.holder:
            worker = SLEEPS if claim.wake_at_s != 0 else "nobody: given up"
        elif not here.alive(lease, now_s):
            worker = f"{claim.holder} (gone; `kastra run resume` goes on)"
        else:
            worker = claim.holder
        row: dict[str, Any] = {"run": f"{claim.key.namespace}/{claim.key.name}", "worker": worker}
        if signals:
            row["awaiting"] = signals
        unfinished.append(row)
    return {"phases": dict(sorted(phases.items())), "unfinished": unfinished}


def _models(plugins: Any, config: Any) -> dict[str, Any]:
    providers = {
        name: plugin
        for plugin, record in plugins.records("kastra_model_providers")
        for name in record.providers
        if not record.fallback
    }
    return {
        "override": config.model,
        "default": config.default_model,
        "configured": sorted(config.providers),
        "offered": dict(sorted(providers.items())),
    }


def _page(data: dict[str, Any]) -> str:
    models, runs, plugins = data["models"], data["runs"], data["plugins"]
    size = f" ({size_text(data['storeBytes'])})" if "storeBytes" in data else ""
    new = " (not there yet; `kastra apply` makes it)" if data.get("storeExists") is False else ""
    lines = [
        ("Project", data["project"]),
        ("Store", data["store"] + size + new),
        ("Namespace", data["namespace"]),
        ("Model", _model(models)),
        ("Providers", _few(list(models["offered"]))),
        ("Configured", ", ".join(models["configured"]) or NONE),
        ("Plugins", f"{plugins['loaded']} loaded" + _also(plugins)),
        ("Runs", ", ".join(f"{count} {phase}" for phase, count in runs["phases"].items()) or NONE),
    ]
    out = ["".join(f"{name + ':':<13}{value}\n" for name, value in lines)]
    if data["resources"]:
        rows = [["KIND", "COUNT", "READY", "NOT READY", ""]]
        for row in data["resources"]:
            name = row["kind"] if row["group"] == "mastra.ai" else f"{row['kind']}.{row['group']}"
            note = f"orphaned: {row['plugin'] or 'its plugin'} is {row['reason']}" if row.get("orphaned") else ""
            told = row["ready"] or row["notReady"]  # nobody says of data that no controller acts upon
            ready, unready = (str(row["ready"]), str(row["notReady"])) if told else (NONE, NONE)
            rows.append([name, str(row["count"]), ready, unready, note])
        out.append(format_table(rows, limit=terminal_width()))
    else:
        out.append("Resources:   <none>\n")
    if runs["unfinished"]:
        out.append(unfinished_runs(runs["unfinished"]))
    if plugins["faults"]:
        out.append("".join(style(f"Fault: {fault}", fg="red") + "\n" for fault in plugins["faults"]))
    return "\n".join(out)


def _model(models: dict[str, Any]) -> str:
    """What answers where a resource names no model, or whatever it names, and why."""
    if models["override"]:
        return f"{models['override']} (in place of every other)"
    if models["default"]:
        return f"{models['default']} (default)"
    if models["keyless"]:
        return f"{models['keyless']} (no default is set; this one needs no key)"
    return NONE


SLEEPS = "nobody: it sleeps or waits for another run"
"""Worker of a suspended run that awaits nothing that anybody is to send."""
_SHOWN_RUNS = 20
"""Unfinished runs that are named, at most; those that await an answer after those that are at work or given up."""


def unfinished_runs(runs: list[dict[str, Any]]) -> str:
    """A table of those that are at work, given up or await an answer, and how many others there are."""
    named = sorted((row for row in runs if not _is_quiet(row)), key=lambda row: "awaiting" in row)
    quiet = len(runs) - len(named)
    lines = []
    if len(named) > _SHOWN_RUNS:
        lines.append(f"and {len(named) - _SHOWN_RUNS} more (`kastra get runs -A --children`)\n")
    if quiet:
        sleeps = "1 run sleeps or waits" if quiet == 1 else f"{quiet} runs sleep or wait"
        lines.append(f"{sleeps} for another run\n")
    table = ""
    if named:
        rows = [["UNFINISHED RUN", "WORKER"], *([row["run"], row["worker"]] for row in named[:_SHOWN_RUNS])]
        table = format_table(rows, limit=terminal_width())
        table += "" if table.endswith("\n") else "\n"
    return table + "".join(lines)


def _is_quiet(row: dict[str, Any]) -> bool:
    return bool(row["worker"] == SLEEPS)


def _few(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more (`kastra plugins -o wide`)" if len(names) > most else ""
    return (", ".join(names[:most]) or NONE) + more


def _also(plugins: dict[str, Any]) -> str:
    parts = []
    if plugins["blocked"]:
        parts.append(f"blocked: {', '.join(plugins['blocked'])}")
    if plugins["faults"]:
        count = len(plugins["faults"])
        parts.append("1 fault" if count == 1 else f"{count} faults")
    return f" ({'; '.join(parts)})" if parts else ""
