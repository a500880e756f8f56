"""The processes of ``kastra plugins check``: one for the suites of each plugin."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs

from kastra_core.cli.plugins_check_report import refused_data, report_data

if TYPE_CHECKING:
    from kastra_core.plugins import PluginInfo

__all__ = ["reports"]

_PROGRAM = (
    "import sys; sys.path[:] = sys.path[1:]\n"  # the working directory
    "from pathlib import Path\n"
    "from kastra_core.testing._check import main\n"
    "main(sys.argv[1], Path(sys.argv[2]))"
)
_MOST_AT_ONCE = 4
_FOREIGN = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST", "COVERAGE_PROCESS_START")
"""Variables that would have pytest do something else."""


@attrs.frozen
class _Process:
    """The suites of one plugin under way."""

    info: PluginInfo
    process: subprocess.Popen[bytes]
    news: Path
    told: IO[bytes]
    begun: float

    def ended(self, timeout_s: float) -> tuple[dict[str, Any], str]:
        """Wait for its end; return the report and what pytest told."""
        over_s = self.begun + timeout_s - time.monotonic()
        fault = ""
        try:
            code = self.process.wait(max(0.0, over_s))
        except subprocess.TimeoutExpired:
            self.end()
            fault = f"it was not over after {timeout_s:g} s"
        else:
            if code:
                fault = f"its process ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"
        self.told.seek(0)
        told = self.told.read().decode(errors="replace")
        self.told.close()
        return report_data(self.info, self.news, time.monotonic() - self.begun, fault=fault, told=told), told

    def end(self) -> None:
        """End the process if it lives."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def reports(infos: Sequence[PluginInfo], place: Path, timeout_s: float) -> Iterator[tuple[dict[str, Any], str]]:
    """(report, output of pytest) of each plugin, in order; some of them work at the same time."""
    at_once = max(1, min(_MOST_AT_ONCE, os.cpu_count() or 1))
    waiting = list(infos)
    under_way: list[_Process | PluginInfo] = []
    try:
        while waiting or under_way:
            while waiting and len(under_way) < at_once:
                info = waiting.pop(0)
                under_way.append(info if info.error is not None else _begin(info, place))
            first = under_way.pop(0)
            if isinstance(first, _Process):
                try:
                    yield first.ended(timeout_s)
                finally:
                    first.end()
            else:
                yield refused_data(first), first.debug
    finally:
        for each in under_way:
            if isinstance(each, _Process):
                each.end()
                each.told.close()


def _begin(info: PluginInfo, place: Path) -> _Process:
    own = place / info.name
    work = own / "work"
    work.mkdir(parents=True)
    told = (own / "output").open("w+b")
    env = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    env |= {
        # What can be imported here can be imported there, where the working directory is another one.
        "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, info.name, str(own / "news")],
        cwd=work,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=told,
        stderr=subprocess.STDOUT,
    )
    return _Process(info, process, own / "news", told, time.monotonic())
