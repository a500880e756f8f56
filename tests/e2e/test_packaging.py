"""Every distribution builds, says what it is, and works where only pip has been, outside the workspace."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from email.message import Message
from pathlib import Path
from typing import Any

import attrs
import pytest

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = {path.parent.name: path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))} | {
    "kastra-core": ROOT
}
PLUGINS = sorted(name.removeprefix("kastra-plugin-") for name in PROJECTS if name != "kastra-core")

TOOL = """\
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: shout}
spec:
  type: python
  python: {function: "shouting:shout"}
"""


@attrs.frozen
class Built:
    wheel: Path
    sdist: Path

    @property
    def files(self) -> list[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.namelist()

    def read(self, name: str) -> str:
        """The text of a file of ``*.dist-info``."""
        with zipfile.ZipFile(self.wheel) as archive:
            (path,) = [n for n in archive.namelist() if n.endswith(f".dist-info/{name}")]
            return archive.read(path).decode()

    @property
    def metadata(self) -> Message:
        return email.message_from_string(self.read("METADATA"))


@attrs.frozen
class Installed:
    """A fresh environment with the wheels, and an empty directory to work in."""

    python: Path
    directory: Path

    def run(self, *command: str, code: int = 0) -> str:
        words = [str(self.python.with_name(command[0])), *command[1:]]
        done = subprocess.run(
            words, cwd=self.directory, env=_environment(), capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == code, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stderr if code else done.stdout


def _environment() -> dict[str, str]:
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "KASTRA_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _hatchling(project: Path, target: str, out: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    done = subprocess.run(command, cwd=project, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Distribution -> its sdist, and the wheel that was made from what the sdist holds."""
    found = {}
    for name, project in PROJECTS.items():
        out = tmp_path_factory.mktemp(name)
        _hatchling(project, "sdist", out)
        (sdist,) = out.glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(out, filter="data")
        _hatchling(out / sdist.name.removesuffix(".tar.gz"), "wheel", out)
        (wheel,) = out.glob("*.whl")
        found[name] = Built(wheel, sdist)
    return found


@pytest.fixture(scope="module")
def installed(built: dict[str, Built], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    directory = tmp_path_factory.mktemp("outside")
    venv = directory / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, capture_output=True)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # The extra names plugins; the constraints say that they are these wheels and no others of that name.
    ours = directory / "ours.txt"
    lines = [f"{name} @ {one.wheel.as_uri()}\n" for name, one in built.items() if name != "kastra-core"]
    ours.write_text("".join(lines), encoding="utf-8")
    # Most of what is installed is not imported here: compiling it would take half of the time.
    pip = [str(python), "-m", "pip", "install", "-q", "--no-compile", "--no-input", "--disable-pip-version-check"]
    core = f"kastra-core[all] @ {built['kastra-core'].wheel.as_uri()}"
    command = [*pip, "-c", str(ROOT / "constraints.txt"), "-c", str(ours), core]
    done = subprocess.run(command, cwd=directory, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    work = directory / "work"
    work.mkdir()
    return Installed(python, work)


@pytest.mark.parametrize("name", PROJECTS)
def test_wheel_is_typed_and_licensed(built: dict[str, Built], name: str) -> None:
    package = name.replace("-", "_")
    files = built[name].files
    assert f"{package}/py.typed" in files
    assert any(path.endswith(".dist-info/licenses/LICENSE") for path in files)
    assert {path.split("/")[0] for path in files if ".dist-info/" not in path} == {package}


@pytest.mark.parametrize("name", PROJECTS)
def test_wheel_says_what_it_is(built: dict[str, Built], name: str) -> None:
    metadata = built[name].metadata
    declared: dict[str, Any] = tomllib.loads((PROJECTS[name] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["Name"] == name
    assert metadata["Version"] == declared["version"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"] == declared["description"]
    required = {r.split(";")[0].strip() for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r}
    assert len(required) == len(declared["dependencies"])
    assert str(metadata.get_payload()).strip()


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugin_announces_its_hooks(built: dict[str, Built], plugin: str) -> None:
    parser = ConfigParser()
    parser.read_string(built[f"kastra-plugin-{plugin}"].read("entry_points.txt"))
    assert dict(parser["kastra"]) == {plugin: f"kastra_plugin_{plugin.replace('-', '_')}.hooks"}


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugin_requires_the_core(built: dict[str, Built], plugin: str) -> None:
    required = built[f"kastra-plugin-{plugin}"].metadata.get_all("Requires-Dist", [])
    assert any(re.match(r"kastra-core(\[[a-z]+\])?>=", requirement) for requirement in required)


def test_extra_all_brings_every_plugin(built: dict[str, Built]) -> None:
    required = built["kastra-core"].metadata.get_all("Requires-Dist", [])
    named = {r.split(";")[0].strip().removeprefix("kastra-plugin-") for r in required if "extra == 'all'" in r}
    assert named == set(PLUGINS)


def test_installed_kastra_is_that_of_the_wheels(installed: Installed) -> None:
    place = installed.run("python", "-c", "import kastra_core; print(kastra_core.__file__)").strip()
    assert Path(place).is_relative_to(installed.python.parents[1])


def test_installed_distributions_agree(installed: Installed) -> None:
    assert "No broken requirements" in installed.run("python", "-m", "pip", "check")


def test_installed_command_tells_its_version(installed: Installed, built: dict[str, Built]) -> None:
    assert installed.run("kastra", "--version").split()[-1] == built["kastra-core"].metadata["Version"]


def test_installed_plugins_are_all_loaded(installed: Installed) -> None:
    listed = installed.run("kastra", "plugins")
    for plugin in PLUGINS:
        (line,) = [line for line in listed.splitlines() if line.split()[:1] == [plugin]]
        assert "loaded" in line


def test_installed_kastra_applies_and_runs_a_tool_on_the_default_store(installed: Installed) -> None:
    (installed.directory / "shouting.py").write_text(
        'def shout(text: str) -> str:\n    """Say it loud."""\n    return text.upper()\n', encoding="utf-8"
    )
    (installed.directory / "tool.yaml").write_text(TOOL, encoding="utf-8")
    installed.run("kastra", "config", "set", "tools.python.allow", "shouting")
    assert "created" in installed.run("kastra", "apply", "-f", "tool.yaml")
    assert "unchanged" in installed.run("kastra", "apply", "-f", "tool.yaml")
    assert installed.run("kastra", "get", "tools", "-o", "name").split() == ["tool.mastra.ai/shout"]
    assert "HELLO" in installed.run("kastra", "run", "tool/shout", "--set", "text=hello")
    assert list((installed.directory / ".kastra").glob("*.db"))


def test_somebody_elses_plugin_brings_a_defined_kind_to_life(installed: Installed, tmp_path: Path) -> None:
    example = ROOT / "docs/examples/datasource"
    _hatchling(example, "wheel", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    shop = tmp_path / "shop"  # not below another project
    shutil.copytree(example / "shop", shop)
    pip = ("python", "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check", "--no-index")
    installed.run(*pip, "--no-deps", str(wheel))
    there = attrs.evolve(installed, directory=shop)
    there.run("python", "make_shop.py")
    there.run("kastra", "apply", "-f", ".")
    columns = there.run("kastra", "get", "datasources", "orders").splitlines()[1].split()
    assert columns[:4] == ["orders", "sqlite", "True", "Connected"]
    assert (shop / ".kastra/datasources/default/orders.json").is_file()
    there.run("kastra", "delete", "-f", "datasources.yaml")
    assert not (shop / ".kastra/datasources/default/orders.json").exists()
    assert "no plugin or definition offers the kind" in there.run("kastra", "get", "datasources", code=1)
