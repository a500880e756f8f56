"""A migration as a project: a file per resource, stubs of functions, settings, and the report."""

from __future__ import annotations

import ast
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.errors import Problem, ValidationError
from kastra_core.manifests import dump
from kastra_core.migration.engine import Migration
from kastra_core.migration.secret_texts import one_line
from kastra_core.protocols.migrator import MigrationRow

__all__ = ["CONFIG", "REPORT", "beside", "markdown", "modules", "plan", "report_json", "variables", "write"]

CONFIG = ".kastra/config.yaml"
REPORT = "MIGRATION.md"
_FUNCTION = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_][\w.]*")
_TITLES = {
    "manual": "To do by hand",
    "dropped": "Dropped",
    "defaulted": "Chosen, as the source does not say it",
    "mapped": "Mapped",
}


def plan(migration: Migration) -> dict[str, str]:
    """Return what to write: relative path -> text. The directory is then a project of its own: ``kastra apply -f .``"""
    out: dict[str, str] = {}
    for manifest, path in zip(migration.resources, paths(migration.resources), strict=True):
        out[path] = f"{_head(manifest, migration.rows)}{dump([manifest])}"
    out |= {path: text for path, text in migration.files.items() if path not in out}
    if migration.config:
        out[CONFIG] = dump([migration.config])
    if out:
        out[REPORT] = markdown(migration)
    return out


def paths(resources: Sequence[JsonObject]) -> list[str]:
    """A path for each resource: "agent-greeter.yaml"; those of a second namespace begin with it."""
    out: list[str] = []
    for manifest in resources:
        metadata = manifest["metadata"]
        plain = f"{manifest['kind'].lower()}-{metadata['name']}.yaml"
        path = plain
        if path in out and metadata.get("namespace"):
            path = f"{metadata['namespace']}.{plain}"
        if path in out:
            path = f"{manifest['apiVersion'].replace('/', '.')}.{plain}"
        out.append(path)
    return out


def _head(manifest: JsonObject, rows: Sequence[MigrationRow]) -> str:
    """Comments: where it is from, what is to be done."""
    metadata = manifest["metadata"]
    label = f"{manifest['kind']} {metadata.get('namespace') or 'default'}/{metadata['name']}"
    own = [row for row in rows if row.target == label or row.target.startswith(f"{label} ")]
    files = list(dict.fromkeys(row.file for row in own if row.file))
    lines = [f"# Migrated from {', '.join(files)}."] if files else []
    for row in own:
        if row.outcome == "manual":
            field = row.target.removeprefix(label).strip()
            place = f"{row.file}:{row.line}" if row.line else row.file
            line = f"# To do{f' ({field})' if field else ''}: {row.reason} [{place}]"
            if line not in lines:
                lines.append(line)
    return "".join(f"{one_line(line)}\n" for line in lines)


def variables(resources: Sequence[JsonObject], config: Mapping[str, Any]) -> list[str]:
    """Names of the environment variables that resources and settings refer to as secrets, sorted."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, Mapping):
            inner = value.get("valueFrom")
            if isinstance(inner, Mapping) and isinstance(inner.get("env"), str):
                found.add(inner["env"])
            for item in value.values():
                look(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                look(item)

    look([*resources, config])
    return sorted(found)


def modules(resources: Sequence[JsonObject]) -> list[str]:
    """Python modules that resources name as ``function: module:function``, sorted."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, Mapping):
            named = value.get("function")
            if isinstance(named, str) and (told := _FUNCTION.fullmatch(named)):
                found.add(told[1])
            for item in value.values():
                look(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                look(item)

    look(list(resources))
    return sorted(found)


def report_json(migration: Migration, written: Sequence[str] = ()) -> JsonObject:
    """The whole report for programs."""
    report = {
        "files": [
            {"file": one.file, "migrator": one.migrator, "confidence": one.confidence, "documents": one.documents}
            for one in migration.detected
        ],
        "resources": [
            {
                "apiVersion": manifest["apiVersion"],
                "kind": manifest["kind"],
                "namespace": manifest["metadata"].get("namespace", ""),
                "name": manifest["metadata"]["name"],
                "path": path,
            }
            for manifest, path in zip(migration.resources, paths(migration.resources), strict=True)
        ],
        "summary": {outcome: migration.count(outcome) for outcome in ("mapped", "defaulted", "dropped", "manual")},
        "rows": [
            {
                "file": row.file,
                "document": row.document,
                "line": row.line,
                "key": row.key,
                "outcome": row.outcome,
                "reason": row.reason,
                "target": row.target,
            }
            for row in migration.rows
        ],
        "names": dict(migration.names),
        "variables": variables(migration.resources, migration.config),
        "refused": [
            {"file": one.file, "line": one.line, "key": one.path, "message": one.message, "hint": one.hint}
            for one in migration.refused
        ],
        "ignored": list(migration.ignored),
        "notes": list(migration.notes),
        "written": list(written),
    }
    return _encodable(report)  # type: ignore[no-any-return]


def _encodable(value: Any) -> Any:
    """A copy in which names of files that are no UTF-8 are written with escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value


def markdown(migration: Migration) -> str:
    """The whole report for people, as Markdown."""
    detected = [[one.file, one.migrator, str(one.documents)] for one in migration.detected]
    out = ["# Migration\n", _table(["file", "format", "documents"], detected)]
    if migration.refused:
        out += ["## Refused\n", *(f"- {_plain(str(problem))}" for problem in migration.refused), ""]
    if migration.resources:
        rows = [
            [manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"], path]
            for manifest, path in zip(migration.resources, paths(migration.resources), strict=True)
        ]
        out += ["## Resources\n", _table(["kind", "namespace", "name", "file"], rows)]
    if names := variables(migration.resources, migration.config):
        out += ["## Environment variables to set\n", *(f"- `{name}`" for name in names), ""]
    if migration.names:
        out += ["## Names that changed\n", _table(["was", "is"], [[k, v] for k, v in migration.names.items()])]
    for outcome, title in _TITLES.items():
        rows = [
            [f"{row.file}:{row.line}" if row.line else row.file, row.key, row.target, row.reason]
            for row in migration.rows
            if row.outcome == outcome
        ]
        if rows:
            out += [f"## {title}\n", _table(["place", "key", "target", "why"], rows)]
    if migration.ignored:
        out += ["## Files of no known format\n", *(f"- {file}" for file in migration.ignored), ""]
    if migration.notes:
        out += ["## Notes\n", *(f"- {_plain(note)}" for note in migration.notes), ""]
    return "\n".join(out).rstrip("\n") + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows]
    return "\n".join([*lines, ""])


def _plain(text: str) -> str:
    return one_line(text).replace("|", "\\|")


def beside(files: Mapping[str, str], directory: str) -> dict[str, str]:
    """Return the files as they go into a directory that holds an earlier migration.

    The report gets a number of its own. A module of stubs keeps what is there, bodies that somebody wrote above all,
    and gets the functions that are not there yet.
    """
    base, out = Path(directory), {}
    for path, text in files.items():
        held = _held(base / path)
        if held is None or held == text:
            out[path] = text
        elif path == REPORT:
            stem, number = Path(REPORT).stem, 2
            while _held(base / f"{stem}-{number}.md") not in (None, text):
                number += 1
            out[f"{stem}-{number}.md"] = text
        else:
            out[path] = _with_functions(held, text) if path.endswith(".py") else text
    return out


def _held(target: Path) -> str | None:
    """What a file holds, None when it is not there; "" when it is something else."""
    try:
        return target.read_text(encoding="utf-8") if target.exists() else None
    except (OSError, UnicodeDecodeError):
        return ""


def _with_functions(held: str, text: str) -> str:
    """A module with the functions of another that it does not have."""
    try:
        known = {one.name for one in ast.parse(held).body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
        wanted = [one for one in ast.parse(text).body if isinstance(one, ast.FunctionDef) and one.name not in known]
    except (SyntaxError, ValueError):
        return text
    parts = [ast.get_source_segment(text, one) or "" for one in wanted]
    need = "" if "Any" in held or not parts else "\nfrom typing import Any\n"
    return "\n\n\n".join([f"{held.rstrip()}{need}".rstrip(), *parts]) + "\n"


def write(files: Mapping[str, str], directory: str, *, force: bool = False) -> list[str]:
    """Write files below a directory, each whole or not at all. Return the paths that changed.

    A module may be replaced by one that begins with what it holds now (:func:`beside`).

    Raises:
        ValidationError: a file is there with another content and ``force`` is False, or cannot be written; nothing has
            been written when it is the former.
    """
    base = Path(directory)
    problems, changed = [], []
    for path, text in files.items():
        target = base / path
        if Path(path).is_absolute() or ".." in Path(path).parts:
            problems.append(Problem("the path leads out of the directory", file=path))
            continue
        if trouble := _in_the_way(base, path):
            problems += [trouble] if trouble not in problems else []
            continue
        try:
            held = target.read_bytes() if target.exists() else None
        except OSError:
            held = b""
        if held == _encoded(text):
            continue
        changed.append(path)
        goes_on = path.endswith(".py") and held is not None and _encoded(text).startswith(held.rstrip())
        if held is not None and not force and not goes_on:
            hint = "another directory (-o DIR), or --force to replace it"
            problems.append(Problem("the file is there and says something else", file=str(target), hint=hint))
    if problems:
        raise ValidationError(problems)
    for path in changed:
        target = base / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _replace(target, files[path])
        except OSError as error:
            told = f"the file cannot be written: {error.strerror or error}"
            raise ValidationError([Problem(told, file=str(target))]) from error
    return changed


def _in_the_way(base: Path, path: str) -> Problem | None:
    """What makes writing impossible, so that nothing is written rather than a half."""
    hint = "another directory (-o DIR)"
    target = base / path
    if target.is_dir():
        return Problem("there is a directory of that name", file=str(target), hint=hint)
    above = next((one for one in target.parents if os.path.lexists(one)), Path())
    if not above.is_dir():
        return Problem("this is no directory", file=str(above), hint=hint)
    if not os.access(above, os.W_OK | os.X_OK):
        return Problem("nothing may be written here", file=str(above), hint=hint)
    if target.exists() and not target.is_file():
        return Problem("this is no file (a device, a pipe or a socket)", file=str(target), hint=hint)
    return None


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _replace(target: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_encoded(text))
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
