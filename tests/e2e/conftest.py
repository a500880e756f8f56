"""A project as a user has it: manifests, a tool's module, a configuration, and ``kastra`` in processes of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from kastra_core import KindRegistry, Migrator, PluginManager, Runtime, RuntimeManager
from kastra_core.api.lazy import load
from kastra_core.config import Config
from kastra_core.runtime import registry_of

KASTRA = Path(sys.executable).with_name("kastra")

AGENT = """\
# 增强的代理定义，采用 Kubernetes 风格
apiVersion: mastra.ai/v1
kind: Agent
metadata:
  name: recipe-assistant
  namespace: cooking
  labels:
    app: kitchen-helper
    tier: frontend
spec:
  instructions: "你是一个厨师助手，帮助用户根据食材推荐菜谱。"
  model:
    provider: openai
    name: gpt-4-turbo
  tools:
    - name: recipe-finder
      refName: cooking.recipe-finder
  memory:
    enabled: true
    type: vector
  scaling:
    minReplicas: 1
    maxReplicas: 5
status:
  phase: Running
  conditions:
    - type: Ready
      status: "True"
"""

TOOL = """\
apiVersion: mastra.ai/v1
kind: Tool
metadata:
  name: recipe-finder
  namespace: cooking
spec:
  type: python
  description: 根据现有食材查找菜谱 (find recipes by ingredients)
  python:
    function: "pantry_recipes:find_recipes"
"""

MODULE = '''\
"""Recipes by what is in the kitchen."""


def find_recipes(ingredients: list[str]) -> list[str]:
    """Find recipes.

    Args:
        ingredients: 现有的食材; what is in the kitchen. Example: ["鸡蛋", "番茄"]
    """
    with open("calls.txt", "a", encoding="utf-8") as file:
        file.write(" ".join(ingredients) + "\\n")
    known = {"番茄炒蛋": {"鸡蛋", "番茄"}, "蛋炒饭": {"鸡蛋", "米饭"}}
    return [name for name, needed in known.items() if needed <= set(ingredients)]
'''


class Outcome(NamedTuple):
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


class Kitchen:
    """A project directory with ``agent.yaml`` (the Agent), ``tool.yaml`` (the Tool) and the tool's module.

    Args:
        path: of the project.
        environment: of commands; without keys and without a configuration of the user.
        forks: begins processes that have everything imported; default: each starts from nothing.
    """

    def __init__(self, path: Path, environment: Mapping[str, str], forks: Any = None) -> None:
        self.path, self.environment, self._forks = path, dict(environment), forks
        self._started: list[tuple[Any, threading.Timer]] = []
        for name, text in (("agent.yaml", AGENT), ("tool.yaml", TOOL), ("pantry_recipes.py", MODULE)):
            (path / name).write_text(text, encoding="utf-8")
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Write the project's configuration; the tool's module is allowed unless ``tools`` says otherwise."""
        settings.setdefault("tools", {"python": {"allow": ["pantry_recipes"]}})
        directory = self.path / ".kastra"
        directory.mkdir(exist_ok=True)
        (directory / "config.yaml").write_bytes(orjson.dumps(settings))  # JSON is YAML

    def __call__(self, *arguments: str, **environment: str) -> Outcome:
        """Run ``kastra ARGUMENTS`` to its end."""
        if self._forks is not None:
            found = Outcome(
                *self._forks.run(
                    arguments, cwd=self.path, env={**self.environment, **environment}, input="", script=KASTRA
                )
            )
            assert "Traceback" not in found.err, found.err
            return found
        done = subprocess.run(
            [KASTRA, *arguments],
            cwd=self.path,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=170,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, timeout_s: float = 60.0, **environment: str) -> Any:
        """Start ``kastra ARGUMENTS``; it is ended with the test, or after ``timeout_s``, so that reading it ends.

        It is used as a ``Popen`` with text.
        """
        options: dict[str, Any] = {
            "cwd": self.path,
            "env": {**self.environment, "PYTHONUNBUFFERED": "1", **environment},
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "encoding": "utf-8",
        }
        process: Any
        if self._forks is not None:
            process = self._forks.begin(arguments, script=KASTRA, **options)
        else:
            process = subprocess.Popen([KASTRA, *arguments], **options)
        watchdog = threading.Timer(timeout_s, process.kill)
        watchdog.start()
        self._started.append((process, watchdog))
        return process

    def stop(self) -> None:
        for process, watchdog in self._started:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()
            process.communicate()
            watchdog.join()

    def items(self, kinds: str) -> list[dict[str, Any]]:
        """Stored resources of the namespace ``cooking``, as manifests."""
        done = self("get", kinds, "-n", "cooking", "-o", "json")
        assert done.code == 0, done.err
        found: list[dict[str, Any]] = orjson.loads(done.out)["items"]
        return found

    def condition(self, kind: str, resource: str = "agents") -> dict[str, Any]:
        """A condition of the one resource of a kind, as it is stored."""
        (item,) = self.items(resource)
        (found,) = [entry for entry in item["status"]["conditions"] if entry["type"] == kind]
        return dict(found)

    @property
    def calls(self) -> list[str]:
        """The ingredients of each call of the tool."""
        path = self.path / "calls.txt"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A stranger's environment: no keys, no configuration of his own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith(("_API_KEY", "_BASE_URL", "_API_BASE"))
        and (not name.startswith("KASTRA_") or name == "KASTRA_MODEL_DIR")
    }
    return {**kept, "KASTRA_CONFIG_HOME": str(tmp_path / "home"), "PYTHONUTF8": "1", "NO_COLOR": "1"}


@pytest.fixture
def kitchen(request: pytest.FixtureRequest, tmp_path: Path, environment: dict[str, str]) -> Iterator[Kitchen]:
    """A project with the Agent, its Tool and the tool's module; nothing is applied.

    The missions are carried out as a user does it, with processes that start from nothing.
    """
    path = tmp_path / "kitchen"
    path.mkdir()
    forks = None if request.path.name.startswith("test_mission_") else request.getfixturevalue("forks")
    made = Kitchen(path, environment, forks)
    yield made
    made.stop()


@pytest.fixture
def here(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes this process one that a user started in the project: its directory, its environment, its modules."""
    monkeypatch.chdir(kitchen.path)
    for name in set(os.environ) - set(kitchen.environment):
        if name != "PYTEST_CURRENT_TEST":
            monkeypatch.delenv(name)
    for name, value in kitchen.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("pantry_recipes", None)
    yield
    sys.modules.pop("pantry_recipes", None)


@pytest.fixture
def open_runtime(kitchen: Kitchen, here: None) -> Callable[..., Any]:
    """``async with open_runtime() as runtime``: on the project's own store and configuration."""

    @contextlib.asynccontextmanager
    async def opened(**options: Any) -> Any:
        runtime: RuntimeManager = await Runtime.open(config=Config.load(kitchen.path), **options)
        async with runtime:
            yield runtime

    return opened


@pytest.fixture(scope="module")
def plugins() -> PluginManager:
    """The installed plugins."""
    return PluginManager()


@pytest.fixture(scope="module")
def registry(plugins: PluginManager) -> KindRegistry:
    """Their kinds."""
    return registry_of(plugins)


@pytest.fixture(scope="module")
def migrators(plugins: PluginManager) -> dict[str, Migrator]:
    """Their migrators, by name."""
    return {record.name: load(record.factory)() for _, record in plugins.records("kastra_migrators")}


@pytest.fixture(scope="session")
def weights() -> Path:
    """The weights of the small model that calls tools, in the ordinary cache."""
    from kastra_plugin_local.catalogue import lookup
    from kastra_plugin_local.pull import PullError, pull

    try:
        return pull(lookup("qwen2.5-coder-0.5b"))
    except PullError as error:
        if os.environ.get("KASTRA_REQUIRE_MODELS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
