"""``kastra graph``: any kind that offers a picture, as text, Mermaid, SVG and JSON."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.api.graph import Edge, Graph, Node
from kastra_core.cli.graph_layout import Box, layout_of
from kastra_core.cli.graph_mermaid import draw_mermaid
from kastra_core.cli.graph_shape import Shape
from kastra_core.cli.graph_svg import draw_svg
from kastra_core.cli.graph_text import ASCII, UNICODE, draw_text, marks_for
from kastra_core.cli.tables import display_width

ROUTE_PLUGIN = """
from kastra_core import ResourceKind, hookimpl
from kastra_core.api.graph import Edge, Graph, Node


def graph_of(resource):
    stops = resource.spec["stops"]
    return Graph(
        title=resource.metadata.name,
        nodes=tuple(Node(id=stop, label=stop, kind="stop") for stop in stops),
        edges=tuple(Edge(source=a, target=b) for a, b in zip(stops, stops[1:])),
    )


@hookimpl
def kastra_resource_kinds():
    yield ResourceKind(kind="Route", plural="routes", group="acme.example", graph=graph_of)
"""
ROUTES = """\
apiVersion: acme.example/v1
kind: Route
metadata: {name: north}
spec: {stops: [A, B]}
---
apiVersion: acme.example/v1
kind: Route
metadata: {name: south}
spec: {stops: [C, 终点]}
"""
NORTH = "north\n\n□ A  stop\n│\n□ B  stop\n"


def graph(edges: str, *, frames: dict[str, str] | None = None, **shapes: str) -> Graph:
    """``a>b a>c:label a~d`` (``~`` dashed) as a graph; ``frames``: node -> its frame."""
    parsed = []
    names: dict[str, None] = {}
    for word in edges.split():
        ends, _, label = word.partition(":")
        source, mark, target = re.split("([>~])", ends)
        names.update(dict.fromkeys((source, target)))
        parsed.append(Edge(source=source, target=target, label=label, style="solid" if mark == ">" else "dashed"))
    inside = frames or {}
    names.update(dict.fromkeys(inside))
    nodes = tuple(Node(id=n, label=n, shape=shapes.get(n, "box"), group=inside.get(n, "")) for n in names)
    return Graph(nodes=nodes, edges=tuple(parsed))


def text(drawn: Graph, **options: Any) -> list[str]:
    return draw_text(drawn, **options).splitlines()


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def routes(kastra: Any, plugins: Any, project: Any) -> Any:
    plugins.install("route", ROUTE_PLUGIN)
    (project / "routes.yaml").write_text(ROUTES, encoding="utf-8")
    return kastra


def test_a_stored_resource_is_drawn(routes: Any) -> None:
    assert routes("apply", "-f", "routes.yaml").code == 0
    assert routes("graph", "route/north") == (0, NORTH, "")


def test_a_manifest_is_drawn_that_is_not_applied(routes: Any, project: Any) -> None:
    assert routes("graph", "route/north", "-f", "routes.yaml").out == NORTH
    (project / "one.yaml").write_text(ROUTES.partition("---")[0], encoding="utf-8")
    assert routes("graph", "-f", "one.yaml").out == NORTH
    assert not (project / ".kastra").exists()


def test_all_formats(routes: Any) -> None:
    at = ("graph", "route/south", "-f", "routes.yaml", "-o")
    assert orjson.loads(routes(*at, "json").out)["nodes"][1]["label"] == "终点"
    assert routes(*at, "mermaid").out.startswith('---\ntitle: "south"\n---\nflowchart TD\n')
    assert ET.fromstring(routes(*at, "svg").out).tag.endswith("svg")
    wrong = routes(*at, "png")
    assert wrong.code == 2
    assert "text, mermaid, svg, json" in wrong.err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("graph",), "name what to draw"),
        (("graph", "-f", "routes.yaml"), "name one of route/north, route/south"),
        (("graph", "route/west", "-f", "routes.yaml"), "has no route/west; it has route/north, route/south"),
        (("graph", "route/west"), "not found"),
        (("graph", "route"), "write KIND/NAME"),
        (("graph", "event/x"), "a resource of kind Event cannot be drawn; kinds that can: "),
    ],
)
def test_what_cannot_be_drawn_is_told(routes: Any, args: tuple[str, ...], words: str) -> None:
    done = routes(*args)
    assert done.code == 1
    assert words in done.err


def test_an_output_without_unicode_gets_ascii(shell: Any, plugins: Any, project: Any) -> None:
    plugins.install("route", ROUTE_PLUGIN)
    (project / "routes.yaml").write_text(ROUTES, encoding="utf-8")
    done = shell("graph", "route/north", "-f", "routes.yaml", PYTHONUTF8="0", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.out == "north\n\n[] A  stop\n|\n[] B  stop\n"


def test_graph_needs_no_event_loop_and_no_drawing_but_its_own(shell: Any, plugins: Any, project: Any) -> None:
    plugins.install("route", ROUTE_PLUGIN)
    (project / "routes.yaml").write_text(ROUTES, encoding="utf-8")
    assert shell("apply", "-f", "routes.yaml").code == 0
    done = shell("graph", "route/north", PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}
    assert "kastra_core.cli.graph_text" in loaded
    assert not loaded & {"asyncio", "rich", "kastra_core.cli.graph_svg", "kastra_core.cli.graph_layout"}


# ------------------------------------------------------------------------------------------------ text


def test_branches_that_meet_again_are_indented_and_name_where_they_meet() -> None:
    assert text(graph("b>x:yes b>y:no x>j y>j")) == [
        "□ b", "├─ yes", "│  □ x", "│  └─ → j", "├─ no", "│  □ y", "│  └─ → j", "│", "□ j",
    ]  # fmt: skip


def test_a_way_back_is_marked() -> None:
    assert text(graph("a>b b>a:again b>c:done")) == ["□ a", "│", "□ b", "├─ again ↺ a", "├─ done → c", "│", "□ c"]


def test_a_failure_is_dashed_and_its_handler_is_indented() -> None:
    assert text(graph("a~h:oops a>b h>b")) == ["□ a", "├┄ oops", "│  □ h", "│  └─ → b", "│", "□ b"]


def test_early_ends_do_not_indent_what_follows() -> None:
    chain = " ".join(f"s{n}>end:stop s{n}>s{n + 1}:on" for n in range(50)) + " s50>end"
    drawn = text(graph(chain, end="rounded"))
    assert max(len(line) - len(line.lstrip("│├─ ")) for line in drawn) <= 3
    assert drawn[-1] == "● end"


def test_what_lies_in_a_frame_stands_in_it() -> None:
    assert text(graph("f>z a>b", frames={"a": "f", "b": "f"})) == [
        "┌ f", "│ □ a", "│ │", "│ □ b", "└", "│", "□ z",
    ]  # fmt: skip


def test_what_nothing_leads_to_is_drawn_too() -> None:
    assert text(graph("a>b lost>b")) == ["□ a", "│", "□ b", "", "□ lost", "└─ → b"]


def test_where_a_way_leads_is_shown_however_long_its_reason_is() -> None:
    drawn = text(graph(f"a>b:{'x' * 100} a>c:y b>d c>d a>d:{'z' * 100}"), width=40)
    assert any(line.endswith("… → d") for line in drawn)


def test_ascii_is_ascii() -> None:
    drawn = draw_text(graph(f"a>b:{'x' * 200} a~c:no b>a:again b>d c>d", a="diamond", c="hexagon"), marks=ASCII)
    assert drawn.isascii()
    assert marks_for("ascii") is marks_for(None) is marks_for("latin-1") is ASCII
    assert marks_for("utf-8") is UNICODE


# ------------------------------------------------------------------------------------------------ Mermaid


def test_a_label_cannot_leave_its_quotes() -> None:
    bad = 'x"] --> y; %%{init: {}}%% <b>#quot;</b>\nend `code` $$z$$ &amp;'
    drawn = draw_mermaid(Graph(title='t"\n---', nodes=(Node(id="end", label=bad), Node(id="b", label="1. - x"))))
    title, *lines = drawn.splitlines()[1:]
    assert title == 'title: "t\\" ---"'
    assert lines[2] == (
        '  n0["x#34;] --#62; y#59; #37;#37;{init: {}}#37;#37; #60;b#62;#35;quot#59;#60;/b#62; end '
        '#96;code#96; #36;#36;z#36;#36; #38;amp#59;"]'
    )
    assert lines[3] == '  n1["1#46; - x"]'


def test_shapes_frames_and_styles() -> None:
    nodes = (
        Node(id="s", label="s", shape="rounded", kind="start"),
        Node(id="f", label="f"),
        Node(id="d", label="d", shape="diamond", group="f"),
        Node(id="h", label="h", shape="hexagon", detail="10m", group="f"),
    )
    edges = (
        Edge(source="s", target="f"),
        Edge(source="d", target="h", label="yes"),
        Edge(source="f", target="d", label="is said by the frame"),
        Edge(source="f", target="s", style="dashed"),
        Edge(source="h", target="s", style="dotted"),
    )
    assert draw_mermaid(Graph(nodes=nodes, edges=edges)).splitlines() == [
        "flowchart TD",
        '  n0(["s<br/>start"])',
        '  subgraph n1["f"]',
        "    direction TB",
        '    n2{"d"}',
        '    n3{{"h<br/>10m"}}',
        "  end",
        "  n0 --> n1",
        '  n2 -->|"yes"| n3',
        "  n1 -.-> n0",
        "  n3 -.-> n0",
        "  linkStyle 3 stroke-dasharray:1 4",
    ]


# ------------------------------------------------------------------------------------------------ SVG


def boxes_of(drawn: Graph) -> tuple[Shape, dict[str, Box], Any]:
    shape = Shape(drawn)
    sizes = dict.fromkeys(shape.nodes, (80.0, 30.0))
    layout = layout_of(shape, sizes, lambda edge: (8.0 * len(edge.label), 16.0) if edge.label else (0.0, 0.0))
    return shape, layout.boxes, layout


def test_the_picture_follows_light_and_dark_and_has_no_script() -> None:
    drawn = draw_svg(Graph(title="<t> & co", nodes=(Node(id="a", label='"<script>"'),)))
    assert "prefers-color-scheme:dark" in drawn
    assert "<script" not in drawn
    found = ET.fromstring(drawn)
    assert next(found.iter("{http://www.w3.org/2000/svg}title")).text == "<t> & co"


def test_chinese_text_has_room() -> None:
    def width(label: str) -> float:
        drawn = ET.fromstring(draw_svg(Graph(nodes=(Node(id="a", label=label),))))
        [box] = [one for one in drawn.iter("{http://www.w3.org/2000/svg}rect") if one.get("class") == "box"]
        return float(box.get("width") or 0)

    assert width("数据处理工作流程") >= 8 * 13 + 16
    assert width("数据处理工作流程") > width("abcdefgh") * 1.3


def test_edges_go_down_and_those_that_lead_back_have_lanes() -> None:
    shape, boxes, layout = boxes_of(graph("a>b b>c c>a:again"))
    assert boxes["a"].bottom < boxes["b"].y < boxes["b"].bottom < boxes["c"].y
    [lane] = layout.lanes
    assert shape.edges[lane].label == "again"
    assert max(x for x, _ in layout.ways[lane]) > max(box.x + box.width for box in boxes.values())


# ------------------------------------------------------------------------------------------------ any graph

NASTY = st.text(max_size=12) | st.sampled_from(
    ["end", "a\x00b", "x\ud800y", "数据", '"]', "\u202e", "\ufffe", "A" * 200]
)
IDS = st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"])
GRAPHS = st.builds(
    Graph,
    title=NASTY,
    nodes=st.lists(
        st.builds(
            Node,
            id=IDS,
            label=NASTY,
            kind=NASTY,
            detail=NASTY,
            shape=st.sampled_from(["box", "rounded", "diamond", "hexagon", "odd"]),
            group=IDS | st.just(""),
        ),
        max_size=10,
    ).map(tuple),
    edges=st.lists(
        st.builds(Edge, source=IDS, target=IDS, label=NASTY, style=st.sampled_from(["solid", "dashed", "dotted"])),
        max_size=14,
    ).map(tuple),
)


@settings(max_examples=150, deadline=None)
@given(GRAPHS, st.sampled_from([0, 30, 60, 120]))
def test_any_graph_is_drawn_with_all_its_nodes_within_the_width(drawn: Graph, width: int) -> None:
    marked = Graph(
        title=drawn.title,
        nodes=tuple(Node(id=n.id, label=f"<{n.id}>{n.label}", group=n.group, shape=n.shape) for n in drawn.nodes),
        edges=drawn.edges,
    )
    lines = text(marked, width=width)
    if not width:
        for node in drawn.nodes:
            own = [line for line in lines if re.match(rf"[│├└┄─┌ ]*[□●◇⬡┌] <{node.id}>", line)]
            assert len(own) == 1
    else:
        assert all(display_width(line) <= width for line in lines)


@settings(max_examples=150, deadline=None)
@given(GRAPHS)
def test_any_graph_is_well_formed_svg_with_all_its_nodes(drawn: Graph) -> None:
    found = ET.fromstring(draw_svg(drawn).encode())
    shown = [one for one in found.iter() if (one.get("class") or "").split()[:1] in (["box"], ["frame"])]
    assert len(shown) == len(Shape(drawn).nodes)


@settings(max_examples=150, deadline=None)
@given(GRAPHS)
def test_any_graph_is_mermaid_of_plain_lines(drawn: Graph) -> None:
    lines = draw_mermaid(drawn).encode().decode().splitlines()
    body = lines[lines.index("flowchart TD") + 1 :]
    quoted = r'"[^"`<>%;]*(?:#\d+;[^"`<>%;]*|#nbsp;|<br/>[^"`<>%;]*)*"'
    allowed = [
        rf"n\d+(\[{quoted}\]|\(\[{quoted}\]\)|\{{{quoted}\}}|\{{\{{{quoted}\}}\}})",
        rf"subgraph n\d+\[{quoted}\]",
        "direction TB|end",
        rf"n\d+ (-->|-\.->)(\|{quoted}\|)? n\d+",
        r"linkStyle [\d,]+ stroke-dasharray:1 4",
    ]
    for line in body:
        assert any(re.fullmatch(one, line.strip()) for one in allowed), line


@settings(max_examples=100, deadline=None)
@given(GRAPHS)
def test_boxes_do_not_overlap_and_frames_hold_what_lies_in_them(drawn: Graph) -> None:
    shape, boxes, layout = boxes_of(drawn)
    assert set(boxes) == set(shape.nodes)
    for inside in shape.children.values():
        for number, one in enumerate(inside):
            for other in inside[number + 1 :]:
                a, b = boxes[one], boxes[other]
                apart = (
                    a.x + a.width <= b.x + 0.1
                    or b.x + b.width <= a.x + 0.1
                    or a.bottom <= b.y + 0.1
                    or b.bottom <= a.y + 0.1
                )
                assert apart, (one, other)
    for key, node in shape.nodes.items():
        outer = boxes[node.group] if node.group else Box(0, 0, layout.width, layout.height)
        box = boxes[key]
        assert outer.x - 0.1 <= box.x
        assert box.x + box.width <= outer.x + outer.width + 0.1
        assert outer.y - 0.1 <= box.y
        assert box.bottom <= outer.bottom + 0.1


def test_long_and_deep_graphs_are_drawn() -> None:
    count = 3000
    long = graph(" ".join(f"n{n}>n{n + 1}" for n in range(count)))
    assert len(text(long)) == 2 * count + 1
    assert draw_mermaid(long).count("-->") == count
    deep = graph("n0>z", frames={f"n{n + 1}": f"n{n}" for n in range(150)})
    for width in (0, 80):
        assert draw_text(deep, width=width)
    assert ET.fromstring(draw_svg(deep)) is not None
    nested = graph(" ".join(f"b{n}>x{n}:p b{n}>b{n + 1}:q x{n}>j{n} b{n + 1}>j{n}:r" for n in range(200)))
    assert "b199" in draw_text(nested, width=80)


def test_the_terminal_gets_no_control_characters() -> None:
    drawn = draw_text(Graph(title="t\x1b[2J", nodes=(Node(id="a", label="a\x1b]0;x\x07", detail="\u202e"),)))
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", drawn)
