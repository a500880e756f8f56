"""Write the pages of docs/reference from the code, and look after docs/api.txt and docs/changes.

    python docs/generate.py                    the pages of docs/reference
    python docs/generate.py --changes          what changed of the public API, and what no fragment tells
    python docs/generate.py --api              record the public API in docs/api.txt: a step of a release
    python docs/generate.py --release VERSION  fold the fragments into the changelog, then --api

Tests compare the pages with what this would write, and the public API with what is recorded and told.
"""

# ruff: noqa: E402 - its own directory must be on the path first

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:  # it is loaded by path in tests
    sys.path.insert(0, str(HERE))

from _generate.changes import changes, read_fragments, untold
from _generate.page_commands import commands_page
from _generate.page_errors import errors_page
from _generate.page_hooks import hooks_page
from _generate.page_kinds import kinds_pages
from _generate.page_python import python_pages
from _generate.page_settings import settings_page
from _generate.release import Places, read_api, record, release
from _generate.surface import api_entries

import kastra_core

__all__ = ["main", "pages", "superfluous"]

REFERENCE = HERE / "reference"
PLACES = Places(root=HERE.parent)


def pages() -> dict[Path, str]:
    """Path -> text of every generated page."""
    made = {
        "cli.md": commands_page(),
        "configuration.md": settings_page(),
        "errors.md": errors_page(),
        "hooks.md": hooks_page(),
        **kinds_pages(),
        **python_pages(),
    }
    return {REFERENCE / name: text.rstrip() + "\n" for name, text in made.items()}


def superfluous(made: Iterable[Path]) -> list[Path]:
    """Pages that stand in docs/reference and are none of these: what they were made from is gone."""
    return sorted({*REFERENCE.glob("**/*.md")} - {*made})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--changes", action="store_true", help="what changed of the public API since the last release")
    choice.add_argument("--api", action="store_true", help="record the public API in docs/api.txt")
    choice.add_argument("--release", metavar="VERSION", help="fold docs/changes into CHANGELOG.md and record the API")
    options = parser.parse_args(arguments)
    if options.changes:
        return _show_changes()
    if options.api:
        record(PLACES, api_entries(), kastra_core.__version__)
        print(PLACES.api)
        return 0
    if options.release:
        today = datetime.now(UTC).date()
        wrong = release(PLACES, api_entries(), options.release, current=kastra_core.__version__, today=today)
        print("\n".join(wrong) or f"{PLACES.changelog}\n{PLACES.api}")
        return 1 if wrong else 0
    made = pages()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)
    for path in superfluous(made):
        path.unlink()
        print(f"{path} (removed)")
    return 0


def _show_changes() -> int:
    old, new, fragments = read_api(PLACES.api), api_entries(), read_fragments(PLACES.fragments)
    for change in changes(old, new):
        print(f"[{change.types[0]}] {change}")
    wrong = untold(old, new, fragments)
    print(f"\n{len(wrong)} not told" + "".join(f"\n- {one}" for one in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
