"""The examples of networks in the documentation, on copies: what their page says to type works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest

from kastra_core import load_from_string
from kastra_core.config import Config, ProviderSettings

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "networks"
THREAD = ("network/research-network", "--thread", "drinks")

ROUTED = (
    ("我的账单有问题，能帮我解决吗？", "billing"),
    ("Why was I charged so much on invoice R-1002?", "billing"),
    ("My router shows an error and the connection is broken.", "technical"),
    ("你们的营业时间是几点？", "greeter"),
)
BEGINNINGS = {
    "billing": "You answer questions about bills",
    "technical": "You solve technical problems",
    "greeter": "You welcome customers",
}
"""How the instructions of the agents begin."""


def project(kitchen: Any, name: str, module: str, **settings: Any) -> Any:
    """The project of an example, applied."""
    for path in kitchen.path.iterdir():
        if path.is_file():
            path.unlink()
    shutil.copytree(
        EXAMPLES / name, kitchen.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".kastra", "__pycache__")
    )
    kitchen.configure(tools={"python": {"allow": [module]}}, **settings)
    done = kitchen("apply", "-f", ".")
    assert done.code == 0, done.err
    assert "not ready" not in done.out
    return kitchen


def to(server: Any) -> dict[str, Any]:
    """Configuration that has a server answer for every model; embeddings stay the local ones."""
    return {"providers": {"openai": {"apiBase": server.base_url}}, "defaultModel": "openai/m"}


@pytest.mark.model
def test_support_network_asks_the_agent_that_the_question_is_for(kitchen: Any, mock_openai: Any) -> None:
    support = project(kitchen, "support", "invoices", **to(mock_openai))
    for number, (ask, member) in enumerate(ROUTED):
        done = support("run", "network/customer-support", "--name", f"q{number}", ask)
        assert (done.code, done.out) == (0, "Hello from the mock.\n"), done.err
        assert mock_openai.last_chat()["messages"][0]["content"].startswith(BEGINNINGS[member])
    assert "billing" in support("explain", "run/q0").out


@pytest.mark.model
def test_billing_agent_looks_the_invoice_up(kitchen: Any, mock_openai: Any) -> None:
    support = project(kitchen, "support", "invoices", **to(mock_openai))
    ask = 'Why was I charged so much on my bill? CALL(invoice-lookup:{"number":"r-1002"}) SAY(79.80)'
    done = support("run", "network/customer-support", "-o", "json", ask)
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert (answer["output"], answer["usage"]["toolCalls"]) == ("79.80", 1)
    assert "charged again by mistake" in mock_openai.last()["messages"][-1]["content"]


@pytest.mark.model
def test_members_of_the_research_network_share_what_they_find(kitchen: Any, mock_openai: Any) -> None:
    research = project(kitchen, "research", "archive", **to(mock_openai))
    found = research("run", *THREAD, "Find sources about tea and coffee")
    assert found.code == 0, found.err
    assert "tea" in found.out
    assert "cocoa" not in found.out
    compared = research("run", *THREAD, "Which of them has more caffeine? Compare the numbers.")
    assert (compared.code, compared.out) == (0, "coffee 80 mg, tea 30 mg\n"), compared.err
    summary = research("run", *THREAD, "Please summarise the findings")
    assert (summary.code, summary.out) == (0, "Hello from the mock.\n"), summary.err
    told = mock_openai.last()["messages"][-1]["content"]
    assert "Roasted seeds of Coffea." in told
    assert "coffee 80 mg, tea 30 mg" in told
    # Another conversation knows nothing of it.
    other = research("run", "network/research-network", "--thread", "other", "Compare the numbers")
    assert other.out == "there is nothing to compare yet\n"


def test_research_network_is_drawn(kitchen: Any) -> None:
    done = project(kitchen, "research", "archive")("graph", "network/research-network")
    assert done.code == 0, done.err
    for member in ("search-agent", "analysis-agent", "summary-agent"):
        assert member in done.out


@pytest.mark.model
async def test_quick_start_of_the_guide_finds_the_right_agent(mock_openai: Any, here: None) -> None:
    text = (EXAMPLES.parents[1] / "guide" / "networks.md").read_text(encoding="utf-8")
    _, _, quick_start = text.partition("## Quick start")
    manifests = quick_start.partition("```yaml\n")[2].partition("```")[0]
    providers = {"openai": ProviderSettings(api_base=mock_openai.base_url)}
    config = attrs.evolve(Config.load(Path.cwd()), providers=providers, default_model="openai/m")
    async with await load_from_string(manifests, config=config) as runtime:
        network = runtime.get_network("support")
        for ask, member in (*ROUTED[:1], *ROUTED[2:3]):
            assert tuple((await network.generate(ask)).members) == (member,)


@pytest.mark.model_slow
def test_support_network_answers_without_a_key(kitchen: Any, weights: Path) -> None:
    support = project(kitchen, "support", "invoices")
    done = support("run", "network/customer-support", "--name", "bill", "我的账单有问题，能帮我解决吗？")
    assert done.code == 0, done.err
    assert done.out.strip()
    assert "billing" in support("explain", "run/bill").out
