"""A project directory, the plugin of ``acme_widgets.py`` installed beside it, and ways to call ``kastra``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from kastra_core.cli import main

HERE = Path(__file__).parent

WIDGETS = """\
apiVersion: acme.example/v1
kind: Widget
metadata:
  name: anvil
  labels: {line: heavy}
spec:
  size: 7
  note: 铁砧
---
apiVersion: acme.example/v1
kind: Widget
metadata: {name: bolt}
spec: {size: 2, needs: anvil}
"""


class Outcome(NamedTuple):
    """What a command line did."""

    code: int
    out: str
    err: str


class Plugins:
    """A directory of installed distributions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def install(
        self,
        name: str,
        source: str,
        *,
        module: str = "",
        distribution: str = "",
        version: str = "1.0",
        fields: str = "",
        points: str | None = None,
    ) -> Path:
        """Put a distribution there whose plugin ``name`` is a module of the given source; return its metadata.

        Args:
            module: default: made from the name.
            distribution: default: the name.
            fields: further lines of METADATA.
            points: entry_points.txt in place of the plugin's.
        """
        module = module or f"{name.replace('-', '_')}_plugin"
        distribution = distribution or name
        (self.path / f"{module}.py").write_text(source, encoding="utf-8")
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{fields}", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(
            f"[kastra]\n{name} = {module}\n" if points is None else points, encoding="utf-8"
        )
        return info


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    """Installed distributions; ``acme`` with kind Widget is there."""
    found = Plugins(tmp_path / "site")
    found.install("acme", (HERE / "acme_widgets.py").read_text(encoding="utf-8"), module="acme_widgets")
    (found.path / "acme_controller.py").write_text(
        (HERE / "acme_controller.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project directory in which nothing is."""
    path = tmp_path / "project"
    path.mkdir()
    return path


@pytest.fixture
def environment(tmp_path: Path, plugins: Plugins) -> dict[str, str]:
    """Environment of a command: no configuration of the user, no colours, the test's plugins."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KASTRA_")}
    return {
        **kept,
        "KASTRA_CONFIG_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(plugins.path),
        "PYTHONUTF8": "1",
        "NO_COLOR": "1",
    }


@pytest.fixture
def shell(project: Path, environment: dict[str, str], forks: Any) -> Callable[..., Outcome]:
    """Run ``kastra ARGS`` in a process of its own, in the project."""

    def call(*args: str, stdin: str | None = None, **more: str) -> Outcome:
        return Outcome(*forks.run(args, cwd=project, env={**environment, **more}, input=stdin))

    return call


@pytest.fixture
def kastra(
    project: Path,
    plugins: Plugins,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., Outcome]]:
    """Run ``kastra ARGS`` in this process, in the project; faster than ``shell``."""
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(plugins.path))
    for name in list(os.environ):
        if name.startswith("KASTRA_"):
            monkeypatch.delenv(name)
    for name in ("KASTRA_CONFIG_HOME", "NO_COLOR"):
        monkeypatch.setenv(name, environment[name])

    def call(*args: str) -> Outcome:
        capsys.readouterr()
        code = main(args)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    yield call
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "") or "").startswith(str(plugins.path)):
            del sys.modules[name]


@pytest.fixture
def widgets(project: Path) -> str:
    """Name of a file with the widgets anvil and bolt, which needs anvil."""
    (project / "widgets.yaml").write_text(WIDGETS, encoding="utf-8")
    return "widgets.yaml"


def lines(text: str) -> Sequence[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines()]


# ------------------------------------------------------------------------------------------------ runs

KITCHEN_TOOLS = '''\
"""Tools of a kitchen."""

import time


def find(ingredients: list[str]) -> list[str]:
    """Find recipes.

    Args:
        ingredients: what there is.
    """
    with open("calls.txt", "a", encoding="utf-8") as file:
        file.write(f"{ingredients}\\n")
    return [f"{one} soup" for one in ingredients]


def nap(seconds: float) -> str:
    """Sleep where nothing can wake it."""
    with open("naps.txt", "a", encoding="utf-8") as file:
        file.write("nap\\n")
    time.sleep(seconds)
    return "rested"


def season(spice: str, grams: int = 1, fresh: bool = False) -> dict[str, object]:
    """Say what it was given."""
    return {"spice": spice, "grams": grams, "fresh": fresh}
'''

KITCHEN = """\
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: recipe-finder, namespace: cooking}
spec: {type: python, python: {function: "kitchen_tools:find"}}
---
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: nap}
spec: {type: python, python: {function: "kitchen_tools:nap"}}
---
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: season}
spec: {type: python, python: {function: "kitchen_tools:season"}}
---
apiVersion: mastra.ai/v1
kind: Agent
metadata: {name: recipe-assistant, namespace: cooking}
spec:
  model: {provider: openai, name: mock}
  instructions: Cook.
  tools: [{name: recipe-finder, refName: cooking.recipe-finder}]
---
apiVersion: mastra.ai/v1
kind: Agent
metadata: {name: plain}
spec:
  model: {provider: openai, name: mock}
  instructions: Talk.
"""


class Kitchen:
    """A project with agents and tools whose models are a server on the loopback device.

    ``server`` is the fixture ``mock_openai``; agents: ``plain``, ``recipe-assistant`` in namespace cooking.
    """

    def __init__(self, path: Path, environment: dict[str, str], server: Any, forks: Any) -> None:
        self.path, self.environment, self.server, self.forks = path, environment, server, forks
        self.started: list[Any] = []

    def __call__(self, *args: str, stdin: str | None = "") -> Outcome:
        """Run ``kastra ARGS`` in a process of its own, without a terminal."""
        return Outcome(*self.forks.run(args, cwd=self.path, env=self.environment, input=stdin))

    def start(self, *args: str, stdin: int = subprocess.DEVNULL) -> Any:
        """Start ``kastra ARGS``; the kitchen ends it when the test is over. Used as ``Popen`` with bytes."""
        pipe = subprocess.PIPE
        process = self.forks.begin(args, cwd=self.path, env=self.environment, stdin=stdin, stdout=pipe, stderr=pipe)
        self.started.append(process)
        return process

    def start_on_terminal(self, *args: str, **environment: str) -> tuple[Any, int]:
        """Start ``kastra ARGS`` on a terminal of its own; return it and the terminal's file descriptor."""
        import pty

        ours, theirs = pty.openpty()
        process = self.forks.begin(
            args,
            cwd=self.path,
            env={**self.environment, "TERM": "xterm", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            terminal=True,
        )
        os.close(theirs)
        self.started.append(process)
        return process, ours

    def stop(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def asked(self, count: int) -> None:
        """Wait until the server was asked for so many chats."""
        self.until(lambda: self.server.stats()["chat"] >= count)

    def until(self, holds: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait for something that another process does."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)

    def lines_of(self, name: str) -> int:
        """Lines of a file in the project, 0 when it is not there."""
        path = self.path / name
        return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0

    def runs(self, namespace: str = "default") -> list[Any]:
        """The Runs, as manifests."""
        done = self("get", "runs", "-n", namespace, "-o", "json")
        assert done.code == 0, done.err
        data = orjson.loads(done.out)
        return data["items"] if data["kind"] == "List" else [data]

    def run(self, namespace: str = "default") -> Any:
        """The one Run."""
        [found] = self.runs(namespace)
        return found


@pytest.fixture(scope="session")
def _kitchen_project(tmp_path_factory: pytest.TempPathFactory, _mock_openai_server: Any, forks: Any) -> Path:
    """The project, applied once; tests get copies."""
    path = tmp_path_factory.mktemp("kitchen") / "project"
    (path / ".kastra").mkdir(parents=True)
    (path / "kitchen_tools.py").write_text(KITCHEN_TOOLS, encoding="utf-8")
    (path / "kitchen.yaml").write_text(KITCHEN, encoding="utf-8")
    (path / ".kastra" / "config.yaml").write_text(
        f"providers:\n  openai:\n    apiBase: {_mock_openai_server.base_url}\n"
        "    apiKey: {valueFrom: {env: KITCHEN_KEY}}\n"
        "tools:\n  python:\n    allow: [kitchen_tools]\n",
        encoding="utf-8",
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KASTRA_")}
    environment = {**kept, "KASTRA_CONFIG_HOME": str(path / "home"), "KITCHEN_KEY": "k", "PYTHONUTF8": "1"}
    done = Outcome(*forks.run(["apply", "-f", "kitchen.yaml"], cwd=path, env=environment, input=""))
    assert done.code == 0, done.err
    assert "not ready" not in done.out, done.out
    return path


@pytest.fixture
def kitchen(
    _kitchen_project: Path, project: Path, environment: dict[str, str], mock_openai: Any, forks: Any
) -> Iterator[Kitchen]:
    """A project whose agents answer through a server on the loopback device."""
    shutil.copytree(_kitchen_project, project, dirs_exist_ok=True)
    found = Kitchen(project, {**environment, "KITCHEN_KEY": "k"}, mock_openai, forks)
    before = mock_openai.mock.chunk_latency
    yield found
    found.stop()
    mock_openai.mock.chunk_latency = before


MULE_PLUGIN = """
import asyncio
from kastra_core import ResourceKind, hookimpl


class MuleRunner:
    async def run(self, ctx, target, input):
        await ctx.emit({"type": "note", "message": "it stands"})
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await ctx.emit({"type": "note", "message": "it stands still"})
            await asyncio.sleep(60)


@hookimpl
def kastra_resource_kinds():
    yield ResourceKind(kind="Mule", plural="mules", group="acme.example", runner="mule_plugin:MuleRunner")
"""


@pytest.fixture
def mule(kitchen: Kitchen, plugins: Plugins) -> Kitchen:
    """The kitchen with ``mule/m``, whose runs do not stop when they are asked to."""
    plugins.install("mule", MULE_PLUGIN)
    (kitchen.path / "mule.yaml").write_text(
        "apiVersion: acme.example/v1\nkind: Mule\nmetadata: {name: m}\n", encoding="utf-8"
    )
    assert kitchen("apply", "-f", "mule.yaml").code == 0
    return kitchen
