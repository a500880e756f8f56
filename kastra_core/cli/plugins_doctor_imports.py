"""How long plugins take to import, and whether what their records name is there: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from kastra_core.cli.plugins_doctor_checks import FAIL, OK, WARN, Finding, Scene
from kastra_core.plugins import BUILTIN

if TYPE_CHECKING:
    from kastra_core.plugins import PluginInfo

__all__ = ["SLOW_S", "imports"]

SLOW_S = 0.2
"""An import of hooks that takes longer is told: nearly every command waits for it."""
_LONGEST_S = 120.0
_MARK = "--- hooks ---"
_END = "--- end ---"
_SHOWN = 3

# The child: the core first, which is there anyway; then the module of hooks between two marks, then what records name.
_CHILD = f"""
import json, sys
given = json.load(sys.stdin)
sys.path[:] = given["path"]
answer = sys.stdout
sys.stdout = sys.stderr
import importlib, pluggy
import kastra_core, kastra_core.hookspecs, kastra_core.registrations
from kastra_core.api.lazy import load
sys.stderr.write({_MARK!r} + "\\n"); sys.stderr.flush()
importlib.import_module(given["module"])
sys.stderr.write({_END!r} + "\\n"); sys.stderr.flush()
failed = {{}}
for name in given["names"]:
    try:
        load(name)
    except BaseException as error:
        failed[name] = type(error).__name__ + ": " + " ".join(str(error).split())
json.dump(failed, answer)
"""


def imports(scene: Scene) -> Iterator[Finding]:
    """Hooks that are slow to import, and names in records that lead nowhere."""
    quickest = True
    for info in scene.plugins.load().values():
        if info.state != "loaded" or info.name == BUILTIN:
            continue
        for finding in _examined(info):
            quickest = quickest and finding.level == OK
            yield finding
    if quickest:
        yield Finding(level=OK, message=f"all hooks are imported within {SLOW_S:g} s, all that they name is there")


def _examined(info: PluginInfo) -> Iterator[Finding]:
    import orjson

    names = _lazy_names(info)
    request = {"path": sys.path, "module": info.module.partition(":")[0], "names": list(names)}
    try:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", _CHILD],
            input=orjson.dumps(request),
            capture_output=True,
            timeout=_LONGEST_S,
        )
        failed: Mapping[str, str] = orjson.loads(done.stdout)
    except subprocess.TimeoutExpired:
        message = f"plugin {info.name!r}: the import of what it names did not end within {_LONGEST_S:g} s"
        yield Finding(level=FAIL, subject=info.name, message=message, remedy=f"look at {info.module}")
        return
    except ValueError:
        told = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [""]
        message = f"plugin {info.name!r}: a process that imports it ended with code {done.returncode}: {told[0]}"
        yield Finding(level=FAIL, subject=info.name, message=message, remedy=f"look at {info.module}")
        return
    for name, why in failed.items():
        message = f"plugin {info.name!r}: {names[name]} names {name}, which cannot be imported: {why}"
        remedy = f"mend the name in {info.module}, or install what it needs"
        yield Finding(level=FAIL, subject=info.name, message=message, remedy=remedy)
    took_s, heaviest = _times(done.stderr.decode(errors="replace"), info.module)
    if took_s > SLOW_S:
        shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in heaviest[:_SHOWN])
        message = f"plugin {info.name!r}: its hooks take {took_s:.2f} s to import" + (f" ({shown})" if shown else "")
        remedy = f'name what is heavy as "module:attribute" in {info.module}, and import it where it is used'
        yield Finding(level=WARN, subject=info.name, message=message, remedy=remedy)


def _lazy_names(info: PluginInfo) -> dict[str, str]:
    """ "module:attribute" -> which field of which record names it."""
    found: dict[str, str] = {}
    for records in info.records.values():
        for record in records:
            title = f"{type(record).__name__} {getattr(record, 'name', None) or record.kind}"
            for field in attrs.fields(type(record)):
                if "Lazy" not in str(field.type):
                    continue
                value: Any = getattr(record, field.name)
                for name in value.values() if isinstance(value, Mapping) else [value]:
                    if isinstance(name, str):
                        found.setdefault(name, f"{field.name} of {title}")
    return found


def _times(told: str, module: str) -> tuple[float, list[tuple[str, float]]]:
    """Seconds that the hooks took, and the packages in it that are the plugin's neither nor Python's, heaviest first.

    Args:
        told: what ``-X importtime`` wrote: "import time: SELF_US | CUMULATIVE_US | NAME", what is inside first.
    """
    own = {module.partition(".")[0], "kastra_core"}
    between = told.partition(_MARK)[2].partition(_END)[0]
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
