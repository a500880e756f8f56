"""The steps of the quickstart, as its script gives them, on a copy of the example and with the real local model."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "quickstart"
KASTRA = Path(sys.executable).with_name("kastra")

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the example, so that the clone stays as it is."""
    copy = tmp_path / "quickstart"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns(".kastra", "__pycache__"))
    return copy


@pytest.fixture
def steps(example: Path) -> list[list[str]]:
    """Arguments of ``kastra``, one list a step."""
    spec = importlib.util.spec_from_file_location("kastra_quickstart_copy", example / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [arguments for _, arguments in module.kastra_steps(module.ASK)]


@pytest.fixture
def kastra(tmp_path: Path) -> Call:
    """Run ``kastra`` as a stranger would: without keys and without a configuration of his own."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith("_API_KEY") and (not name.startswith("KASTRA_") or name == "KASTRA_MODEL_DIR")
    }
    environment["KASTRA_CONFIG_HOME"] = str(tmp_path / "config")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [KASTRA, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8"
        )

    return call


def _do(kastra: Call, steps: list[list[str]], word: str) -> subprocess.CompletedProcess[str]:
    """Do the steps of a command; return the last one's outcome."""
    for arguments in steps:
        if arguments[2] == word:
            done = kastra(*arguments)
            assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done


def _items(kastra: Call, example: Path, kinds: str) -> list[dict[str, Any]]:
    done = kastra("-C", str(example), "get", kinds, "-n", "cooking", "-o", "json")
    assert done.returncode == 0, done.stderr
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return items


def test_tool_of_the_example_works_once_it_is_allowed(example: Path, steps: list[list[str]], kastra: Call) -> None:
    for word in ("config", "apply"):
        _do(kastra, steps, word)
    ingredients = '{"ingredients": ["番茄", "鸡蛋"]}'
    done = kastra("-C", str(example), "run", "tool/recipe-finder", "-n", "cooking", "--input", ingredients)
    assert done.returncode == 0, done.stderr
    assert "番茄炒蛋" in done.stdout


def test_agent_of_the_example_says_what_it_lacks(example: Path, steps: list[list[str]], kastra: Call) -> None:
    done = _do(kastra, steps, "apply")
    assert "status" in done.stderr  # the status block of the manifest is left out with a note
    by_kind = {item["kind"]: item for item in _items(kastra, example, "agents,tools")}
    ready = {kind: _condition(item, "Ready") for kind, item in by_kind.items()}
    assert ready["Tool"]["reason"] == "ModuleNotAllowed"
    assert ready["Agent"]["status"] == "False"
    assert "OPENAI_API_KEY" in _condition(by_kind["Agent"], "ModelAvailable")["message"]


def _condition(item: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = item["status"]["conditions"]
    (found,) = [condition for condition in conditions if condition["type"] == kind]
    return found


@pytest.mark.model_slow
def test_quickstart_answers_by_a_tool_call(example: Path, steps: list[list[str]], kastra: Call) -> None:
    if os.environ.get("KASTRA_REQUIRE_MODELS") != "1" and kastra(*steps[0]).returncode:
        pytest.skip("the weights cannot be fetched")
    for word in ("model", "config", "apply", "run"):
        done = _do(kastra, steps, word)
    assert done.stdout.strip()
    (run,) = [item for item in _items(kastra, example, "runs") if item["spec"]["target"]["kind"] == "Agent"]
    assert run["status"]["phase"] == "Succeeded"
    assert run["status"]["usage"]["toolCalls"] >= 1
    assert run["status"]["output"].strip()
