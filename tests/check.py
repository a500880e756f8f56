#!/usr/bin/env python3
"""Install everything that the tests need, run every check, and end with ``N passed, N failed``.

Needs Python 3.11 or newer, pip, and a clone. Nothing outside the clone is changed, but for pip's cache and for the
weights of two small models, which go to the user's cache directory.

    python3 tests/check.py                  all of it, a quarter of an hour or less on two cores
    python3 tests/check.py --fast           without local models and packaging, about eight minutes
    python3 tests/check.py --stage types    one stage (repeatable)
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-check"
REPORTS = VENV / "reports"
MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")


@dataclass
class Outcome:
    """What became of one stage."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Stage:
    """One part of the checks. ``tests``: its count is that of the tests in it, else it counts as one."""

    name: str
    what: str
    command: Callable[[Path], list[str]]
    fast: bool = True
    tests: bool = False
    default: bool = True
    environment: dict[str, str] = field(default_factory=dict)


def _module(name: str, *arguments: str) -> Callable[[Path], list[str]]:
    return lambda python: [str(python), "-m", name, *arguments]


def _pytest(marks: str, *arguments: str) -> Callable[[Path], list[str]]:
    return _module("pytest", "-q", "-m", marks, *arguments)


SOURCES = (
    "kastra_core",
    *sorted(str(p.relative_to(ROOT)) for p in (*ROOT.glob("plugins/*/src"), *ROOT.glob("docs/examples/*/src"))),
    *sorted(str(p.relative_to(ROOT)) for p in (*ROOT.glob("docs/*.py"), *ROOT.glob("docs/_*/*.py"))),
    "cookiecutter-plugin/hooks",
    "tests",
)
WORKERS = (os.cpu_count() or 1) + 1
"""Processes of the tests: one more than there are processors, for a third of their time they wait."""
SECOND_TRIES = 3
"""So many failed tests of a stage may be tried again: some look at terminals and signals of processes, by the clock."""
MODEL_TESTS = {"KASTRA_REQUIRE_MODELS": "1"}

STAGES = (
    Stage("lint", "ruff check", _module("ruff", "check", ".")),
    Stage("format", "ruff format --check", _module("ruff", "format", "--check", ".")),
    Stage("types", "mypy --strict", _module("mypy", *SOURCES)),
    Stage("imports", "import-linter", lambda python: [str(python.with_name("lint-imports")), "--no-cache"]),
    Stage(
        "tests",
        "pytest, without models and packaging",
        _pytest(
            "not model and not model_slow and not packaging and not benchmark",
            "-n",
            str(WORKERS),
            "--dist",
            "worksteal",
        ),
        tests=True,
    ),
    Stage(
        "models",
        "pytest with real local models",
        _pytest("(model or model_slow) and not benchmark"),
        fast=False,
        tests=True,
        environment=MODEL_TESTS,
    ),
    Stage("packaging", "wheels in a fresh environment", _pytest("packaging"), fast=False, tests=True),
    Stage(
        "benchmarks",
        "pytest, ratios are printed",
        _pytest("benchmark", "-s", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("tests/benchmarks/bench_*.py"))),
        tests=True,
        default=False,
        environment=MODEL_TESTS,
    ),
)


def _quickstart() -> ModuleType:
    """The quickstart's script: it makes environments and runs pip, and so does this one."""
    path = ROOT / "docs" / "examples" / "quickstart" / "run.py"
    spec = importlib.util.spec_from_file_location("kastra_quickstart", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prepare() -> Path:
    """Make the environment of the checks, unless it is there and up to date; return its Python."""
    projects = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    constraints = ROOT / "constraints.txt"
    digest = hashlib.sha256(repr(sys.version_info).encode())
    for path in (*projects, constraints):
        digest.update(path.read_bytes())
    stamp = VENV / "kastra-check.stamp"
    quickstart: Any = _quickstart()
    fresh = not stamp.exists() or stamp.read_text(encoding="utf-8") != digest.hexdigest()
    if fresh:
        stamp.unlink(missing_ok=True)
    python: Path = quickstart.make_venv(VENV)
    if fresh:
        groups: dict[str, list[str]] = tomllib.loads(projects[0].read_text(encoding="utf-8"))["dependency-groups"]
        editable = [word for path in projects for word in ("--editable", str(path.parent))]
        wanted = ["-c", str(constraints), *editable, *groups["dev"]]
        if not _uv_install(python, *wanted):
            # What is used is compiled when it is used first: that is less than half of what is installed.
            quickstart.pip_install(python, "--no-compile", *wanted)
        stamp.write_text(digest.hexdigest(), encoding="utf-8")
    return python


def _uv_install(python: Path, *arguments: str) -> bool:
    """Install by uv, which takes a fifth of the time; False where there is none or it fails: pip does it then."""
    started = time.monotonic()
    if _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"], {}):
        return False
    command = [str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(python), *arguments]
    done = _call(command, {}) == 0
    print(f"  installed in {time.monotonic() - started:.0f} s" if done else "  uv failed; trying pip", flush=True)
    return done


def run(stage: Stage, python: Path) -> Outcome:
    """Run one stage, its output passed on, and count."""
    outcome = Outcome(stage.name)
    command = stage.command(python)
    report = REPORTS / f"{stage.name}.xml"
    if stage.tests:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
        command.append(f"--junit-xml={report}")
    print(f"\n=== {stage.name}: {stage.what}", flush=True)
    code = _call(command, stage.environment)
    if stage.tests:
        _count(report, outcome)
        # 5: nothing was collected. A stage without tests proves nothing, so it fails like any other fault of pytest.
        if code and not outcome.failed:
            outcome.failed = 1
        elif 0 < outcome.failed <= SECOND_TRIES:
            _try_again(stage, python, outcome)
    else:
        outcome.passed, outcome.failed = int(code == 0), int(code != 0)
    return outcome


def _try_again(stage: Stage, python: Path, outcome: Outcome) -> None:
    """Give a few failures a second try, alone: what failed of a loaded machine passes now, and is named as unstable."""
    first = outcome.failed
    report = REPORTS / f"{stage.name}-again.xml"
    report.unlink(missing_ok=True)
    print(f"\n=== {stage.name}: {first} failed; each gets a second try, alone", flush=True)
    command = [*stage.command(python), "-n", "0", "--last-failed", "-v", f"--junit-xml={report}"]
    again = Outcome(stage.name)
    code = _call(command, stage.environment)
    _count(report, again)
    if code == 0 and again.passed == first:
        print(f"UNSTABLE: the {first} above passed at the second try; mend them", flush=True)
        outcome.passed, outcome.failed = outcome.passed + first, 0


def _call(command: list[str], environment: dict[str, str]) -> int:
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, env={**os.environ, **environment}, check=False
    ).returncode


def _count(report: Path, outcome: Outcome) -> None:
    try:
        suites = ET.parse(report).getroot().iter("testsuite")
    except (OSError, ET.ParseError):
        return
    for suite in suites:
        total, failed, errors, skipped = (
            int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")
        )
        outcome.failed += failed + errors
        outcome.skipped += skipped
        outcome.passed += total - failed - errors - skipped


def weights(python: Path) -> Outcome:
    """Fetch the models of the model tests, those that are not there."""
    outcome = Outcome("weights")
    print("\n=== weights: small local models, once", flush=True)
    for name in MODELS:
        code = _call([str(python.with_name("kastra")), "model", "pull", name], {})
        outcome.passed += int(code == 0)
        outcome.failed += int(code != 0)
    return outcome


def table(outcomes: list[Outcome]) -> str:
    """The stages with counts and times, one a line."""
    rows = [f"{'stage':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}"]
    rows += [f"{o.name:<12}{o.passed:>8}{o.failed:>8}{o.skipped:>9}{o.seconds:>9.1f}" for o in outcomes]
    return "\n".join(rows)


def timed(make: Callable[[], Outcome]) -> Outcome:
    started = time.monotonic()
    outcome = make()
    outcome.seconds = time.monotonic() - started
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description="Install what the tests need and run every check.")
    parser.add_argument("--fast", action="store_true", help="without local models and packaging")
    names = [stage.name for stage in STAGES]
    parser.add_argument("--stage", action="append", choices=names, help="only this stage; may be given again")
    parser.add_argument("--stop", action="store_true", help="end at the first stage that fails")
    options = parser.parse_args()
    wanted = [
        stage
        for stage in STAGES
        if (stage.name in options.stage if options.stage else stage.default and (stage.fast or not options.fast))
    ]
    os.environ.setdefault("PYTHONUTF8", "1")
    # The tests start more than a thousand processes: compiling everything in each is half of their work.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So it is in a job that a shell began in the background; tests interrupt processes, which would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    outcomes: list[Outcome] = []
    started = time.monotonic()
    print(f"=== environment: {VENV.relative_to(ROOT)}", flush=True)
    try:
        python = prepare()
    except Exception as error:  # whatever keeps the checks from starting is the result
        print(f"FAILED: {error}\n0 passed, 1 failed")
        return 1
    outcomes.append(Outcome("environment", seconds=time.monotonic() - started))
    if any(stage.environment for stage in wanted):
        outcomes.append(timed(lambda: weights(python)))
    for stage in wanted:
        outcomes.append(timed(lambda stage=stage: run(stage, python)))  # type: ignore[misc]
        if options.stop and outcomes[-1].failed:
            break
    passed, failed = sum(o.passed for o in outcomes), sum(o.failed for o in outcomes)
    print(f"\n{table(outcomes)}\n\n{time.monotonic() - started:.0f} s in all")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what an older Python is given, too
        sys.exit(f"FAILED: Kastra needs Python 3.11 or newer, this is {sys.version.split()[0]} ({sys.executable})")
    sys.exit(main())
