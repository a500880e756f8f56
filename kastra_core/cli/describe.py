"""``kastra describe``: all there is to know about a resource, for people."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import Resource, condition_of
from kastra_core.cli.common import (
    KubectlCommand,
    all_namespaces_option,
    current,
    emit,
    namespace_option,
    selector_options,
    style,
)
from kastra_core.cli.completion import complete_resources
from kastra_core.cli.printing import NONE
from kastra_core.cli.run_view import describe_run
from kastra_core.cli.tables import age, format_table, terminal_width
from kastra_core.cli.targets import namespace_of, select, targets_of
from kastra_core.errors import KastraError, NotFoundError

if TYPE_CHECKING:
    from kastra_core.origins import MissingKind
    from kastra_core.runtime import RuntimeManager

__all__ = ["command"]


class _Described(NamedTuple):
    kind: ResourceKind
    missing: MissingKind | None
    resource: Resource
    references: list[tuple[str, str, str]]
    """(field path, reference, state) each."""
    events: Sequence[Resource]
    owned: list[str]
    steps: str = ""
    """The finished section of a Run's steps."""


@click.command(cls=KubectlCommand)
@click.argument("what", nargs=-1, metavar="KINDS [NAME]... | KIND/NAME...", shell_complete=complete_resources)
@namespace_option
@all_namespaces_option
@selector_options
def command(
    what: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    selector: str | None,
    field_selector: str | None,
) -> None:
    """Show everything about resources, with conditions, what they refer to, and events."""
    state = current()

    async def read(runtime: RuntimeManager) -> tuple[list[_Described], list[NotFoundError]]:
        found, missing = await select(
            runtime,
            await targets_of(runtime, what),
            namespace=namespace_of(runtime, namespace, all_namespaces),
            selector=selector,
            field_selector=field_selector,
        )
        described = [
            await _look(runtime, selection.kind, resource, selection.missing)
            for selection in found
            for resource in selection.resources
        ]
        return described, missing

    described, missing = state.read(read)
    emit("\n\n".join(_page(item, time.time()) for item in described))
    for error in missing[:-1]:
        click.echo(f"error: {error}", err=True)
    if missing:
        raise missing[-1]
    if not described:
        click.echo("No resources found", err=True)


async def _look(
    runtime: RuntimeManager, kind: ResourceKind, resource: Resource, missing: MissingKind | None
) -> _Described:
    event_kind = runtime.registry.resolve("events")
    namespace = resource.metadata.namespace or "default"
    events = (await runtime.client.list(event_kind, namespace=namespace)).items
    owned = (await runtime.store.resources.list("", "", owner_uid=resource.metadata.uid)).items
    return _Described(
        kind,
        missing,
        resource,
        await _references(runtime, resource),
        [event for event in events if is_about(event, resource)],
        [str(item.key) for item in owned],
        await describe_run(runtime, resource) if kind.kind == "Run" else "",
    )


def is_about(event: Resource, resource: Resource) -> bool:
    """Whether an Event is about a resource."""
    involved = event.spec.get("involvedObject") or {}
    if involved.get("uid"):
        return bool(involved["uid"] == resource.metadata.uid)
    return (involved.get("kind"), involved.get("name")) == (resource.kind, resource.metadata.name)


async def _references(runtime: RuntimeManager, resource: Resource) -> list[tuple[str, str, str]]:
    try:
        references = runtime.registry.references_of(resource)
    except KastraError as error:
        return [("", "", str(error))]
    out = []
    for reference in references:
        found = await runtime.client.get(reference.key)
        if found is None:
            known = runtime.registry.get(reference.group, reference.kind) is not None
            state = "missing" if known else "missing (no plugin offers the kind)"
        else:
            state = _state(found)
        out.append((reference.path or NONE, str(reference), state))
    return out


def _state(resource: Resource) -> str:
    ready = condition_of(resource, "Ready")
    if ready is None:
        return "there"
    return "Ready" if ready.get("status") == "True" else f"not ready: {ready.get('reason')}"


def _page(item: _Described, now_s: float) -> str:
    resource, meta = item.resource, item.resource.metadata
    where = f" -n {meta.namespace}" if meta.namespace else ""
    owners = ", ".join(f"{owner.kind}/{owner.name}" for owner in meta.owner_references)
    head = [
        ("Name", meta.name),
        ("Namespace", meta.namespace or NONE),
        ("Kind", f"{resource.kind} ({resource.api_version})"),
        ("Labels", _pairs(meta.labels)),
        ("Annotations", _pairs(meta.annotations)),
        ("Created", f"{meta.creation_timestamp} ({age(meta.creation_timestamp, now_s)} ago)"),
        ("Generation", str(meta.generation)),
        ("UID", meta.uid),
    ]
    if meta.deletion_timestamp:
        head.append(("Deletion", f"asked for {age(meta.deletion_timestamp, now_s)} ago"))
    if meta.finalizers:
        head.append(("Finalizers", ", ".join(meta.finalizers)))
    if owners:
        head.append(("Owned by", owners))
    if item.owned:
        head.append(("Owns", ", ".join(item.owned)))
    if item.missing is not None:
        head.append(("Orphaned", f"{item.missing}; {item.missing.remedy}"))
    out = ["".join(f"{name + ':':<13}{value}\n" for name, value in head)]
    shown = _Excerpt(f"kastra get {resource.kind.lower()}/{meta.name}{where} -o yaml")
    out.append(_yaml("Spec", shown.of_section(resource.spec)))
    out.extend(_yaml(key, shown.of(value)) for key, value in resource.extra.items())
    status = {key: value for key, value in resource.status.items() if key != "conditions"}
    if status:
        out.append(_yaml("Status", shown.of_section(status)))
    out.append(shown.note)
    conditions = [c for c in resource.status.get("conditions") or () if isinstance(c, Mapping)]
    if conditions:
        rows = [["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]]
        rows.extend(
            [
                str(condition.get("type")),
                str(condition.get("status")),
                str(condition.get("reason") or NONE),
                age(condition.get("lastTransitionTime"), now_s),
                str(condition.get("message") or ""),
            ]
            for condition in conditions
        )
        out.append(_section("Conditions", rows))
    if item.references:
        rows = [["FIELD", "REFERENCE", "STATE"], *(list(row) for row in item.references)]
        out.append(_section("References", rows))
    if item.steps:
        out.append(item.steps)
    events = sorted(item.events, key=lambda event: str(event.spec.get("lastTimestamp")))
    if events:
        rows = [["TYPE", "REASON", "COUNT", "LAST", "MESSAGE"]]
        for event in events:
            spec = event.spec
            last = age(spec.get("lastTimestamp"), now_s)
            rows.append([str(spec.get(n) or "") for n in ("type", "reason", "count")] + [last, str(spec["message"])])
        out.append(_section("Events", rows))
    else:
        out.append(f"Events:      {NONE}\n")
    return "".join(out)


_LONGEST_TEXT = 2000
"""Characters of one text that are shown."""
_MOST_ITEMS = 200
"""Entries of one list or object that are shown."""
_MOST = 50_000
"""Characters of one field of spec or status that are shown."""


class _Excerpt:
    """JSON values without what is too long to be read.

    Args:
        all_of_it: the command that shows everything.
    """

    def __init__(self, all_of_it: str) -> None:
        self._all_of_it, self._left, self._is_cut = all_of_it, _MOST, False

    @property
    def note(self) -> str:
        """The line that says that something was left out, "" when nothing was."""
        return f"Note:        long values are cut; `{self._all_of_it}` shows all\n" if self._is_cut else ""

    def of_section(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Spec or status: what one field is too long by is not taken from another."""
        out: dict[str, Any] = {}
        for key, value in fields.items():
            self._left = _MOST
            out[key] = self.of(value)
        return out

    def of(self, value: Any) -> Any:
        """The value; a text, list or object that is too long only with its beginning and how much it has more."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return self._object(value)
        if not isinstance(value, list):
            self._left -= 1
            return value
        out: list[Any] = []
        for item in value[:_MOST_ITEMS]:
            if self._left <= 0:
                break
            out.append(self.of(item))
        if len(out) < len(value):
            self._is_cut = True
            out.append(f"… and {len(value) - len(out):,} more")
        return out

    def _text(self, text: str) -> str:
        most = max(min(_LONGEST_TEXT, self._left), 0)
        self._left -= min(len(text), most)
        if len(text) <= most:
            return text
        self._is_cut = True
        return f"{text[:most]}… and {len(text) - most:,} more characters"

    def _object(self, value: Mapping[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, item in value.items():
            if len(out) == _MOST_ITEMS or self._left <= 0:
                self._is_cut = True
                out["…"] = f"and {len(value) - len(out):,} more"
                break
            self._left -= len(key)
            out[key] = self.of(item)
        return out


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(values.items())) or NONE


def _yaml(title: str, value: Any) -> str:
    if not value:
        return f"{title + ':':<13}{NONE}\n"
    from kastra_core.manifests import dump

    text = dump([value]) if isinstance(value, Mapping) else dump([{title: value}])
    return f"{style(title, bold=True)}:\n" + "".join(f"  {line}" for line in text.splitlines(keepends=True))


def _section(title: str, rows: list[list[str]]) -> str:
    limit = terminal_width()
    # A message is what one reads this page for: only the terminal's own wrapping touches it.
    last = [row[-1] for row in rows]
    text = format_table([[*row[:-1], cell] for row, cell in zip(rows, last)], limit=0 if len(rows[0]) > 3 else limit)
    return f"{style(title, bold=True)}:\n" + "".join(f"  {line}" for line in text.splitlines(keepends=True))
