"""A graph as lines for a terminal: what comes one after the other stands below each other, branches are indented."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs

from kastra_core.api.graph import Edge, Graph, Node
from kastra_core.cli.graph_shape import Shape
from kastra_core.cli.run_screen import in_one_line
from kastra_core.cli.tables import clip, display_width

__all__ = ["ASCII", "UNICODE", "Marks", "draw_text", "marks_for"]

_DEEPEST = 24
"""Branches in branches; what lies deeper is drawn further down, by itself."""
_LEAST = 24
"""Columns that are left for a node; where there are fewer, it is drawn further down."""
_LABEL = 60
"""Columns of an edge's label, at most."""


@attrs.frozen
class Marks:
    """The characters of a drawing."""

    box: str
    rounded: str
    diamond: str
    hexagon: str
    frame: str
    line: str
    fork: str
    last: str
    dashed_fork: str
    dashed_last: str
    close: str
    arrow: str
    again: str
    dot: str


UNICODE = Marks("□", "●", "◇", "⬡", "┌", "│", "├─", "└─", "├┄", "└┄", "└", "→", "↺", "·")
ASCII = Marks("[]", "()", "<>", "{}", "+", "|", "|-", "`-", "|.", "`.", "`", "->", "<<", "-")


def marks_for(encoding: str | None) -> Marks:
    """The characters that an output of this encoding can show."""
    try:
        "".join(attrs.astuple(UNICODE)).encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return ASCII
    return UNICODE


def draw_text(
    graph: Graph, *, width: int = 0, marks: Marks = UNICODE, paint: Callable[[str, str], str] = lambda text, role: text
) -> str:
    """Return the drawing, with a line end.

    Args:
        width: columns; 0 = as many as it takes.
        paint: (text, role) to the coloured text; roles are title, line, label, kind and way.
    """
    text = "".join(f"{line}\n" for line in _Text(Shape(graph), width, marks, paint).lines())
    return text.translate(_PLAIN) if marks is ASCII else text


_PLAIN = str.maketrans({"…": "~", "·": "-"})
"""Characters of ours beside the marks."""


class _Text:
    def __init__(self, shape: Shape, width: int, marks: Marks, paint: Callable[[str, str], str]) -> None:
        self.shape, self.width, self.marks, self.paint = shape, width, marks, paint
        self.out: list[str] = []
        self.drawn: set[str] = set()

    def lines(self) -> list[str]:
        if self.shape.title:
            self.out.append(self.paint(clip(in_one_line(self.shape.title), self.width or 1000), "title"))
            self.out.append("")
        self._level("", "")
        return self.out

    # ------------------------------------------------------------------------------------------- levels

    def _level(self, frame: str, prefix: str) -> None:
        """Draw all that lies in a frame, "" for the top: what nothing leads to, then what was left over."""
        inside = self.shape.children.get(frame, [])
        level = _Level(self.shape, frame)
        entered = {edge.target for edge in self.shape.edges if edge.target != edge.source}
        first = True
        for start in (*[key for key in inside if key not in entered], *inside):
            if start in self.drawn:
                continue
            if not first:
                self.out.append(prefix.rstrip())
            first = False
            self._flow(start, 0, prefix, 0, level)

    def _flow(self, start: str, stop: int, prefix: str, depth: int, level: _Level) -> None:
        """Draw a node and what follows, one below the other, but nothing of the set ``stop``: others draw that."""
        at = start
        while True:
            self.drawn.add(at)
            self._node(self.shape.nodes[at], prefix, depth)
            ways = [(self.shape.edges[index], index in self.shape.back) for index in self.shape.out[at]]
            solid = [edge for edge, back in ways if edge.style == "solid" and not back]
            shared = level.shared(solid)
            below = self._below(solid, shared, stop, level)
            for number, (edge, _) in enumerate(ways):
                if edge.target == below and edge.style == "solid" and not edge.label:
                    ways = [*ways[:number], *ways[number + 1 :]]
                    break
            for number, (edge, back) in enumerate(ways):
                avoid = stop | (shared if edge.style == "solid" else level.reached(solid))
                inner = avoid | (level.bit.get(below, 0) if below else 0)
                last = not below and number + 1 == len(ways)
                self._way(edge, back, inner, prefix, last, depth, level)
            if not below:
                return
            self._line(prefix + self.marks.line)
            at = below

    def _below(self, solid: Sequence[Edge], shared: int, stop: int, level: _Level) -> str:
        """The node that is drawn right below one with these ways, "" for none."""
        fit = [edge.target for edge in solid if self._is_open(edge.target, stop, level)]
        meeting = [key for key in level.of(shared & ~stop) if key not in self.drawn]
        # Ways that meet again do so below them. Those that meet nowhere but in an end: the last one goes on below.
        if len(solid) > 1 and any(not level.is_end(key) for key in meeting):
            return meeting[0]
        ahead = [key for key in fit if not shared & level.bit[key]]
        return (ahead or fit or meeting or [""])[-1 if ahead or fit else 0]

    def _is_open(self, key: str, stop: int, level: _Level) -> bool:
        bit = level.bit.get(key, 0)
        return bool(bit) and not bit & stop and key not in self.drawn

    def _way(self, edge: Edge, back: bool, avoid: int, prefix: str, last: bool, depth: int, level: _Level) -> None:
        """Draw an edge that is more than the line to the next node, and what lies behind it."""
        marks = self.marks
        solid = edge.style == "solid"
        fork = (marks.last if solid else marks.dashed_last) if last else (marks.fork if solid else marks.dashed_fork)
        label = clip(in_one_line(edge.label), _LABEL)
        inner = prefix + (" " * 3 if last else marks.line.ljust(3))
        if (
            not back
            and label
            and depth < _DEEPEST
            and self._is_open(edge.target, avoid, level)
            and (not self.width or self.width - display_width(inner) >= _LEAST)
        ):
            self._line(f"{prefix}{fork} ", label)
            self._flow(edge.target, avoid, inner, depth + 1, level)
        else:
            way = f"{marks.again if back else marks.arrow} {in_one_line(self.shape.nodes[edge.target].label)}"
            if label and self.width:  # where it leads is worth more than why
                room = self.width - display_width(prefix) - display_width(way) - 4
                label = clip(label, max(room, 8))
            self._line(f"{prefix}{fork} ", f"{label} {way}" if label else way)

    # ------------------------------------------------------------------------------------------- lines

    def _node(self, node: Node, prefix: str, depth: int) -> None:
        marks = self.marks
        is_frame = self.shape.is_frame(node.id)
        mark = (
            marks.frame if is_frame else getattr(marks, node.shape, marks.box) if node.shape in _SHAPES else marks.box
        )
        label = in_one_line(node.label)
        words = [] if node.kind == label else [node.kind]
        rest = in_one_line(f" {marks.dot} ".join(filter(None, (*words, node.detail))))
        room = max(self.width - display_width(prefix) - display_width(mark) - 1, 1) if self.width else 10_000
        label = clip(label, room)
        left = room - display_width(label) - 2
        text = self.paint(prefix, "line") + self.paint(mark, "line") + " " + self.paint(label, "label")
        if rest and left > 3:
            text += "  " + self.paint(clip(rest, left), "kind")
        self.out.append(text)
        if is_frame:
            inner = prefix + marks.line.ljust(2)
            if depth < _DEEPEST and (not self.width or self.width - display_width(inner) >= _LEAST // 2):
                self._level(node.id, inner)
            else:
                names = ", ".join(in_one_line(self.shape.nodes[key].label) for key in self.shape.children[node.id])
                self._line(inner, names)
            self._line(prefix + marks.close)

    def _line(self, prefix: str, text: str = "") -> None:
        if self.width:
            prefix = clip(prefix, self.width)
            text = clip(text, max(self.width - display_width(prefix), 1))
        self.out.append((self.paint(prefix, "line") + (self.paint(text, "way") if text else "")).rstrip())


_SHAPES = ("box", "rounded", "diamond", "hexagon")


class _Level:
    """What lies in one frame, and what can be reached from where there; sets of nodes are bits of a number."""

    def __init__(self, shape: Shape, frame: str) -> None:
        inside = shape.children.get(frame, [])
        here = set(inside)
        following = {
            key: [
                shape.edges[i].target for i in shape.out[key] if i not in shape.back and shape.edges[i].target in here
            ]
            for key in inside
        }
        self._order = list(_ends_first(inside, following))
        self.bit = {key: 1 << number for number, key in enumerate(self._order)}
        self._ends = {key for key in inside if not shape.out[key] and shape.nodes[key].shape == "rounded"}
        self._reach: dict[str, int] = {}
        for key in self._order:
            reach = self.bit[key]
            for target in following[key]:
                reach |= self._reach[target]
            self._reach[key] = reach

    def is_end(self, key: str) -> bool:
        """Whether a node is a mere end, which says nothing by itself."""
        return key in self._ends

    def reached(self, ways: Sequence[Edge]) -> int:
        """All that any of these edges leads to."""
        out = 0
        for edge in ways:
            out |= self._reach.get(edge.target, 0)
        return out

    def shared(self, ways: Sequence[Edge]) -> int:
        """All that more than one of these edges leads to."""
        once = twice = 0
        for edge in ways:
            reach = self._reach.get(edge.target, 0)
            twice |= once & reach
            once |= reach
        return twice

    def of(self, found: int) -> list[str]:
        """The nodes of a set, each before what it leads to."""
        out = []
        while found:
            number = found.bit_length() - 1
            out.append(self._order[number])
            found ^= 1 << number
        return out


def _ends_first(nodes: Sequence[str], following: dict[str, list[str]]) -> Iterator[str]:
    """The nodes of a graph without circles, each after all that it leads to."""
    done: set[str] = set()
    for root in nodes:
        if root in done:
            continue
        done.add(root)
        stack = [(root, iter(following[root]))]
        while stack:
            node, rest = stack[-1]
            for target in rest:
                if target not in done:
                    done.add(target)
                    stack.append((target, iter(following[target])))
                    break
            else:
                yield node
                stack.pop()
