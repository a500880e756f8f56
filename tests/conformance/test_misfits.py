"""What breaks a promise is found by the test of that promise, and by no other where that can be so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import misfit_commands
import misfit_exporters
import misfit_operations
import misfit_runners

HERE = Path(__file__).parent
MODULES = (misfit_commands, misfit_exporters, misfit_operations, misfit_runners)
_LINE = re.compile(r"^(?:FAILED|ERROR) \S*misfit_\w+\.py::(\w+)::(\w+)", re.MULTILINE)


def all_misfits() -> Mapping[str, Any]:
    """The classes of the modules, by name."""
    found = {name: cls for module in MODULES for name, cls in vars(module).items() if name.startswith("Test")}
    return {name: cls for name, cls in found.items() if hasattr(cls, "breaks")}


def failures(place: Path) -> Mapping[str, set[str]]:
    """The tests that fail, by class: all of them run in one process."""
    options = ["-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", "--import-mode=importlib"]
    options += ["--noconftest", "-c", os.devnull, "--rootdir", str(HERE), "-o", "asyncio_mode=auto"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *options,
            "--basetemp",
            str(place),
            *(str(module.__file__) for module in MODULES),
        ],
        env={**os.environ, "PYTHONPATH": str(HERE), "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, set[str]] = {}
    for suite, test in _LINE.findall(done.stdout):
        found.setdefault(suite, set()).add(test)
    return found


def test_each_broken_promise_is_found_by_its_test_and_by_no_other(tmp_path: Path) -> None:
    found = failures(tmp_path / "tmp")
    missed = {name: misfit.breaks - found.get(name, set()) for name, misfit in all_misfits().items()}
    assert {name: tests for name, tests in missed.items() if tests} == {}
    # Of some faults others follow.
    others = {name: found[name] - misfit.breaks for name, misfit in all_misfits().items() if misfit.exactly}
    assert {name: tests for name, tests in others.items() if tests} == {}


def test_every_promise_of_these_suites_is_broken_by_something() -> None:
    misfits = list(all_misfits().values())
    broken = {test for misfit in misfits for test in misfit.breaks}
    promises = {name for misfit in misfits for name in dir(misfit) if name.startswith("test_")}
    # A name that is spelt so is the first of two things which that test looks at.
    assert promises - broken == {"test_it_is_an_exporter"}
