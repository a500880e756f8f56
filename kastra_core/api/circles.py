"""Resources that refer to each other in a circle, for kinds that may not (``ResourceKind.acyclic``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

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
    starts = tuple(dict.fromkeys(starts))
    edges = _knots(starts, references)
    told: set[ResourceKey] = set()
    out = []
    for start in starts:
        way = None if start in told or start not in edges else _way_back(start, edges)
        if way is None:
            continue
        told.update(reference.key for reference in way)
        names = " -> ".join(map(str, (start, *(reference.key for reference in way))))
        message = f"{start} would refer to itself" if len(way) == 1 else f"a circle of references: {names}"
        out.append((start, Problem(message, way[0].path, hint="take one of the references out", resource=str(start))))
    return out


def _knots(
    starts: Sequence[ResourceKey], references: Callable[[ResourceKey], Sequence[Reference]]
) -> dict[ResourceKey, Sequence[Reference]]:
    """The references of what leads into a circle, nothing of what leads to an end: that is most, and seen once."""
    edges: dict[ResourceKey, Sequence[Reference]] = {}
    referrers: dict[ResourceKey, list[ResourceKey]] = {start: [] for start in starts}
    queue = list(starts)
    for current in queue:
        edges[current] = references(current)
        for key in (reference.key for reference in edges[current]):
            if key not in referrers:
                referrers[key] = []
                queue.append(key)
            referrers[key].append(current)
    left = {key: len(found) for key, found in edges.items()}
    ends = [key for key, count in left.items() if not count]
    for end in ends:
        for referrer in referrers[end]:
            left[referrer] -= 1
            if not left[referrer]:
                ends.append(referrer)
    return {key: [one for one in edges[key] if left[one.key]] for key, count in left.items() if count}


def _way_back(start: ResourceKey, references: Mapping[ResourceKey, Sequence[Reference]]) -> Sequence[Reference] | None:
    """The shortest way from a resource over its references to itself, None when there is none."""
    came: dict[ResourceKey, tuple[ResourceKey, Reference]] = {}
    queue = [start]
    for current in queue:
        for reference in references[current]:
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
