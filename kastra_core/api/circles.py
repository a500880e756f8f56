"""Resources that refer to each other in a circle, for kinds that may not (``ResourceKind.acyclic``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.errors import KastraError, Problem

__all__ = ["circles", "own_references"]


def own_references(kind: ResourceKind, resource: Resource) -> tuple[Reference, ...]:
    """What a resource refers to of its own kind; nothing when what it refers to cannot be told."""
    try:
        return tuple(one for one in kind.references_of(resource) if (one.group, one.kind) == kind.group_kind)
    except KastraError:
        return ()


def circles(
    starts: Iterable[ResourceKey], references: Callable[[ResourceKey], Sequence[Reference]]
) -> list[tuple[ResourceKey, Problem]]:
    """Return a problem for each circle that goes through one of ``starts``, at the reference of it that closes it.

    Args:
        starts: the resources that are about to be written.
        references: what a resource refers to; nothing for one that is not there.

    Returns:
        (start, problem) pairs, one for each start that is on a circle and on none that was told before; the problem's
        path is that of the start's reference into the circle.
    """
    told: set[ResourceKey] = set()
    out = []
    for start in dict.fromkeys(starts):
        way = None if start in told else _way_back(start, references)
        if way is None:
            continue
        told.update(reference.key for reference in way)
        names = " -> ".join(map(str, (start, *(reference.key for reference in way))))
        message = f"{start} would refer to itself" if len(way) == 1 else f"a circle of references: {names}"
        out.append((start, Problem(message, way[0].path, hint="take one of the references out", resource=str(start))))
    return out


def _way_back(
    start: ResourceKey, references: Callable[[ResourceKey], Sequence[Reference]]
) -> Sequence[Reference] | None:
    """The shortest way from a resource over its references to itself, None when there is none."""
    came: dict[ResourceKey, tuple[ResourceKey, Reference]] = {}
    queue = [start]
    for current in queue:
        for reference in references(current):
            if reference.key == start:
                way = [reference]
                while current != start:
                    current, step = came[current]
                    way.insert(0, step)
                return way
            if reference.key not in came:
                came[reference.key] = (current, reference)
                queue.append(reference.key)
    return None
