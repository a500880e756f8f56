"""The program ``pip`` of stories: ``pip install [-e] DIRECTORY`` and ``pip uninstall NAME``, without a network.

What a project's ``pyproject.toml`` says is written as the metadata of a distribution, and its packages are linked, in
the directory ``$STORY_SITE``, which is on the PYTHONPATH of the story. Wheels are built and installed by real pip in
``tests/e2e/test_packaging.py`` and ``tests/template/``.
"""

import argparse
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="pip", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install")
    install.add_argument("-e", "--editable", action="append", default=[])
    install.add_argument("-q", "--quiet", action="store_true")
    install.add_argument("directories", nargs="*")
    uninstall = commands.add_parser("uninstall")
    uninstall.add_argument("-y", "--yes", action="store_true")
    uninstall.add_argument("-q", "--quiet", action="store_true")
    uninstall.add_argument("names", nargs="+")
    given = parser.parse_args()
    site = Path(os.environ["STORY_SITE"])
    if given.command == "uninstall":
        return max(_uninstall(name, site) for name in given.names)
    return max([_install(path, site) for path in [*given.editable, *given.directories]], default=0)


def _install(path: str, site: Path) -> int:
    root = Path(re.sub(r"\[[\w,-]*\]$", "", path))
    if not (root / "pyproject.toml").is_file():
        print(f"ERROR: {path} has no pyproject.toml; a story installs directories only", file=sys.stderr)
        return 1
    data = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    project = data["project"]
    name, version = project["name"], project.get("version", "0")
    _remove(name, site)
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Dist: {one}" for one in project.get("dependencies", ())]
    groups = {**project.get("entry-points", {}), "console_scripts": project.get("scripts", {})}
    points = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in groups.items()
        if entries
    ]
    info = site / f"{_spelt(name)}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("\n".join(metadata) + "\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("\n".join(points), encoding="utf-8")
    (info / "INSTALLER").write_text("pip\n", encoding="utf-8")
    linked = []
    for package in _packages(root, data):
        (site / package.name).unlink(missing_ok=True)
        (site / package.name).symlink_to(package.resolve())
        linked.append(package.name)
    if not linked:
        print(f"ERROR: no package in {path}", file=sys.stderr)
        return 1
    (info / "top_level.txt").write_text("\n".join(linked) + "\n", encoding="utf-8")
    print(f"Successfully installed {name}-{version}")
    return 0


def _packages(root: Path, data: dict[str, object]) -> list[Path]:
    """Packages and modules of a project: those below ``src``, else those beside the file."""
    base = root / "src" if (root / "src").is_dir() else root
    found = [path.parent for path in base.glob("*/__init__.py") if path.parent.name != "tests"]
    return sorted([*found, *base.glob("*.py")])


def _spelt(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _remove(name: str, site: Path) -> str:
    """Remove a distribution; returns its version, "" when there is none."""
    for info in site.glob(f"{_spelt(name)}-*.dist-info"):
        for linked in (info / "top_level.txt").read_text(encoding="utf-8").split():
            (site / linked).unlink(missing_ok=True)
        shutil.rmtree(info)
        return info.name.removesuffix(".dist-info").rpartition("-")[2]
    return ""


def _uninstall(name: str, site: Path) -> int:
    version = _remove(name, site)
    if not version:
        print(f"WARNING: Skipping {name} as it is not installed.", file=sys.stderr)
        return 0
    print(f"Successfully uninstalled {name}-{version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
