"""A project directory, the plugin of ``acme_widgets.py`` installed beside it, and ways to call ``kastra``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from kastra_core.cli import main

HERE = Path(__file__).parent
KASTRA = (sys.executable, "-c", "import sys; from kastra_core.cli import main; sys.exit(main())")

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

    def install(self, name: str, source: str, *, module: str = "") -> None:
        """Put a distribution ``name`` there whose plugin is a module of the given source."""
        module = module or f"{name.replace('-', '_')}_plugin"
        (self.path / f"{module}.py").write_text(source, encoding="utf-8")
        info = self.path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[kastra]\n{name} = {module}\n", encoding="utf-8")


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
def shell(project: Path, environment: dict[str, str]) -> Callable[..., Outcome]:
    """Run ``kastra ARGS`` in a process of its own, in the project."""

    def call(*args: str, stdin: str | None = None, **more: str) -> Outcome:
        done = subprocess.run(
            [*KASTRA, *args],
            cwd=project,
            env={**environment, **more},
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

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
