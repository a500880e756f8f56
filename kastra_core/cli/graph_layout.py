"""Places for the nodes and edges of a picture; see ``graph_svg``. Lengths are pixels, y grows downwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import attrs

from kastra_core.api.graph import Edge
from kastra_core.cli.graph_shape import Shape

__all__ = ["Box", "Layout", "layout_of", "text_width"]

Point = tuple[float, float]

_ACROSS = 28.0
"""Between nodes of a layer."""
_DOWN = 30.0
"""Between layers."""
_THIN = 8.0
"""Width of the place of an edge that passes a layer."""
_PADDING = 16.0
"""In frames."""
_LANE = 14.0
"""Between edges that lead back."""
_SWEEPS = 8
_NARROW, _WIDE = frozenset("iljtfrI.,:;|!'`()[]{}-/ "), frozenset("mwMW@%&")


def text_width(text: str) -> float:
    """Width of a text of 13 pixels in a usual sans-serif font, rather too much than too little."""
    from unicodedata import combining, east_asian_width

    width = 0.0
    for char in text:
        if char in _NARROW:
            width += 4.7
        elif char in _WIDE:
            width += 11.8
        elif char.isascii():
            width += 9.2 if char.isupper() else 7.6
        elif not combining(char):
            width += 13.6 if east_asian_width(char) in "WF" else 8.6
    return width


@attrs.frozen
class Box:
    """A node's place; x and y are those of its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


@attrs.define
class Layout:
    """Where all is.

    Attributes:
        ways: index of an edge -> its points; those in ``lanes`` have corners, the others are curves.
        labels: index of an edge -> middle of its label.
    """

    width: float = 0.0
    height: float = 0.0
    boxes: dict[str, Box] = attrs.field(factory=dict)
    ways: dict[int, list[Point]] = attrs.field(factory=dict)
    labels: dict[int, Point] = attrs.field(factory=dict)
    lanes: set[int] = attrs.field(factory=set)

    def take(self, other: Layout, x: float, y: float) -> None:
        """Put all of another layout in this one, moved."""
        for key, box in other.boxes.items():
            self.boxes[key] = attrs.evolve(box, x=box.x + x, y=box.y + y)
        for index, points in other.ways.items():
            self.ways[index] = [(px + x, py + y) for px, py in points]
        for index, (px, py) in other.labels.items():
            self.labels[index] = (px + x, py + y)
        self.lanes |= other.lanes


def layout_of(
    shape: Shape, sizes: Mapping[str, tuple[float, float]], label_size: Callable[[Edge], tuple[float, float]]
) -> Layout:
    """Return places for all nodes and edges.

    Args:
        sizes: (width, height) of each node; of a frame those of its head.
        label_size: (width, height) of an edge's label, (0, 0) for none.
    """
    levels: dict[str, list[tuple[int, str, str]]] = {}
    for index, edge in enumerate(shape.edges):
        frame, source, target = shape.siblings(edge)
        levels.setdefault(frame, []).append((index, source, target))
    inner: dict[str, Layout] = {}
    # From the inside out: a frame is as large as what lies in it.
    frames = sorted((key for key in shape.nodes if shape.is_frame(key)), key=lambda key: -len(shape.above(key)))
    for frame in (*frames, ""):
        found = _Level(shape, frame, levels.get(frame, []), sizes, inner, label_size).layout()
        if frame:
            found = _framed(frame, found, sizes[frame])
        inner[frame] = found
    out = inner[""]
    _crossing(shape, out)
    return out


def _framed(frame: str, content: Layout, head: tuple[float, float]) -> Layout:
    width = max(content.width + 2 * _PADDING, head[0])
    out = Layout(width=width, height=content.height + head[1] + _PADDING)
    out.take(content, (width - content.width) / 2, head[1])
    out.boxes[frame] = Box(0, 0, out.width, out.height)
    return out


def _crossing(shape: Shape, layout: Layout) -> None:
    """Let the edges that cross a frame's border begin and end at the nodes in it."""
    for index, points in layout.ways.items():
        edge = shape.edges[index]
        _, source, target = shape.siblings(edge)
        if index in layout.lanes:
            continue
        if source != edge.source:
            box = layout.boxes[edge.source]
            points[0] = (points[0][0], layout.boxes[source].bottom)
            points.insert(0, (box.middle, box.bottom))
        if target != edge.target:
            box = layout.boxes[edge.target]
            points.append((box.middle, box.y))


@attrs.define(eq=False)
class _Place:
    """What takes room in a layer: a node, or an edge that passes (``id`` "")."""

    id: str
    width: float
    height: float
    layer: int = 0
    x: float = 0.0
    """Of its middle."""
    order: float = 0.0
    up: list[_Place] = attrs.field(factory=list)
    down: list[_Place] = attrs.field(factory=list)


class _Level:
    """The layout of what lies in one frame."""

    def __init__(
        self,
        shape: Shape,
        frame: str,
        edges: Sequence[tuple[int, str, str]],
        sizes: Mapping[str, tuple[float, float]],
        inner: Mapping[str, Layout],
        label_size: Callable[[Edge], tuple[float, float]],
    ) -> None:
        self.shape, self.inner, self.label_size = shape, inner, label_size
        self.places: dict[str, _Place] = {}
        for key in shape.children.get(frame, []):
            width, height = (inner[key].width, inner[key].height) if key in inner else sizes[key]
            self.places[key] = _Place(key, width, height)
        self.forward = [edge for edge in edges if edge[0] not in shape.back]
        self.back = [edge for edge in edges if edge[0] in shape.back]
        self.chains: dict[int, list[_Place]] = {}
        self.layers: list[list[_Place]] = []
        self.tops: list[float] = []
        self.heights: list[float] = []

    def layout(self) -> Layout:
        self._layer()
        self._chain()
        self._order()
        self._spread()
        return self._draw()

    def _layer(self) -> None:
        """Layers by the longest path; an edge with a label takes two, so that the label has one of its own."""
        following: dict[str, list[tuple[str, int]]] = {key: [] for key in self.places}
        waiting = dict.fromkeys(self.places, 0)
        for index, source, target in self.forward:
            length = 2 if self.label_size(self.shape.edges[index])[0] else 1
            following[source].append((target, length))
            waiting[target] += 1
        ready = [key for key, count in waiting.items() if not count]
        order: list[str] = []
        while ready:
            key = ready.pop(0)
            order.append(key)
            for target, length in following[key]:
                place = self.places[target]
                place.layer = max(place.layer, self.places[key].layer + length)
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
        # What nothing leads to comes as near above what it leads to as it can.
        entered = {target for _, _, target in self.forward}
        for key in order:
            if key not in entered and following[key]:
                self.places[key].layer = min(self.places[t].layer - length for t, length in following[key])

    def _chain(self) -> None:
        count = max((place.layer for place in self.places.values()), default=-1) + 1
        self.layers = [[] for _ in range(count)]
        for place in self.places.values():
            self.layers[place.layer].append(place)
        for index, source, target in self.forward:
            start, end = self.places[source], self.places[target]
            wide, high = self.label_size(self.shape.edges[index])
            chain = [start]
            labelled = start.layer + 1
            for layer in range(start.layer + 1, end.layer):
                is_label = bool(wide) and layer == labelled
                place = _Place("", wide if is_label else _THIN, high if is_label else 0.0, layer)
                self.layers[layer].append(place)
                chain.append(place)
            chain.append(end)
            for above, below in pairwise(chain):
                above.down.append(below)
                below.up.append(above)
            self.chains[index] = chain

    def _order(self) -> None:
        for layer in self.layers:
            for number, place in enumerate(layer):
                place.order = number
        best, fewest = [list(layer) for layer in self.layers], self._crossings()
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            downwards = sweep % 2 == 0
            for layer in self.layers if downwards else reversed(self.layers):
                means: dict[int, float] = {}
                for place in layer:
                    near = place.up if downwards else place.down
                    means[id(place)] = sum(one.order for one in near) / len(near) if near else place.order
                layer.sort(key=lambda place: means[id(place)])
                for number, place in enumerate(layer):
                    place.order = number
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self.layers], crossings
        self.layers = best
        for layer in self.layers:
            for number, place in enumerate(layer):
                place.order = number

    def _crossings(self) -> int:
        """Pairs of edges that cross; layers of very many edges count as none, which would take too long."""
        count = 0
        for layer in self.layers:
            ends = [[below.order for below in place.down] for place in sorted(layer, key=lambda place: place.order)]
            flat = [(number, end) for number, one in enumerate(ends) for end in one]
            if len(flat) <= 300:
                count += sum(a < c and b > d for n, (a, b) in enumerate(flat) for c, d in flat[n + 1 :])
        return count

    def _spread(self) -> None:
        """x of all places: nearest to what they are joined with, without touching each other."""
        for layer in self.layers:
            x = 0.0
            for place in layer:
                place.x = x + place.width / 2
                x += place.width + _ACROSS
        for sweep in range(3 * _SWEEPS):
            # First from above and from below in turns, at last between both, which straightens long edges.
            both = sweep >= 2 * _SWEEPS
            downwards = sweep % 2 == 0
            for layer in self.layers if downwards else reversed(self.layers):
                wished: list[tuple[float, float]] = []
                for place in layer:
                    near = [*place.up, *place.down] if both else place.up if downwards else place.down
                    near = near or place.up or place.down
                    pulls = [_pull(place, one) for one in near]
                    total = sum(pulls)
                    x = sum(one.x * pull for one, pull in zip(near, pulls)) / total if near else place.x
                    wished.append((x, total or 0.1))
                _settle(layer, wished)
        for chain in self.chains.values():
            self._straighten(chain[1:-1])
        left = min((place.x - place.width / 2 for layer in self.layers for place in layer), default=0.0)
        for layer in self.layers:
            for place in layer:
                place.x -= left

    def _straighten(self, run: Sequence[_Place]) -> None:
        """Put the places of an edge that passes layers below each other, as far as their neighbours let them."""
        start = 0
        while start < len(run):
            left, right = self._room(run[start])
            end = start + 1
            while end < len(run):
                more_left, more_right = self._room(run[end])
                if max(left, more_left) > min(right, more_right):
                    break
                left, right = max(left, more_left), min(right, more_right)
                end += 1
            # A last bend is better near the end than in the middle of nowhere.
            wish = run[start].x if end < len(run) else sum(place.x for place in run[start:end]) / (end - start)
            for place in run[start:end]:
                place.x = min(max(wish, left), right)
            start = end

    def _room(self, place: _Place) -> tuple[float, float]:
        """Least and greatest x that a place may have between its neighbours."""
        layer = self.layers[place.layer]
        number = int(place.order)
        left, right = float("-inf"), float("inf")
        if number:
            before = layer[number - 1]
            left = before.x + (before.width + place.width + _ACROSS) / 2
        if number + 1 < len(layer):
            after = layer[number + 1]
            right = after.x - (after.width + place.width + _ACROSS) / 2
        # Rounding may have put it a hair beside its room.
        return min(left, place.x), max(right, place.x)

    def _draw(self) -> Layout:
        out = Layout()
        lanes = len(self.back)
        y = _LANE if lanes else 0.0
        for layer in self.layers:
            height = max(place.height for place in layer) if layer else 0.0
            self.tops.append(y)
            self.heights.append(height)
            y += height + _DOWN
        out.height = max(y - _DOWN, 0.0) + (_LANE if lanes else 0.0)
        out.width = max((place.x + place.width / 2 for layer in self.layers for place in layer), default=0.0)
        for key, place in self.places.items():
            top = self.tops[place.layer] + (self.heights[place.layer] - place.height) / 2
            if key in self.inner:
                out.take(self.inner[key], place.x - place.width / 2, top)
            else:
                out.boxes[key] = Box(place.x - place.width / 2, top, place.width, place.height)
        for index, _, _ in self.forward:
            self._way(index, out)
        self._lanes(out)
        return out

    def _way(self, index: int, out: Layout) -> None:
        chain = self.chains[index]
        start, end = out.boxes[chain[0].id], out.boxes[chain[-1].id]
        x = _port(chain[0], chain[1], down=True)
        points: list[Point] = [(x, self._rim(chain[0].id, start, x, down=True))]
        floor = self.tops[chain[0].layer] + self.heights[chain[0].layer]
        if floor - start.bottom > 1 and len(chain) > 1:
            points.append((points[0][0], floor))
        for place in chain[1:-1]:
            top, height = self.tops[place.layer], self.heights[place.layer]
            points.extend([(place.x, top), (place.x, top + height)])
            if place.height:
                out.labels[index] = (place.x, top + height / 2)
        ceiling = self.tops[chain[-1].layer]
        port = _port(chain[-1], chain[-2], down=False)
        if end.y - ceiling > 1:
            points.append((port, ceiling))
        points.append((port, self._rim(chain[-1].id, end, port, down=False)))
        out.ways[index] = points

    def _lanes(self, out: Layout) -> None:
        """Edges that lead back: down from the source, to a lane at the right, up, and into the target from above."""
        shortest = sorted(self.back, key=lambda edge: self.places[edge[1]].layer - self.places[edge[2]].layer)
        taken: list[tuple[int, int, float]] = []  # (first layer, last layer, right end) of what is there
        for layer, places in enumerate(self.layers):
            taken.extend((layer, layer, place.x + place.width / 2) for place in places)
        for number, (index, source, target) in enumerate(shortest):
            start, end = out.boxes[source], out.boxes[target]
            first, last = self.places[target].layer, self.places[source].layer
            wide, _ = self.label_size(self.shape.edges[index])
            # The label may be wider than the lane; it stands in its middle, beside whatever else is there.
            beside = max(x for a, b, x in taken if a <= last + 1 and b >= first - 1)
            lane = beside + max(_LANE, wide / 2 + 4)
            taken.append((first, last, lane + wide / 2))
            low = self.tops[last] + self.heights[last] + 9
            high = self.tops[first] - 12
            out_x = start.middle + min(start.width / 2 - 6, 14 + 6 * number)
            in_x = end.middle + min(end.width / 2 - 6, 14 + 6 * number)
            out.ways[index] = [
                (out_x, self._rim(source, start, out_x, down=True)),
                (out_x, low),
                (lane, low),
                (lane, high),
                (in_x, high),
                (in_x, self._rim(target, end, in_x, down=False)),
            ]
            out.lanes.add(index)
            if wide:
                out.labels[index] = (lane, (low + high) / 2)
            out.width = max(out.width, lane + wide / 2 + 4)

    def _rim(self, key: str, box: Box, x: float, *, down: bool) -> float:
        """y of a node's upper or lower rim at ``x``; that of a diamond is slanted."""
        slant = 0.0
        if self.shape.nodes[key].shape == "diamond" and key not in self.inner:
            slant = min(abs(x - box.middle) / (box.width / 2), 1.0) * box.height / 2
        return box.bottom - slant if down else box.y + slant


def _pull(one: _Place, other: _Place) -> float:
    """How much two places that are joined should stand below each other: an edge over layers is to be straight."""
    return 8.0 if not one.id and not other.id else 2.0 if not one.id or not other.id else 1.0


def _port(place: _Place, other: _Place, *, down: bool) -> float:
    """x where an edge meets a node: the middle, or beside it when there are several, in their order."""
    edges = place.down if down else place.up
    if len(edges) < 2 or not place.id:
        return place.x
    ranked = sorted(range(len(edges)), key=lambda n: edges[n].x)
    rank = next(n for n, number in enumerate(ranked) if edges[number] is other)
    step = min(14.0, place.width * 0.5 / len(edges))
    return place.x + (rank - (len(edges) - 1) / 2) * step


def _settle(layer: Sequence[_Place], wished: Sequence[tuple[float, float]]) -> None:
    """Put places as near to their wishes as their order and widths allow (weighted isotonic regression).

    Args:
        wished: (x, weight) of each place.
    """
    offsets, x = [], 0.0
    for number, place in enumerate(layer):
        if number:
            before = layer[number - 1]
            x += before.width / 2 + _ACROSS + place.width / 2
        offsets.append(x)
    blocks: list[list[float]] = []  # [sum of weighted wishes, weight, count]
    for (wish, weight), offset in zip(wished, offsets):
        blocks.append([(wish - offset) * weight, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, weight, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += weight
            blocks[-1][2] += count
    number = 0
    for total, weight, count in blocks:
        for _ in range(int(count)):
            layer[number].x = total / weight + offsets[number]
            number += 1
