"""The System as the mission writes it, from `kastra apply` to its end, and Systems on the command line."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kastra_core import load_from_path, load_from_string
from kastra_core.cli import main
from kastra_core.config import Config
from kastra_core.errors import ValidationError
from kastra_core.manifests import parse

MISSION = """\
apiVersion: mastra.ai/v1
kind: System
metadata:
  name: customer-support
spec:
  agents:
    - name: support-agent
      spec:
        instructions: "你是客户支持代表..."
        model:
          provider: anthropic
          name: claude-3-opus
    - name: escalation-agent
      spec:
        instructions: "你是处理复杂问题的专家..."
  workflows:
    - name: support-flow
      spec:
        initialStep: initial-response
        steps:
          - id: initial-response
            agent: support-agent
            # 更多步骤...
"""


class Shown(NamedTuple):
    code: int
    out: str
    err: str


Kastra = Callable[..., Shown]


@pytest.fixture
def kastra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_openai: Any, capsys: pytest.CaptureFixture[str]
) -> Kastra:
    """The command line in a project whose models are a server on the loopback device."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", mock_openai.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)

    def call(*arguments: str, stdin: str | None = None) -> Shown:
        if stdin is not None:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        code = main(arguments)
        return Shown(code, *capsys.readouterr())

    return call


def names(kastra: Kastra, *kinds: str) -> Sequence[str]:
    return [line.split(".mastra.ai/")[-1] for line in kastra("get", ",".join(kinds), "-o", "name").out.split()]


def test_the_mission_s_system_from_apply_to_delete(kastra: Kastra, tmp_path: Path, mock_openai: Any) -> None:
    file = tmp_path / "system.yaml"
    file.write_text(MISSION, encoding="utf-8")
    assert kastra("validate", "-f", "system.yaml").out == "1 resource is valid, with 3 inside\n"
    applied = kastra("apply", "-f", "system.yaml")
    assert applied.code == 0
    assert applied.out.startswith("system.mastra.ai/customer-support created (not ready: ModelMissingKey: ")
    assert sorted(names(kastra, "agents", "workflows")) == ["escalation-agent", "support-agent", "support-flow"]
    # the key of the one model is missing: a run that brings a model is not held up
    ran = kastra("run", "workflow/support-flow", "--model", "openai/gpt-4o", "我的订单在哪里", "-o", "json")
    assert ran.code == 0, ran.err
    asked = mock_openai.last()
    assert (asked["messages"][0]["content"], asked["messages"][-1]["content"]) == (
        "你是客户支持代表...",
        "我的订单在哪里",
    )
    shown = kastra("get", "system/customer-support", "-o", "yaml").out
    assert "你是处理复杂问题的专家..." in shown
    assert "instructions: 你是客户支持代表..." in kastra("get", "agent/support-agent", "-o", "yaml").out
    table = kastra("get", "systems").out.split()
    assert table[:5] == ["NAME", "RESOURCES", "READY", "REASON", "AGE"]
    assert table[7] == "False"
    assert kastra("diff", "-f", "system.yaml") == (0, "", "")
    flow = kastra("graph", "-f", "system.yaml", "workflow/support-flow").out
    assert flow == kastra("graph", "workflow/support-flow").out
    assert "initial-response" in flow
    assert "system.mastra.ai/customer-support unchanged" in kastra("apply", "-f", "system.yaml").out
    # an entry less
    text = MISSION.replace("    - name: escalation-agent\n      spec:\n", "").replace(
        '        instructions: "你是处理复杂问题的专家..."\n', ""
    )
    file.write_text(text, encoding="utf-8")
    gone = kastra("diff", "-f", "system.yaml")
    assert gone.code == 1
    assert "-    - name: escalation-agent" in gone.out.replace("-  - name", "-    - name")
    assert "(dry run)" in kastra("apply", "-f", "system.yaml", "--dry-run").out
    assert len(names(kastra, "agents")) == 2
    kastra("apply", "-f", "system.yaml")
    assert names(kastra, "agents") == ["support-agent"]
    # all of it
    assert "deleted" in kastra("delete", "system/customer-support").out
    assert names(kastra, "agents", "workflows", "systems") == []


def test_an_export_is_the_system_alone_and_applies_as_it_is(kastra: Kastra, tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(
        "apiVersion: mastra.ai/v1\nkind: Agent\nmetadata: {name: a}\nspec: {model: openai/gpt-4o}\n", encoding="utf-8"
    )
    (tmp_path / "system.yaml").write_text(
        "apiVersion: mastra.ai/v1\nkind: System\nmetadata: {name: s}\nspec: {include: [agent.yaml]}\n", encoding="utf-8"
    )
    assert "system.mastra.ai/s created\n" in kastra("apply", "-f", "system.yaml").out
    exported = kastra("export").out
    assert [document.data["kind"] for document in parse(exported)] == ["System"]
    assert "unchanged" in kastra("apply", "-f", "-", stdin=exported).out
    picture = kastra("graph", "system/s").out
    assert picture == kastra("graph", "-f", "system.yaml").out
    assert "a" in picture
    assert kastra("graph", "-f", "system.yaml", "system/s").out == picture
    # a file that is gone says so, and nothing is changed
    (tmp_path / "agent.yaml").rename(tmp_path / "agents.yaml")
    for command in ("apply", "validate", "diff"):
        refused = kastra(command, "-f", "system.yaml")
        assert refused.code not in (0, 1) or command != "diff"
        assert "system.yaml:4:18: spec.include[0]: 'agent.yaml': no such file or directory" in refused.err
        assert "did you mean 'agents.yaml'?" in refused.err
    assert names(kastra, "agents") == ["a"]
    # to delete it the files are not needed
    assert "deleted" in kastra("delete", "-f", "system.yaml").out
    assert names(kastra, "agents") == []


def test_a_mistake_inside_is_shown_with_its_line(kastra: Kastra, tmp_path: Path) -> None:
    (tmp_path / "system.yaml").write_text(MISSION.replace("agent: support-agent", "agnet: x"), encoding="utf-8")
    refused = kastra("apply", "-f", "system.yaml")
    assert refused.code != 0
    assert "system.yaml:22:20: System default/customer-support: spec.workflows[0].spec.steps[0].agnet: " in refused.err
    assert "nothing was written" in refused.err
    assert not (tmp_path / ".kastra").exists()


def test_orphaning_leaves_what_it_owned(kastra: Kastra, tmp_path: Path) -> None:
    (tmp_path / "system.yaml").write_text(MISSION, encoding="utf-8")
    kastra("apply", "-f", "system.yaml")
    assert "deleted" in kastra("delete", "system/customer-support", "--cascade", "orphan").out
    assert len(names(kastra, "agents", "workflows")) == 3


async def test_from_python_a_path_brings_its_files_and_a_text_cannot(stage: Any, tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text(
        "apiVersion: mastra.ai/v1\nkind: Agent\nmetadata: {name: a}\nspec: {model: fake/m, instructions: 您好}\n",
        encoding="utf-8",
    )
    text = "apiVersion: mastra.ai/v1\nkind: System\nmetadata: {name: s}\nspec: {include: [agents.yaml]}\n"
    (tmp_path / "system.yaml").write_text(text, encoding="utf-8")
    options = {"config": Config.load(tmp_path, env={}), "plugins": stage.plugins()}
    runtime = await load_from_path(tmp_path / "system.yaml", **options)
    async with runtime:
        system = runtime.get_system("s")
        assert [str(one.key) for one in await system.resources()] == ["Agent default/a"]
        assert await runtime.get_agent("a").execute("在吗") == "您好"
        await system.delete()
        assert (await runtime.client.list(runtime.registry.resolve("agents"))).items == ()
    with pytest.raises(ValidationError, match="this manifest is in no file"):
        await load_from_string(text, **options)
    stage.runtimes.append(await stage.runtime())
    with pytest.raises(ValidationError, match="was not read: this manifest did not come from a file"):
        await stage.runtimes[0].apply([parse(text)[0].data])
