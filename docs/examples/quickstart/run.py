#!/usr/bin/env python3
"""From a clone to an agent's answer: install Kastra, fetch a small model, apply this example, ask it.

Needs Python 3.11 or newer and pip. No account, no key; everything stays in the clone but the model's weights,
which go to the user's cache directory. Running it again is safe and skips what is there.

    python3 docs/examples/quickstart/run.py
    python3 docs/examples/quickstart/run.py --ask "请根据食材土豆和牛肉查找菜谱。"
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

__all__ = ["ASK", "HERE", "MODEL", "ROOT", "kastra_steps", "main", "make_venv", "pip_install"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODEL = "qwen2.5-coder-0.5b"
ASK = "请根据食材鸡蛋和番茄查找菜谱。"


class Failure(Exception):
    """A step that did not work: what, and what to try."""


def make_venv(where: Path) -> Path:
    """Make a virtual environment with pip unless it is there; return its Python."""
    python = where / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    probe = [str(python), "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))"]
    if python.exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return python
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(where)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        # Some systems pack venv's own pip apart (python3-venv); the pip that is there can do without it.
        again = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(where)]
        subprocess.run(again, capture_output=True, check=False)
        outside = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "pip"]
        if subprocess.run(outside, capture_output=True, check=False).returncode:
            said = (made.stderr or made.stdout).strip()
            raise Failure(f"no virtual environment could be made in {where}.\n{said}")
    return python


def pip_install(python: Path, *arguments: str) -> None:
    """Run ``pip install``; on a terminal its newest line is shown, when it fails its last ones."""
    command = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    started = time.monotonic()
    last: deque[str] = deque(maxlen=25)
    terminal = sys.stdout.isatty()
    with subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.rstrip())
            if terminal:
                told = f"  {time.monotonic() - started:4.0f} s  {line.strip()}"
                print(f"\r{told[:78]:<78}", end="", flush=True)
    if terminal:
        print(f"\r{'':<78}\r", end="")
    if process.returncode:
        raise Failure("pip install failed. Its last words:\n  " + "\n  ".join(last))
    print(f"  installed in {time.monotonic() - started:.0f} s")


def kastra_steps(ask: str) -> list[tuple[str, list[str]]]:
    """What is done with the installed Kastra: (why, arguments of ``kastra``).

    This directory is the project: the database and the configuration go to ``.kastra`` in it.
    """
    steps = [
        ("Fetch a small model (491 MB, once)", ["model", "pull", MODEL]),
        ("Allow recipes.py to be a tool", ["config", "set", "tools.python.allow", "recipes"]),
        # The manifest names a model that needs a key.
        ("Let the small model answer in place of the one in the manifest", ["config", "set", "model", "local/auto"]),
        ("Apply the agent and its tool", ["apply", "-f", _short(HERE)]),
        ("Ask the agent", ["run", "agent/recipe-assistant", "-n", "cooking", ask]),
    ]
    return [(why, ["-C", _short(HERE), *arguments]) for why, arguments in steps]


def main() -> int:
    parser = argparse.ArgumentParser(description="Install Kastra from this clone and let an agent answer.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-quickstart", help="default: %(default)s")
    parser.add_argument("--ask", default=ASK, help="what to ask the agent; default: %(default)s")
    options = parser.parse_args()
    steps = kastra_steps(options.ask)
    total = len(steps) + 1
    try:
        print(f"[1/{total}] Install Kastra and its plugins with pip (about 700 MB on disk)", flush=True)
        _show("python3", "-m", "venv", str(options.venv))
        python = make_venv(options.venv)
        paths = [".", *sorted(f"./{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("plugins/*/"))]
        _show(str(python), "-m", "pip", "install", "-c", "constraints.txt", *paths)
        pip_install(python, "-c", "constraints.txt", *paths)
        kastra = python.with_name("kastra.exe" if os.name == "nt" else "kastra")
        for number, (why, arguments) in enumerate(steps, start=2):
            print(f"\n[{number}/{total}] {why}", flush=True)
            _show(str(kastra), *arguments)
            done = subprocess.run([str(kastra), *arguments], stdin=subprocess.DEVNULL, check=False)
            if done.returncode:
                raise Failure(f"`kastra {arguments[2]}` ended with exit code {done.returncode}; see above.")
    except Failure as failure:
        print(f"\nFAILED: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nFAILED: interrupted. Running it again goes on from here.", file=sys.stderr)
        return 130
    print(
        "\nOK: Kastra answered. The model is tiny and may be wrong; the tool call and the run are real.\n"
        f"Next:  {_short(kastra)} -C {_short(HERE)} get agents,tools,runs -A\n"
        f"       {_short(kastra)} -C {_short(HERE)} chat agent/recipe-assistant -n cooking\n"
        "Read:  docs/index.md"
    )
    return 0


def _short(path: Path) -> str:
    """A path as one would type it here."""
    try:
        short = os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)
    return short if len(short) < len(str(path)) else str(path)


def _show(*words: str) -> None:
    print("$", shlex.join(_short(Path(word)) if Path(word).is_absolute() else word for word in words), flush=True)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what an older Python is given, too
        sys.exit(f"FAILED: Kastra needs Python 3.11 or newer, this is {sys.version.split()[0]} ({sys.executable})")
    os.environ.setdefault("PYTHONUTF8", "1")
    sys.exit(main())
