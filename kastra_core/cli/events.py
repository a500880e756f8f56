"""``kastra events``: what happened to resources, the latest last."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from kastra_core.api.meta import Resource
from kastra_core.cli.common import (
    KubectlCommand,
    all_namespaces_option,
    current,
    emit,
    namespace_option,
    output_option,
)
from kastra_core.cli.printing import as_data, kind_name, render_data
from kastra_core.cli.tables import age, format_table
from kastra_core.cli.targets import namespace_of
from kastra_core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kastra_core.runtime import RuntimeManager

__all__ = ["command"]


@click.command(cls=KubectlCommand)
@namespace_option
@all_namespaces_option
@click.option("--for", "about", metavar="KIND/NAME", help="Only those about one resource.")
@click.option("--types", metavar="LIST", help="Only these types, for example Warning.")
@click.option("-w", "--watch", is_flag=True, help="Go on and print new ones, also those of other processes.")
@click.option("--no-headers", is_flag=True, help="No line with the names of the columns.")
@output_option("yaml", "json", "name", jsonpath=True)
def command(
    namespace: str | None,
    all_namespaces: bool,
    about: str | None,
    types: str | None,
    watch: bool,
    no_headers: bool,
    output: str,
) -> None:
    """List events, the latest last."""
    state = current()
    allowed = {word.strip().lower() for word in types.split(",")} if types else None

    def accept(runtime: RuntimeManager) -> Callable[[Resource], bool]:
        key = None
        if about is not None:
            if "/" not in about:
                raise UserError(f"--for {about!r}: write KIND/NAME")
            key = runtime.reference(about, namespace=namespace).key

        def wanted(event: Resource) -> bool:
            involved = event.spec.get("involvedObject") or {}
            return (allowed is None or str(event.spec.get("type")).lower() in allowed) and (
                key is None
                or (involved.get("group"), involved.get("kind"), involved.get("name"))
                == (key.group, key.kind, key.name)
            )

        return wanted

    if watch:
        from kastra_core.cli.watching import watch_resources

        state.run(
            lambda runtime: watch_resources(
                runtime,
                ["events"],
                namespace=namespace_of(runtime, namespace, all_namespaces),
                output=output,
                headers=not no_headers,
                accept=accept(runtime),
            )
        )
        return

    async def read(runtime: RuntimeManager) -> list[Resource]:
        kind = runtime.registry.resolve("events")
        listed = await runtime.client.list(kind, namespace=namespace_of(runtime, namespace, all_namespaces))
        wanted = accept(runtime)
        return sorted(filter(wanted, listed.items), key=lambda event: str(event.spec.get("lastTimestamp")))

    events = state.read(read)
    if output == "name":
        from kastra_core.builtin import EVENT

        emit("".join(f"{kind_name(EVENT, event.metadata.name)}\n" for event in events))
    elif output:
        emit(render_data(as_data(events, single=False), output))
    elif not events:
        click.echo("No events found", err=True)
    else:
        emit(_table(events, all_namespaces, headers=not no_headers))


def _table(events: list[Resource], namespaces: bool, *, headers: bool) -> str:
    now_s = time.time()
    rows = [["NAMESPACE", "LAST", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"]] if headers else []
    for event in events:
        spec = event.spec
        texts = [str(spec.get(name) or "") for name in ("type", "reason", "object", "count", "message")]
        rows.append([event.metadata.namespace, age(spec.get("lastTimestamp"), now_s), *texts])
    return format_table(rows if namespaces else [row[1:] for row in rows])
