"""A graph as a Mermaid flowchart, which GitHub, GitLab and many editors draw."""

from __future__ import annotations

import orjson

from kastra_core.api.graph import Graph, Node
from kastra_core.cli.graph_shape import Shape
from kastra_core.cli.run_screen import in_one_line

__all__ = ["draw_mermaid"]

_SHAPES = {
    "box": ('["', '"]'),
    "rounded": ('(["', '"])'),
    "diamond": ('{"', '"}'),
    "hexagon": ('{{"', '"}}'),
}
_SAFE = frozenset(" .,:/=()[]{}|!?+-'")
"""ASCII characters beside letters and digits that mean nothing inside quotes."""


def draw_mermaid(graph: Graph) -> str:
    """Return the flowchart's source.

    Nodes are called n0, n1 ... so that no key can be a word of Mermaid's (``end``); labels are quoted, and what could
    be markup in them (also that of Markdown, HTML and Mermaid's directives) is written as entity codes.
    """
    shape = Shape(graph)
    names = {key: f"n{number}" for number, key in enumerate(shape.nodes)}
    lines = ["flowchart TD"]
    title = in_one_line(shape.title)
    if title:
        lines[:0] = ["---", f"title: {orjson.dumps(_no_surrogates(title)).decode()}", "---"]

    def draw(frame: str, indent: str) -> None:
        stack = [(key, indent) for key in reversed(shape.children.get(frame, []))]
        while stack:
            key, space = stack.pop()
            if key.startswith("\0"):
                lines.append(f"{space}end")
                continue
            node, name = shape.nodes[key], names[key]
            if not shape.is_frame(key):
                before, after = _SHAPES.get(node.shape, _SHAPES["box"])
                lines.append(f"{space}{name}{before}{_label(node)}{after}")
                continue
            lines.append(f'{space}subgraph {name}["{_label(node)}"]')
            lines.append(f"{space}  direction TB")
            stack.append(("\0", space))
            stack.extend((inner, space + "  ") for inner in reversed(shape.children[key]))

    draw("", "  ")
    dotted = []
    for number, edge in enumerate(shape.edges):
        arrow = "-->" if edge.style == "solid" else "-.->"
        label = f'|"{escape(edge.label)}"|' if in_one_line(edge.label) else ""
        lines.append(f"  {names[edge.source]} {arrow}{label} {names[edge.target]}")
        if edge.style == "dotted":
            dotted.append(str(number))
    if dotted:
        lines.append(f"  linkStyle {','.join(dotted)} stroke-dasharray:1 4")
    return "\n".join(lines) + "\n"


def _label(node: Node) -> str:
    first = escape(node.label) or "#nbsp;"
    words = [node.kind] if node.kind and node.kind != node.label else []
    rest = escape(" · ".join(filter(None, (*words, node.detail))))
    return f"{first}<br/>{rest}" if rest else first


def escape(text: str) -> str:
    """A text on one line, as it may stand in a quoted label.

    >>> escape('say "hi" #1')
    'say #34;hi#34; #35;1'
    """
    line = in_one_line(_no_surrogates(text))
    out = [c if not c.isascii() or c.isalnum() or c in _SAFE else f"#{ord(c)};" for c in line]
    # At its beginning "- ", "+ " and "1. " would make the label a list.
    for place, char in enumerate(line):
        if char in "-+.)":
            out[place] = f"#{ord(char)};"
        if not char.isdigit():
            break
    return "".join(out)


def _no_surrogates(text: str) -> str:
    """The text without halves of characters, which no encoding has."""
    return text.encode("utf-8", "replace").decode()
