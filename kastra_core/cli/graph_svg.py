"""A graph as an SVG picture: layers from top to bottom, frames around their blocks, no script, light and dark.

The layout is the layered one of Sugiyama, Tagawa and Toda (1981), a frame at a time from the inside out: edges that
lead back are turned round, layers are those of the longest path, long edges and labels get places in the layers
between, each layer is ordered by the mean place of its neighbours, and nodes are put as near below each other as
their order allows. Edges that lead back run in lanes at the right.
"""

from __future__ import annotations

from html import escape

from kastra_core.api.graph import Edge, Graph, Node
from kastra_core.cli.graph_layout import Box, Layout, layout_of, text_width
from kastra_core.cli.graph_shape import Shape
from kastra_core.cli.run_screen import in_one_line
from kastra_core.cli.tables import clip, display_width

__all__ = ["draw_svg"]

_MARGIN = 20
_TITLE = 34
_LABEL_COLUMNS, _DETAIL_COLUMNS, _FRAME_COLUMNS, _WAY_COLUMNS = 36, 44, 60, 32
_LINE = 14.0
"""Height of a line of an edge's label."""
_STYLE = """\
.kastra-graph{font:13px system-ui,"Segoe UI",Roboto,"Noto Sans",\
"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif}
.kastra-graph .ground{fill:#fff}
.kastra-graph .box{fill:#f6f8fa;stroke:#57606a}
.kastra-graph .frame{fill:#8b949e;fill-opacity:.08;stroke:#8b949e}
.kastra-graph .edge{fill:none;stroke:#57606a;stroke-width:1.3}
.kastra-graph .tip{fill:#57606a}
.kastra-graph .fails{stroke:#b3261e}
.kastra-graph .failtip{fill:#b3261e}
.kastra-graph .dashed{stroke-dasharray:5 4}
.kastra-graph .dotted{stroke-dasharray:1 4}
.kastra-graph .missing{stroke-dasharray:3 3}
.kastra-graph text{fill:#1f2328}
.kastra-graph .label,.kastra-graph .title{font-weight:600}
.kastra-graph .title{font-size:16px}
.kastra-graph .kind,.kastra-graph .way{font-size:11px;fill:#57606a}
@media (prefers-color-scheme:dark){
.kastra-graph .ground{fill:#0d1117}
.kastra-graph .box{fill:#161b22;stroke:#8b949e}
.kastra-graph .edge{stroke:#8b949e}
.kastra-graph .tip{fill:#8b949e}
.kastra-graph .fails{stroke:#f47067}
.kastra-graph .failtip{fill:#f47067}
.kastra-graph text{fill:#e6edf3}
.kastra-graph .kind,.kastra-graph .way{fill:#9ea7b3}
}
"""


def draw_svg(graph: Graph) -> str:
    """Return the picture as an XML document."""
    shape = Shape(graph)
    layout = layout_of(shape, {key: _size(shape, node) for key, node in shape.nodes.items()}, _way_size)
    title = _clean(shape.title)
    width = max(layout.width, text_width(title) * 1.3) + 2 * _MARGIN
    top = _MARGIN + (_TITLE if title else 0)
    height = layout.height + top + _MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="kastra-graph" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{_xml(title) or 'graph'}</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="tip" d="M0 0L8 4L0 8z"/></marker>'
        '<marker id="failtip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="failtip" d="M0 0L8 4L0 8z"/></marker></defs>',
        '<rect class="ground" width="100%" height="100%"/>',
    ]
    if title:
        out.append(f'<text class="title" x="{_MARGIN}" y="{_MARGIN + 14}">{_xml(title)}</text>')
    left = _MARGIN + max(0.0, (width - 2 * _MARGIN - layout.width) / 2 if layout.width < width / 3 else 0.0)
    out.append(f'<g transform="translate({left:.1f} {top:.1f})">')
    boxes = layout.boxes
    # Frames first, the outer ones before what lies in them; then edges, then nodes above them.
    frames = sorted((key for key in shape.nodes if shape.is_frame(key)), key=lambda key: len(shape.above(key)))
    out.extend(_frame(shape.nodes[key], boxes[key]) for key in frames)
    out.extend(_edge(edge, layout, index) for index, edge in enumerate(shape.edges))
    out.extend(_node(node, boxes[key]) for key, node in shape.nodes.items() if not shape.is_frame(key))
    out.extend(_way(edge, layout, index) for index, edge in enumerate(shape.edges) if _clean(edge.label))
    out.append("</g></svg>\n")
    return "\n".join(filter(None, out))


# ------------------------------------------------------------------------------------------- sizes


def _size(shape: Shape, node: Node) -> tuple[float, float]:
    """Width and height of a node; of a frame those of its head."""
    label, detail = _words(node, _FRAME_COLUMNS if shape.is_frame(node.id) else _DETAIL_COLUMNS)
    width = max(text_width(label) * 1.06, text_width(detail) * 0.87)
    if shape.is_frame(node.id):
        return width + 20, 42.0 if detail else 28.0
    if node.shape == "diamond":
        return max(width * 1.35 + 36, 90), 58.0 if detail else 44.0
    return max(width + (40 if node.shape == "hexagon" else 28), 64), 46.0 if detail else 32.0


def _way_size(edge: Edge) -> tuple[float, float]:
    lines = _way_lines(edge)
    return (max(map(text_width, lines)) * 0.87 + 8, len(lines) * _LINE + 2) if lines else (0.0, 0.0)


def _way_lines(edge: Edge) -> list[str]:
    """An edge's label in at most two lines."""
    label = _clean(edge.label)
    if display_width(label) <= _WAY_COLUMNS:
        return [label] if label else []
    first = clip(label, _WAY_COLUMNS + 1)[:-1]
    first = first[: first.rindex(" ")] if " " in first[_WAY_COLUMNS // 3 :] else first
    return [first.rstrip(), clip(label[len(first) :].strip(), _WAY_COLUMNS)]


def _words(node: Node, columns: int = _DETAIL_COLUMNS) -> tuple[str, str]:
    """Both lines of a node, cut to size."""
    words = [node.kind] if node.kind and node.kind != node.label else []
    detail = " · ".join(filter(None, (*words, _clean(node.detail))))
    return clip(_clean(node.label), _LABEL_COLUMNS), clip(_clean(detail), columns)


# ------------------------------------------------------------------------------------------- drawing


def _hint(node: Node) -> str:
    """All of a node's text, which browsers show on hovering."""
    return f"<title>{_xml(' · '.join(filter(None, (node.label, node.kind, node.detail))))}</title>"


def _frame(node: Node, box: Box) -> str:
    label, detail = _words(node, _FRAME_COLUMNS)
    text = f'<text class="label" x="{box.x + 10:.1f}" y="{box.y + 18:.1f}">{_xml(label)}</text>'
    if detail:
        text += f'<text class="kind" x="{box.x + 10:.1f}" y="{box.y + 33:.1f}">{_xml(detail)}</text>'
    return (
        f'<g>{_hint(node)}<rect class="frame" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="8"/>{text}</g>'
    )


def _node(node: Node, box: Box) -> str:
    label, detail = _words(node)
    x, y, w, h = box.x, box.y, box.width, box.height
    style = "box missing" if node.kind == "missing" else "box"
    if node.shape == "diamond":
        figure = f'<path class="{style}" d="M{x:.1f} {y + h / 2:.1f}L{x + w / 2:.1f} {y:.1f}L{x + w:.1f} \
{y + h / 2:.1f}L{x + w / 2:.1f} {y + h:.1f}z"/>'
    elif node.shape == "hexagon":
        figure = f'<path class="{style}" d="M{x:.1f} {y + h / 2:.1f}L{x + 12:.1f} {y:.1f}H{x + w - 12:.1f}L{x + w:.1f} \
{y + h / 2:.1f}L{x + w - 12:.1f} {y + h:.1f}H{x + 12:.1f}z"/>'
    else:
        radius = h / 2 if node.shape == "rounded" else 5
        figure = f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{radius:.1f}"/>'
    middle, base = x + w / 2, y + h / 2
    place = 'text-anchor="middle"'
    if not detail:
        text = f'<text class="label" x="{middle:.1f}" y="{base + 4.5:.1f}" {place}>{_xml(label)}</text>'
    else:
        text = (
            f'<text class="label" x="{middle:.1f}" y="{base - 2.5:.1f}" {place}>{_xml(label)}</text>'
            f'<text class="kind" x="{middle:.1f}" y="{base + 12.5:.1f}" {place}>{_xml(detail)}</text>'
        )
    return f"<g>{_hint(node)}{figure}{text}</g>"


def _edge(edge: Edge, layout: Layout, index: int) -> str:
    points = layout.ways.get(index)
    if not points:
        return ""
    kind, tip = "edge", "tip"
    if edge.style == "dashed":
        kind, tip = "edge fails dashed", "failtip"
    elif edge.style == "dotted":
        kind = "edge dotted"
    path = _lane(points) if index in layout.lanes else _curve(points)
    return f'<path class="{kind}" d="{path}" marker-end="url(#{tip})"/>'


def _curve(points: list[tuple[float, float]]) -> str:
    """A line from point to point that leaves and enters each from above and below."""
    (x, y), *rest = points
    out = f"M{x:.1f} {y:.1f}"
    for next_x, next_y in rest:
        if abs(next_x - x) < 0.5:
            out += f"V{next_y:.1f}"
        else:
            half = (y + next_y) / 2
            out += f"C{x:.1f} {half:.1f} {next_x:.1f} {half:.1f} {next_x:.1f} {next_y:.1f}"
        x, y = next_x, next_y
    return out


def _lane(points: list[tuple[float, float]], radius: float = 6) -> str:
    """A line of straight pieces with round corners."""
    out = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (ax, ay), (bx, by), (cx, cy) in zip(points, points[1:], points[2:]):
        before, after = _towards((bx, by), (ax, ay), radius), _towards((bx, by), (cx, cy), radius)
        out += f"L{before[0]:.1f} {before[1]:.1f}Q{bx:.1f} {by:.1f} {after[0]:.1f} {after[1]:.1f}"
    return out + f"L{points[-1][0]:.1f} {points[-1][1]:.1f}"


def _towards(start: tuple[float, float], end: tuple[float, float], length: float) -> tuple[float, float]:
    dx, dy = end[0] - start[0], end[1] - start[1]
    distance = max((dx * dx + dy * dy) ** 0.5, 0.01)
    part = min(length, distance / 2) / distance
    return start[0] + dx * part, start[1] + dy * part


def _way(edge: Edge, layout: Layout, index: int) -> str:
    """The label of an edge, on ground of its own."""
    place = layout.labels.get(index)
    if place is None:
        return ""
    width, height = _way_size(edge)
    x, y = place
    top = y - height / 2
    texts = "".join(
        f'<text class="way" x="{x:.1f}" y="{top + 12 + number * _LINE:.1f}" text-anchor="middle">{_xml(line)}</text>'
        for number, line in enumerate(_way_lines(edge))
    )
    return (
        f"<g><title>{_xml(edge.label)}</title>"
        f'<rect class="ground" x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3"/>'
        f"{texts}</g>"
    )


# ------------------------------------------------------------------------------------------- text


def _clean(text: str) -> str:
    """A text on one line, of characters that XML may hold."""
    line = in_one_line(text.encode("utf-8", "replace").decode())
    return "".join(char for char in line if char not in "\ufffe\uffff")


def _xml(text: str) -> str:
    return escape(_clean(text))
