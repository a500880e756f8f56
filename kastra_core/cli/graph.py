"""``kastra graph``: a resource as a drawing, of any kind that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kastra_core.api.graph import Graph
from kastra_core.api.kind import ResourceKind
from kastra_core.api.lazy import load
from kastra_core.api.meta import Resource
from kastra_core.cli.common import KubectlCommand, current, emit, namespace_option, output_option, style
from kastra_core.cli.tables import terminal_width
from kastra_core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kastra_core.api.registry import KindRegistry
    from kastra_core.runtime import RuntimeManager

__all__ = ["FORMATS", "command", "draw"]

FORMATS = ("text", "mermaid", "svg", "json")

_EXAMPLES = """\b
Examples:
  kastra graph workflow/support
  kastra graph -f support.yaml
  kastra graph workflow/support -o svg > support.svg
  kastra graph workflow/support -o mermaid"""
_STYLES: dict[str, dict[str, bool]] = {"title": {"bold": True}, "label": {"bold": True}, "kind": {"dim": True}}


@click.command(cls=KubectlCommand, epilog=_EXAMPLES)
@click.argument("target", metavar="[KIND/NAME]", required=False)
@click.option("-f", "--filename", metavar="PATH", help="Draw a manifest of this file (- for stdin), applied or not.")
@namespace_option
@output_option(*FORMATS)
def command(target: str | None, filename: str | None, namespace: str | None, output: str) -> None:
    """Draw a resource: the steps of a workflow and the ways between them.

    As text for the terminal, as a Mermaid flowchart, as an SVG picture, or as JSON.
    """
    if target is None and filename is None:
        raise UserError("name what to draw, for example workflow/support, or a file with -f")
    state = current()
    if filename is None:
        kind, resource = state.read(lambda runtime: _stored(runtime, str(target), namespace))
    else:
        from kastra_core import manifests
        from kastra_core.cli.offline import decode_offline

        documents = manifests.read_sources([filename])
        decoded = decode_offline(state, documents, namespace)
        registry = state.registry(documents)
        # What a manifest holds can be drawn too, when it is named.
        whole = [one.resource for item in decoded for one, _ in item.all() if target is not None or one is item]
        kind, resource = _chosen(whole, registry, target, namespace, filename)
    emit(draw(_graph(kind, resource), output or "text"))


def draw(graph: Graph, output: str) -> str:
    """The drawing in one of ``FORMATS``; text is made for the terminal that stdout is."""
    if output == "json":
        import attrs
        import orjson

        return orjson.dumps(attrs.asdict(graph), option=orjson.OPT_INDENT_2).decode()
    if output == "mermaid":
        from kastra_core.cli.graph_mermaid import draw_mermaid

        return draw_mermaid(graph)
    if output == "svg":
        from kastra_core.cli.graph_svg import draw_svg

        return draw_svg(graph)
    import sys

    from kastra_core.cli.graph_text import draw_text, marks_for

    return draw_text(graph, width=terminal_width(), marks=marks_for(sys.stdout.encoding), paint=_paint)


def _paint(text: str, role: str) -> str:
    options = _STYLES.get(role)
    return style(text, **options) if options and text else text


def _graph(kind: ResourceKind, resource: Resource) -> Graph:
    graph: Graph = load(kind.graph)(resource)
    return graph


async def _stored(runtime: RuntimeManager, text: str, namespace: str | None) -> tuple[ResourceKind, Resource]:
    from kastra_core.cli.targets import select, targets_of

    targets = await targets_of(runtime, [text])
    if targets[0].name is None:
        raise UserError(f"{text!r} does not name one resource; write KIND/NAME, for example workflow/support")
    kind = _drawable(targets[0].kind, runtime.registry)
    found, missing = await select(runtime, targets[:1], namespace=namespace or runtime.config.namespace)
    if missing:
        raise missing[0]
    return kind, found[0].resources[0]


def _drawable(kind: ResourceKind, registry: KindRegistry) -> ResourceKind:
    if kind.graph is None:
        able = ", ".join(one.plural for one in registry if one.graph is not None) or "none"
        raise UserError(f"a resource of kind {kind.kind} cannot be drawn; kinds that can: {able}")
    return kind


def _chosen(
    resources: Sequence[Resource], registry: KindRegistry, target: str | None, namespace: str | None, filename: str
) -> tuple[ResourceKind, Resource]:
    """The resource of a file that is meant: the one that is named, or the only one that can be drawn."""
    kinds = [registry.of_key(resource.key) for resource in resources]
    able = [(kind, one) for kind, one in zip(kinds, resources) if kind.graph is not None]
    if target is not None:
        word, slash, name = target.partition("/")
        wanted = _drawable(registry.resolve(word), registry)
        if not slash:
            raise UserError(f"{target!r} does not name one resource; write {word}/NAME")
        where, slash, last = name.rpartition("/")
        able = [
            (kind, one)
            for kind, one in able
            if kind.group_kind == wanted.group_kind
            and one.metadata.name == last
            and (not slash or one.metadata.namespace == where)
        ]
        if not able:
            raise UserError(f"{filename} has no {target}; it has {_names(registry, resources)}")
    if not able:
        raise UserError(f"{filename} has nothing that can be drawn; it has {_names(registry, resources)}")
    if len(able) > 1:
        names = _names(registry, [one for _, one in able])
        raise UserError(f"{filename} has {len(able)} resources that can be drawn; name one of {names}")
    return able[0]


def _names(registry: KindRegistry, resources: Sequence[Resource]) -> str:
    names = [f"{registry.of_key(one.key).singular}/{one.metadata.name}" for one in resources]
    return ", ".join(names[:10]) + (" ..." if len(names) > 10 else "") or "none"
