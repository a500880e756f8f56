"""Printing changes of resources as they come, whichever process made them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from kastra_core.api.meta import Resource
from kastra_core.api.selectors import FieldSelector, LabelSelector
from kastra_core.cli.common import emit
from kastra_core.cli.printing import as_data, columns_of, header_of, kind_name, render_data, row_of
from kastra_core.cli.tables import format_table, terminal_width, widths_of
from kastra_core.cli.targets import as_orphan, targets_of
from kastra_core.errors import ExpiredError, UserError

if TYPE_CHECKING:
    from kastra_core.runtime import RuntimeManager

__all__ = ["watch_resources"]


async def watch_resources(
    runtime: RuntimeManager,
    what: Sequence[str],
    *,
    namespace: str | None,
    selector: str | None = None,
    field_selector: str | None = None,
    output: str = "",
    show_labels: bool = False,
    headers: bool = True,
    managed_fields: bool = False,
    list_first: bool = True,
    accept: Callable[[Resource], bool] | None = None,
) -> None:
    """Print resources of one kind, then every change until interrupted.

    Args:
        what: as the arguments of ``kastra get``; one kind.
        namespace: None for all.
        accept: a further condition on what is not named.
    Raises: UserError for more than one kind.
    """
    targets = await targets_of(runtime, what)
    kinds = {target.kind.group_kind: target.kind for target in targets}
    if len(kinds) != 1:
        raise UserError("watch one kind at a time")
    [kind] = kinds.values()
    names = {target.name for target in targets if target.name is not None}
    labels = LabelSelector.parse(selector) if selector else None
    fields = FieldSelector.parse(field_selector) if field_selector else None
    columns = columns_of(kind, wide=output == "wide")
    as_table = output in ("", "wide")
    widths: list[int] = []
    known = runtime.registry.get(*kind.group_kind) is not None
    missing = None if known else (await runtime.missing_kinds()).get(kind.group_kind)
    if missing is not None:
        click.echo(f"warning: {missing}; {missing.remedy}", err=True)

    def wanted(resource: Resource) -> bool:
        return (
            (not names or resource.metadata.name in names)
            and (labels is None or labels.matches(resource.metadata.labels))
            and (fields is None or fields.matches(resource))
            and (accept is None or bool(names) or accept(resource))
        )

    def show(resources: Sequence[Resource], *, header: bool = False, gone: bool = False) -> None:
        nonlocal widths
        if not as_table:
            for resource in resources:
                if output == "name":
                    emit(kind_name(kind, resource.metadata.name))
                else:
                    data = as_data([resource], single=True, managed_fields=managed_fields)
                    emit(("---\n" if output == "yaml" else "") + render_data(data, output))
            return
        if missing is not None:
            resources = [as_orphan(resource, missing) for resource in resources]
        now_s = time.time()
        rows = [
            row_of(resource, columns, now_s, namespace=namespace is None, labels=show_labels) for resource in resources
        ]
        if header and headers:
            rows.insert(0, header_of(columns, namespace=namespace is None, labels=show_labels))
        if gone:
            rows = [[*row[:-1], f"{row[-1]} (deleted)"] for row in rows]
        if rows:
            limit = 0 if output == "wide" else terminal_width()
            text = format_table(rows, widths=widths, limit=limit, keep=2 if namespace is None else 1)
            sizes = widths_of(rows)
            widths = [max(size, least) for size, least in zip(sizes, [*widths, *[0] * len(sizes)])]
            emit(text)

    listed = await runtime.client.list(kind, namespace=namespace)
    since = listed.resource_version
    if list_first:
        show([resource for resource in listed.items if wanted(resource)], header=True)
    elif as_table:
        show([], header=True)
    while True:
        try:
            async for event in runtime.client.watch(kind, namespace=namespace, since=since):
                since = event.resource.metadata.resource_version or since
                if wanted(event.resource):
                    show([event.resource], gone=event.type == "DELETED")
            return
        except ExpiredError:
            # What happened meanwhile is gone: begin with the state of now.
            listed = await runtime.client.list(kind, namespace=namespace)
            since = listed.resource_version
            show([resource for resource in listed.items if wanted(resource)])
