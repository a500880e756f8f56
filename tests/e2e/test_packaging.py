"""Every distribution builds, says what it is, and works where only pip has been, outside the workspace."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from subprocess import Popen
from typing import Any

import attrs
import orjson
import pytest

from fresh_environment import Built, Installed, build, wheel_of
from rendered_plugins import COMBINATIONS, Rendered

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = {path.parent.name: path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))} | {
    "kastra-core": ROOT
}
PLUGINS = sorted(name.removeprefix("kastra-plugin-") for name in PROJECTS if name != "kastra-core")
STRANGERS = {f"p{at:02}": features for at, features in enumerate(COMBINATIONS)}
"""Name of a rendered plugin -> what it adds."""

TOOL = """\
apiVersion: mastra.ai/v1
kind: Tool
metadata: {name: shout}
spec:
  type: python
  python: {function: "shouting:shout"}
"""
RENDER = """\
import sys
from kastra_core.cli.plugins_new import Template, template_directory
from rendered_plugins import quickly, render
from pathlib import Path

assert template_directory().is_relative_to(sys.prefix), template_directory()
with quickly():
    for word in sys.argv[2:]:
        name, _, features = word.partition("=")
        render(Path(sys.argv[1]), name, features.split(","))
"""
"""Renders with the template that the wheel holds."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Distribution -> its sdist, and the wheel that was made from what the sdist holds."""
    return {name: build(project, tmp_path_factory.mktemp(name)) for name, project in PROJECTS.items()}


@pytest.fixture(scope="module")
def installed(built: dict[str, Built], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    directory = tmp_path_factory.mktemp("outside")
    fresh = Installed.fresh(directory)
    # The extra names plugins; the constraints say that they are these wheels and no others of that name.
    ours = directory / "ours.txt"
    lines = [f"{name} @ {one.wheel.as_uri()}\n" for name, one in built.items() if name != "kastra-core"]
    ours.write_text("".join(lines), encoding="utf-8")
    core = f"kastra-core[all,develop] @ {built['kastra-core'].wheel.as_uri()}"
    fresh.pip("install", "-c", str(ROOT / "constraints.txt"), "-c", str(ours), core)
    return fresh


@pytest.fixture(scope="module")
def strangers(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rendered]:
    """All combinations, rendered by the installed template, built and installed beside each other."""
    directory = tmp_path_factory.mktemp("strangers")
    words = [f"{name}={','.join(features)}" for name, features in STRANGERS.items()]
    script = directory / "render.py"
    script.write_text(RENDER, encoding="utf-8")
    shutil.copy(Path(__file__).with_name("rendered_plugins.py"), directory)
    installed.run("python", str(script), str(directory), *words)
    found = {name: Rendered(directory / f"kastra-plugin-{name}") for name in STRANGERS}
    installed.install([wheel_of(one.directory, directory) for one in found.values()])
    return found


@attrs.frozen
class Check:
    """What is under way, and the file that it prints into."""

    process: Popen[bytes]
    output: Path

    def passed(self) -> str:
        code, told = self.process.wait(), self.output.read_text(encoding="utf-8")
        assert code == 0, told[-20_000:]
        return told


@pytest.fixture(scope="module")
def checks(
    installed: Installed, strangers: dict[str, Rendered], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Check]]:
    """The tests of all rendered plugins in two processes, and their types in a third: all at once."""
    directory = tmp_path_factory.mktemp("checks")
    # Their stores wait for the disk at each of 58 000 commits; memory is as good a place for what is thrown away.
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > 2**28
    scratch = Path(tempfile.mkdtemp(dir=memory if has_room else directory))
    # One process takes one configuration; it is the same in all.
    first = strangers["p00"].directory
    common = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "tmp_path_retention_policy=none",
        "-c",
        str(first / "pyproject.toml"),
    ]
    found = {}
    for half in (0, 1):
        paths = [str(one.directory / "tests") for name, one in strangers.items() if int(name[1:]) % 2 == half]
        places = [
            f"--rootdir={first.parent}",
            f"--basetemp={scratch / str(half)}",
            f"--junit-xml={directory / str(half)}.xml",
        ]
        output = directory / f"{half}.txt"
        found[str(half)] = Check(
            installed.begin("python", "-m", "pytest", *common, *places, *paths, output=output), output
        )
    tests = directory / "tests"
    tests.mkdir()
    for name, one in strangers.items():
        (tests / f"tests_{name}").symlink_to(one.directory / "tests")
    packages = [word for name, one in strangers.items() for word in ("-p", one.package, "-p", f"tests_{name}")]
    options = ["--strict", "--no-incremental", "--namespace-packages", "--explicit-package-bases"]
    mypy = attrs.evolve(installed, python=Path(sys.executable)).begin(
        "python", "-m", "mypy", f"--python-executable={installed.python}", *options, *packages,
        output=directory / "types.txt", MYPYPATH=str(tests),
    )  # fmt: skip
    found["types"] = Check(mypy, directory / "types.txt")
    yield found
    for check in found.values():
        if check.process.poll() is None:
            check.process.kill()
        check.process.wait()
    shutil.rmtree(scratch)


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
    wheel = wheel_of(example, tmp_path)
    shop = tmp_path / "shop"  # not below another project
    shutil.copytree(example / "shop", shop)
    installed.install([wheel])
    there = attrs.evolve(installed, directory=shop)
    there.run("python", "make_shop.py")
    there.run("kastra", "apply", "-f", ".")
    columns = there.run("kastra", "get", "datasources", "orders").splitlines()[1].split()
    assert columns[:4] == ["orders", "sqlite", "True", "Connected"]
    assert (shop / ".kastra/datasources/default/orders.json").is_file()
    there.run("kastra", "delete", "-f", "datasources.yaml")
    assert not (shop / ".kastra/datasources/default/orders.json").exists()
    assert "no plugin or definition offers the kind" in there.run("kastra", "get", "datasources", code=1)


def test_first_command_of_the_readme_does_what_it_shows(installed: Installed, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```console\n\$ (.*)\n((?:(?!\$).*\n)+)", readme, re.MULTILINE)
    assert block is not None
    for path in (ROOT / "docs/examples/quickstart").glob("*.yaml"):
        shutil.copy(path, tmp_path)
    shown = attrs.evolve(installed, directory=tmp_path).type(block[1]).splitlines()
    assert [line.partition(" (")[0] for line in shown] == block[2].splitlines()


# ------------------------------------------------------------------------------------------------- rendered plugins


def test_all_combinations_of_rendered_plugins_live_beside_each_other(
    installed: Installed, strangers: dict[str, Rendered]
) -> None:
    assert "No broken requirements" in installed.run("python", "-m", "pip", "check")
    listed = installed.run("kastra", "plugins", "-o", "json")
    states = {one["name"]: one["state"] for one in orjson.loads(listed)["plugins"]}
    assert {name: states.get(name) for name in strangers} == dict.fromkeys(strangers, "loaded")
    assert set(states.values()) == {"loaded"}


@pytest.mark.timeout(600)
def test_rendered_plugins_are_typed_strictly(checks: dict[str, Check]) -> None:
    assert "Success: no issues found" in checks["types"].passed()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("half", ["0", "1"])
def test_rendered_plugins_pass_their_tests(checks: dict[str, Check], strangers: dict[str, Rendered], half: str) -> None:
    checks[half].passed()
    cases = list(ET.parse(checks[half].output.with_name(f"{half}.xml")).getroot().iter("testcase"))
    count = Counter(str(case.get("classname")).split(".")[0] for case in cases)
    assert set(count) == {f"kastra-plugin-{name}" for name in strangers if int(name[1:]) % 2 == int(half)}
    assert min(count.values()) >= 10
    # A store for one process cannot be tried with two.
    skipped = {str(case.get("name")) for case in cases if case.find("skipped") is not None}
    assert skipped <= {"test_a_second_store_on_the_same_data_sees_writes_and_events_in_order"}


def test_first_commands_of_a_rendered_readme_work_as_written(installed: Installed, tmp_path: Path) -> None:
    installed.run("kastra", "plugins", "new", "stranger", "--with", "kind", "--output-dir", str(tmp_path))
    project = tmp_path / "kastra-plugin-stranger"
    there = attrs.evolve(installed, directory=project)
    steps = re.search(r"## First steps\n.*?```console\n(.*?)```", (project / "README.md").read_text(), re.DOTALL)
    assert steps is not None
    lines = re.findall(r"^\$ (.*)$", steps[1], re.MULTILINE)
    assert lines == ['pip install -e ".[dev]"', "pytest", "kastra plugins show stranger"]
    shown = [there.type(line, PIP_CONSTRAINT=str(ROOT / "constraints.txt")) for line in lines]
    assert " passed" in shown[1]
    assert re.search(r"State:\s+loaded", shown[2])
    further = re.search(r"## Work on it\n.*?```console\n(.*?)```", (project / "README.md").read_text(), re.DOTALL)
    assert further is not None
    for line in re.findall(r"^\$ (.*)$", further[1], re.MULTILINE):
        if line not in lines:
            there.type(line)


def test_resources_of_an_uninstalled_plugin_are_orphaned_and_work_again_when_it_is_back(
    installed: Installed, strangers: dict[str, Rendered], built: dict[str, Built], tmp_path: Path
) -> None:
    there = attrs.evolve(installed, directory=tmp_path)
    stranger, retention = strangers["p00"], built["kastra-plugin-retention"]
    manifests: list[dict[str, Any]] = [
        {"apiVersion": "p00.example/v1", "kind": "P00", "metadata": {"name": "hello"}, "spec": {"text": "Hello"}},
        {
            "apiVersion": "mastra.ai/v1",
            "kind": "RetentionPolicy",
            "metadata": {"name": "month"},
            "spec": {"runs": [{"phases": ["Succeeded"], "ttl": "30d"}]},
        },
    ]
    (tmp_path / "app.yaml").write_bytes(b"\n---\n".join(map(orjson.dumps, manifests)))
    names = (("p00s", "kastra-plugin-p00"), ("retentionpolicies", "kastra-plugin-retention"))
    assert there.run("kastra", "apply", "-f", "app.yaml").count("created") == 2
    before = {plural: there.run("kastra", "get", plural, "-o", "yaml") for plural, _ in names}
    there.pip("uninstall", "-y", *(distribution for _, distribution in names))
    for plural, distribution in names:
        listed = there.run("kastra", "get", plural)
        assert "Orphaned" in listed
        assert f"{distribution} 0.1.0" in listed
        assert there.run("kastra", "get", plural, "-o", "yaml") == before[plural]
    there.install([retention.wheel, *stranger.directory.parent.glob("kastra_plugin_p00-*.whl")])
    assert there.run("kastra", "apply", "-f", "app.yaml").count("unchanged") == 2
    assert there.run("kastra", "get", "p00s").splitlines()[1].split()[2] == "True"
    assert {plural: there.run("kastra", "get", plural, "-o", "yaml") for plural, _ in names} == before
