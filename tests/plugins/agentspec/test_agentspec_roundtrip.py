"""Whatever is exported comes back: manifests at random that refer to each other or to what is not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kastra_core.api.meta import JsonObject
from kastra_core.migration import read_text
from kastra_plugin_agentspec.kept import difference, restore

NAMES = st.sampled_from(["a", "b", "find-it", "x1", "long.name", "start", "end"])
SPACES = st.sampled_from([None, None, None, "office"])
TEXTS = st.one_of(
    st.sampled_from(
        ["", "Help.", "Say {{name}} to {{ name }}", "{x} {{ {{y", "a\nb\n", " '\"\\ ", "ä 你 {{größe}}", "null", "1"]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Co", "Cn", "Zl", "Zp")), max_size=12),
)
EXPRESSIONS = st.sampled_from(
    [
        *("workflow.input", "workflow.input.q", 'workflow.input["a b"]', "steps.s0.output", "steps.s1.output.value"),
        *(
            'steps["s-2"].output',
            "steps.s3.output",
            "item",
            "index",
            "size(steps.s0.output) > 3",
            '"}}" + "{{"',
            "data.x",
        ),
    ]
)
TEMPLATES = st.lists(st.one_of(TEXTS, EXPRESSIONS.map(lambda one: f"{{{{ {one} }}}}")), max_size=3).map("".join)
DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2, allow_nan=False), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["a", "b c", "id"]), inner, max_size=2)
    ),
    max_leaves=4,
)
SCHEMAS = st.recursive(
    st.one_of(
        st.just({}),
        st.builds(
            lambda kind, more: {"type": kind, **more},
            st.sampled_from(["string", "integer", "boolean", "null"]),
            st.fixed_dictionaries(
                {}, optional={"default": DATA, "description": TEXTS, "title": TEXTS, "enum": st.just(["a"])}
            ),
        ),
        st.just({"type": ["string", "null"]}),
        st.just({"oneOf": [{"type": "string"}]}),
        st.just({"$ref": "#/$defs/x", "$defs": {"x": {}}}),
    ),
    lambda inner: st.one_of(
        st.builds(lambda one: {"type": "array", "items": one}, inner),
        st.builds(
            lambda held, needed: {"type": "object", "properties": held, "required": sorted(held)[:needed]},
            st.dictionaries(st.sampled_from(["q", "value", "a b", "x.y"]), inner, max_size=3),
            st.integers(0, 2),
        ),
    ),
    max_leaves=4,
)


def some(**fields: Any) -> st.SearchStrategy[JsonObject]:
    """An object with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def references(kind: str) -> st.SearchStrategy[Any]:
    plain = NAMES.map(lambda name: name.replace(".", "-"))
    return st.one_of(
        plain,
        plain.map(lambda name: f"office.{name}"),
        plain.map(lambda name: f"{kind}/{name}"),
        st.builds(lambda name, alias: {"name": alias, "ref": f"{kind}/{name}"}, plain, st.sampled_from(["p", "other"])),
        st.builds(lambda name: {"name": name, "namespace": "office"}, NAMES),
    )


MODELS = st.one_of(
    st.sampled_from(["openai/gpt-4o", "ollama/qwen3:4b", "local/auto", "vllm/m", "anthropic/claude"]),
    st.builds(
        lambda provider, more: {"provider": provider, "name": "m", **more},
        st.sampled_from(["openai", "gemini", "openai-compatible", "vllm", "acme"]),
        some(
            parameters=st.dictionaries(
                st.sampled_from(["temperature", "topP", "maxTokens", "seed", "stop", "top_p"]), DATA, max_size=3
            ),
            temperature=st.floats(0, 1),
            maxTokens=st.integers(1, 9),
            apiBase=st.sampled_from(["http://x/v1", "https://y.org"]),
            apiKey=st.just({"valueFrom": {"env": "KEY"}}),
            timeoutS=st.integers(1, 9),
            options=st.just({"a": 1}),
        ),
    ),
)
AGENTS = some(
    instructions=TEXTS,
    description=TEXTS,
    model=MODELS,
    tools=st.one_of(
        st.lists(st.one_of(references("tools"), references("agents")), max_size=3),
        st.dictionaries(st.sampled_from(["one", "two"]), references("tools"), max_size=2),
    ),
    toolChoice=st.just("none"),
    output=some(schema=SCHEMAS, maxRepairs=st.integers(0, 2)),
    memory=some(
        type=st.sampled_from(["buffer", "summary"]),
        maxMessages=st.integers(1, 50),
        summary=some(model=MODELS, instructions=TEXTS),
        enabled=st.booleans(),
    ),
    limits=some(maxSteps=st.integers(1, 9)),
)
PARAMETERS = st.sampled_from(["v", "{q}", "{value} of {q}", "{user-id}", "{ x }"])
TOOLS = st.one_of(
    some(
        description=TEXTS, inputSchema=SCHEMAS, outputSchema=SCHEMAS, timeout=st.just("5s"), idempotent=st.booleans()
    ).map(lambda more: {"type": "python", "python": {"function": "m.n:f"}, **more}),
    st.builds(
        lambda http, more: {"type": "http", "http": {"url": "https://x.org/{q}", **http}, **more},
        some(
            method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
            query=st.dictionaries(
                st.sampled_from(["a", "b"]),
                st.one_of(PARAMETERS, st.integers(0, 3), st.just({"valueFrom": {"env": "E"}})),
                max_size=2,
            ),
            headers=st.dictionaries(
                st.sampled_from(["X-A", "Content-Type"]),
                st.one_of(PARAMETERS, st.just({"valueFrom": {"env": "E"}})),
                max_size=2,
            ),
            body=st.one_of(st.sampled_from(["json", "form", "none"]), st.just({"a": "{q}", "b": [1, "x{value}"]})),
            response=st.just("text"),
            auth=st.just({"bearer": {"valueFrom": {"env": "E"}}}),
        ),
        some(description=TEXTS, inputSchema=SCHEMAS, outputSchema=SCHEMAS),
    ),
)
MEMBERS = st.one_of(
    references("agents"), st.builds(lambda name: {"name": name, "examples": ["x"], "description": "y"}, NAMES)
)
NETWORKS = some(
    instructions=TEXTS,
    description=TEXTS,
    agents=st.lists(MEMBERS, max_size=3),
    workflows=st.lists(references("workflows"), max_size=2),
    tools=st.lists(references("tools"), max_size=2),
    networks=st.lists(references("networks"), max_size=1),
    router=some(model=MODELS, instructions=TEXTS, maxSteps=st.integers(1, 9), fallback=NAMES),
    state=st.one_of(st.just(True), some(ttl=st.just(60))),
)


PLAIN = (
    "agent",
    "tool",
    "workflow",
    "network",
    "set",
    "suspend",
    "sleep",
    "waitForEvent",
    "operation",
    "succeed",
    "fail",
)
HOLDERS = ("branch", "parallel", "foreach", "loop", "all")
OTHERS: dict[str, list[Any]] = {
    "sleep": ["1s", 3],
    "waitForEvent": ["go", {"name": "go"}],
    "operation": ["state.update"],
    "fail": ["no", {"reason": "No", "message": "x"}],
}


@st.composite
def workflows(draw: st.DrawFn) -> JsonObject:
    count = iter(range(1000))

    def values() -> Any:
        return draw(
            st.one_of(
                TEMPLATES,
                st.dictionaries(st.sampled_from(["q", "value"]), st.one_of(TEMPLATES, DATA), max_size=2),
                DATA,
                st.just({"type": "user-input"}),
                st.just({"from": "x"}),
            )
        )

    def block(depth: int, least: int = 1) -> list[JsonObject]:
        size = draw(st.integers(least, 3))
        ids = [f"s-{at}" if (at := next(count)) == 2 else f"s{at}" for _ in range(size)]
        return [step(ident, depth, ids[at + 1 :]) for at, ident in enumerate(ids)]

    def step(ident: str, depth: int, later: list[str]) -> JsonObject:
        body = draw(st.sampled_from([*PLAIN, *(HOLDERS if depth else ())]))
        out: JsonObject = {"id": ident}
        if body in ("agent", "tool", "workflow", "network"):
            out[body] = draw(references(f"{body}s"))
            if draw(st.booleans()):
                out["arguments" if body == "tool" and draw(st.booleans()) else "input"] = values()
        elif body == "branch":
            cases = []
            for at in range(draw(st.integers(1, 3))):
                case: JsonObject = {
                    "when": draw(
                        st.sampled_from(
                            [f'steps.s0.output == "{at}"', "size(x) > 1", f"steps.s0.output in ['a{at}', 'b{at}']"]
                        )
                    )
                }
                if draw(st.booleans()):
                    case["name"] = draw(st.sampled_from([f"case{at}", "default", "a b"]))
                if draw(st.booleans()) and later:
                    case["next"] = draw(st.sampled_from([*later, "END"]))
                elif draw(st.booleans()):
                    case["steps"] = block(depth - 1)
                cases.append(case)
            is_list: bool = draw(st.booleans())
            out["branch"] = cases if is_list else {"cases": cases}
            if isinstance(out["branch"], dict) and draw(st.booleans()):
                target: str = draw(st.sampled_from([*later, "END"]))
                out["branch"]["default"] = target if draw(st.booleans()) else {"steps": block(depth - 1)}
        elif body == "all":
            cases = [
                {"name": f"c{at}", "when": "true", "steps": block(depth - 1)} for at in range(draw(st.integers(1, 2)))
            ]
            out["branch"] = {"mode": "all", "cases": cases}
            if draw(st.booleans()):
                out["branch"]["default"] = {"steps": block(depth - 1)}
        elif body == "parallel":
            branches: list[JsonObject] = [
                {"name": f"b {at}", "steps": block(depth - 1)} if draw(st.booleans()) else block(depth - 1)[0]
                for at in range(draw(st.integers(1, 3)))
            ]
            out["parallel"] = branches if draw(st.booleans()) else {"branches": branches, "onFailure": "cancel"}
        elif body == "foreach":
            out["foreach"] = {
                "items": values(),
                "steps": block(depth - 1),
                **draw(some(**{"as": st.just("one"), "concurrency": st.integers(1, 4), "onError": st.just("skip")})),
            }
        elif body == "loop":
            out["loop"] = {draw(st.sampled_from(["while", "until"])): "iteration < 3", "steps": block(depth - 1)}
        elif body == "suspend":
            out["suspend"] = draw(some(message=TEMPLATES, schema=SCHEMAS))
        elif body in ("set", "succeed"):
            out[body] = draw(
                st.one_of(TEMPLATES, st.dictionaries(st.sampled_from(["value", "q"]), TEMPLATES, max_size=2), DATA)
            )
        else:
            out[body] = draw(st.sampled_from(OTHERS[body]))
        if later and draw(st.integers(0, 3)) == 0:
            out["next"] = draw(st.sampled_from([*later, "END"]))
        return {
            **out,
            **draw(
                some(
                    name=TEXTS,
                    description=TEXTS,
                    retry=st.just(2),
                    timeout=st.just("5s"),
                    output=st.just({"type": "x"}),
                    onFailure=st.one_of(
                        st.just({"output": 1}),
                        st.sampled_from([*later, "END"]),
                        st.just({"next": "END", "steps": [{"id": "h", "set": 1}]}),
                    ),
                )
            ),
        }

    more = draw(
        some(
            inputSchema=SCHEMAS,
            outputSchema=SCHEMAS,
            output=st.one_of(TEMPLATES, DATA),
            description=TEXTS,
            timeout=st.just("1h"),
            schedule=st.just({"cron": "0 0 * * *"}),
        )
    )
    return {"steps": block(2), **more}


SPECS = {"Agent": AGENTS, "Tool": TOOLS, "Network": NETWORKS, "Workflow": workflows()}


@st.composite
def resources(draw: st.DrawFn) -> list[JsonObject]:
    out: dict[Any, JsonObject] = {}
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["Workflow", *SPECS]))
        metadata: JsonObject = {"name": draw(NAMES)}
        space = draw(SPACES)
        if space:
            metadata["namespace"] = space
        if draw(st.booleans()):
            metadata["labels"] = {"app": "x"}
        key = (kind, metadata["name"], space)
        out[key] = {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": metadata, "spec": draw(SPECS[kind])}
    return list(out.values())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(resources())
def test_any_resources_come_back(round_trip: Callable[..., Any], given: list[JsonObject]) -> None:
    round_trip(given)


ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "docs/examples").rglob("*.yaml"))
MISSION = ROOT / "../shared/spec/mission.zh.md"


def manifests_of(text: str) -> list[JsonObject]:
    """The manifests of our kinds in a text of YAML."""
    found = [document.data for document in read_text(text, "example.yaml")]
    return [one for one in found if isinstance(one, dict) and one.get("kind") in SPECS and one.get("spec")]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_come_back(path: Path, round_trip: Callable[..., Any]) -> None:
    found = manifests_of(path.read_text())
    if found:
        round_trip(found)


@pytest.mark.skipif(not MISSION.exists(), reason="the text is not there")
def test_the_manifests_of_the_mission_come_back(round_trip: Callable[..., Any]) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", MISSION.read_text(), re.DOTALL)
    found = [one for block in blocks for one in manifests_of(block)]
    assert {one["kind"] for one in found} >= {"Agent", "Workflow", "Network"}
    for one in found:
        round_trip([one])


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.sampled_from(["x", "y"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "id"]), inner, max_size=3),
        st.lists(st.builds(lambda ident, more: {"id": ident, "v": more}, st.sampled_from("pqr"), inner), max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(JSON, JSON)
def test_a_note_turns_what_is_said_into_what_was_wanted(wanted: Any, said: Any) -> None:
    assert (
        repr(restore(difference(wanted, said), said)) == repr(wanted)
        or restore(difference(wanted, said), said) == wanted
    )


@settings(max_examples=80, deadline=None)
@given(JSON, st.dictionaries(st.sampled_from(["a", "b"]), JSON, min_size=1), st.integers(10, 12))
def test_an_edited_value_is_kept_whatever_the_note_says(wanted: Any, said: Any, value: int) -> None:
    if not isinstance(wanted, dict):
        wanted = {"a": wanted}
    key = sorted(said)[0]
    assert restore(difference(wanted, said), {**said, key: value})[key] == value
