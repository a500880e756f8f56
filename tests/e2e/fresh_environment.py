"""Distributions as they are published, and an environment in which only pip has been."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from contextlib import chdir
from email.message import Message
from pathlib import Path
from typing import Any

import attrs
from hatchling.build import build_sdist, build_wheel

__all__ = ["Built", "Installed", "build", "wheel_of"]


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


def wheel_of(project: Path, out: Path) -> Path:
    """Build the wheel of a project into ``out``, as pip has it built."""
    with chdir(project):
        return out / build_wheel(str(out))


def build(project: Path, out: Path) -> Built:
    """Build a project's sdist into ``out``, and the wheel of what the sdist holds."""
    with chdir(project):
        sdist = out / build_sdist(str(out))
    with tarfile.open(sdist) as archive:
        archive.extractall(out, filter="data")
    return Built(wheel_of(out / sdist.name.removesuffix(".tar.gz"), out), sdist)


@attrs.frozen
class Installed:
    """An environment, and an empty directory to work in."""

    python: Path
    directory: Path

    @classmethod
    def fresh(cls, directory: Path) -> Installed:
        """Make an environment below ``directory``."""
        venv, work = directory / "venv", directory / "work"
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, capture_output=True)
        work.mkdir()
        return cls(venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python"), work)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of somebody who has activated it."""
        ours = ("PYTHONPATH", "VIRTUAL_ENV", "KASTRA_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**kept, "PATH": f"{self.python.parent}{os.pathsep}{kept['PATH']}", "PYTHONUTF8": "1"}

    def begin(self, *command: str, output: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Begin a command of the environment; what it prints goes to the file ``output``."""
        words = [str(self.python.with_name(command[0])), *command[1:]]
        with output.open("wb") as stream:
            return subprocess.Popen(
                words,
                cwd=self.directory,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command of the environment; return its stdout, or its stderr when it is to fail."""
        words = [str(self.python.with_name(command[0])), *command[1:]]
        return self._done(subprocess.run(words, **self._options), code)

    def type(self, line: str, **environment: str) -> str:
        """Run a line as somebody types it; return its stdout."""
        options = {**self._options, "env": {**self.environment, **environment}}
        return self._done(subprocess.run(line, shell=True, **options), 0)

    def pip(self, *arguments: str) -> str:
        """Run pip."""
        command, *rest = arguments
        # Most of what is installed is not imported here: compiling it would take half of the time.
        options = (
            "-q",
            "--no-input",
            "--disable-pip-version-check",
            *(("--no-compile",) if command == "install" else ()),
        )
        return self.run("python", "-m", "pip", command, *options, *rest)

    def install(self, wheels: Iterable[Path]) -> None:
        """Install wheels; all that they need is there."""
        self.pip("install", "--no-index", "--no-deps", *map(str, wheels))

    @property
    def _options(self) -> dict[str, Any]:
        return {"cwd": self.directory, "env": self.environment, "capture_output": True, "encoding": "utf-8"}

    @staticmethod
    def _done(done: subprocess.CompletedProcess[str], code: int) -> str:
        assert done.returncode == code, f"{done.args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stderr if code else done.stdout
