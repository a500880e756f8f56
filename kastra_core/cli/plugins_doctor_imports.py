"""How long plugins take to import, what that changes, and whether what their records name is there.

Each plugin is imported in a process of its own, before any is imported in this one: an import that never ends, or ends
the process, is told and hurts nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Container, Iterator
from typing import Any

import attrs

from kastra_core.cli.plugins_doctor_checks import FAIL, OK, WARN, Finding
from kastra_core.cli.plugins_doctor_child import HOOKS_BEGIN, HOOKS_END, LOADED
from kastra_core.plugins import EntryPoint, entry_points

__all__ = ["SLOW_S", "Examined", "examine", "findings"]

SLOW_S = 0.2
"""An import of hooks that takes longer is told: nearly every command waits for it."""
_LONGEST_S = 60.0
_SHOWN = 3

_CHILD = """
import json, os, sys
given = json.load(sys.stdin)
sys.path[:] = given["path"]
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import pluggy, kastra_core, kastra_core.hookspecs, kastra_core.registrations
from kastra_core.cli.plugins_doctor_child import answer
json.dump(answer(given["name"], given["module"]), out)
out.flush()
os._exit(0)
"""
"""The core comes first, which is there anyway; a thread that the plugin has begun keeps nobody waiting."""


@attrs.frozen
class Examined:
    """What was found of one plugin."""

    plugin: str
    findings: tuple[Finding, ...]
    deadly: bool = False
    """Its import ends the process or never ends: it must not be imported here."""


def examine(blocked: Container[str]) -> list[Examined]:
    """Examine the installed plugins but those that are ``blocked``, by name."""
    points: dict[str, EntryPoint] = {}
    for point in entry_points():
        points.setdefault(point.name, point)
    return [_examined(point) for name, point in points.items() if name not in blocked]


def findings(examined: list[Examined]) -> Iterator[Finding]:
    """What was found, or that nothing was."""
    found = [finding for one in examined for finding in one.findings]
    yield from found
    if not found:
        yield Finding(level=OK, message=f"all hooks are imported within {SLOW_S:g} s, all that they name is there")


def _examined(point: EntryPoint) -> Examined:
    import orjson

    title = f"plugin {point.name!r}"
    request = {"path": [p for p in sys.path if isinstance(p, str)], "name": point.name, "module": point.module}
    try:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", _CHILD],
            input=orjson.dumps(request),
            capture_output=True,
            timeout=_LONGEST_S,
        )
        answer: Any = orjson.loads(done.stdout)
    except subprocess.TimeoutExpired as late:
        told = (late.stderr or b"").decode(errors="replace")
        part = "what its records name" if LOADED in told else "its hooks"
        return _dead(point, f"{title}: the import of {part} did not end within {_LONGEST_S:g} s", told)
    except ValueError:
        told = done.stderr.decode(errors="replace")
        last = next((line for line in reversed(told.splitlines()) if not line.startswith(("import time:", "--- "))), "")
        said = f": {last.strip()}" if last.strip() else ""
        return _dead(point, f"{title}: a process that imports it ended with code {done.returncode}{said}", told)
    return Examined(point.name, tuple(_answered(point, answer, done.stderr.decode(errors="replace"))))


def _dead(point: EntryPoint, message: str, told: str) -> Examined:
    remedy = f"look at {point.module}; until then leave it out: --no-plugin {point.name}"
    found = Finding(level=FAIL, subject=point.name, message=message, remedy=remedy)
    return Examined(point.name, (found,), deadly=LOADED not in told)


def _answered(point: EntryPoint, answer: Any, told: str) -> Iterator[Finding]:
    title = f"plugin {point.name!r}"
    for one in answer["failed"]:
        message = f"{title}: {one['of']} names {one['name']}, which cannot be imported: {one['why']}"
        remedy = f"mend the name in {point.module}, or install what it needs"
        yield Finding(level=FAIL, subject=point.name, message=message, remedy=remedy)
    for effect in answer["effects"]:
        remedy = f"take that out of {point.module}: importing a plugin must change nothing else"
        yield Finding(level=WARN, subject=point.name, message=f"{title}: its import {effect}", remedy=remedy)
    took_s, heaviest = _times(told, point.module)
    if took_s > SLOW_S:
        shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in heaviest[:_SHOWN])
        message = f"{title}: its hooks take {took_s:.2f} s to import" + (f" ({shown})" if shown else "")
        remedy = f'name what is heavy as "module:attribute" in {point.module}, and import it where it is used'
        yield Finding(level=WARN, subject=point.name, message=message, remedy=remedy)


def _times(told: str, module: str) -> tuple[float, list[tuple[str, float]]]:
    """Seconds that the hooks took, and the packages in it that are the plugin's neither nor Python's, heaviest first.

    Args:
        told: what ``-X importtime`` wrote: "import time: SELF_US | CUMULATIVE_US | NAME", what is inside first.
    """
    own = {module.partition(".")[0], "kastra_core"}
    between = told.partition(HOOKS_BEGIN)[2].partition(HOOKS_END)[0]
    total_us, packages = 0, dict[str, int]()
    for line in between.splitlines():
        if not line.startswith("import time:"):
            continue
        _, cumulative, name = line.removeprefix("import time:").split("|", 2)
        depth = len(name) - len(name.lstrip())
        if depth <= 1:
            total_us += int(cumulative)
        top = name.strip().partition(".")[0]
        if top not in own and top not in sys.stdlib_module_names:
            packages[top] = max(packages.get(top, 0), int(cumulative))
    heaviest = sorted(((name, us / 1e6) for name, us in packages.items()), key=lambda pair: -pair[1])
    return total_us / 1e6, heaviest
