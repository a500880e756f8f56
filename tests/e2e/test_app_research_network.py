"""The research network of docs/examples/research-network: shared state, both ways of routing, and the fixed way."""

from __future__ import annotations

from typing import Any

import pytest

from example_project import copied, module_of, served
from scripted_openai import Call

ARCHIVE: dict[str, Any] = {"allow": ["archive"]}
RANKING = "Most caffeine mg per cup: Mate (40), Cocoa (5). Most water celsius: Cocoa (80), Mate (75)."


def chosen(member: str, *, done: bool) -> dict[str, Any]:
    """What a router's model answers."""
    return {"reason": f"{member} is next", "agent": member, "input": "", "done": done}


def said(body: dict[str, Any]) -> str:
    """The last message of a request: here the result of a tool."""
    return str(body["messages"][-1]["content"])


async def test_model_that_routes_calls_one_member_after_the_other(kitchen: Any) -> None:
    answers = (
        chosen("search-agent", done=False),
        Call("find-sources", {"question": "mate and cocoa"}),
        "Both are there.",
        chosen("analysis-agent", done=False),
        Call("compare-figures", {"question": "which has more?"}),
        "Mate has more.",
        chosen("summary-agent", done=True),
        Call("read-notes"),
        "Mate and cocoa are drinks. Mate has more caffeine.",
    )
    async with served(kitchen, "research-network", *answers, **ARCHIVE) as research:
        run = ("run", "network/research-network", "--thread", "beans", "--name", "all")
        done = await research(*run, "Research mate and cocoa.")
        assert done.out.strip() == "Mate and cocoa are drinks. Mate has more caffeine."
        demanded = [body["tool_choice"]["function"]["name"] for body in research.asked if "tool_choice" in body]
        assert demanded == ["find-sources", "compare-figures", "read-notes"]
        # The comparison is of what the search had found, the summary of both: state, and no words of a model.
        assert said(research.asked[5]) == RANKING
        assert "Mate: Dried and chopped leaves" in said(research.asked[8])
        assert RANKING in said(research.asked[8])
        told = (await research("explain", "run/all")).out
        assert [told.count(f"-> {agent}-agent:") for agent in ("search", "analysis", "summary")] == [1, 1, 1]


async def test_conversations_do_not_share_what_they_found(kitchen: Any) -> None:
    answers = (
        chosen("search-agent", done=True),
        Call("find-sources", {"question": "tea"}),
        "Tea is there.",
        chosen("analysis-agent", done=True),
        Call("compare-figures", {"question": "mate and cocoa"}),
        "Mate has more.",
    )
    async with served(kitchen, "research-network", *answers, **ARCHIVE) as research:
        await research("run", "network/research-network", "--thread", "one", "Find tea")
        await research("run", "network/research-network", "--thread", "two", "Compare mate and cocoa")
        assert said(research.asked[5]) == RANKING, "nothing was found in this conversation, so it is looked up"


async def test_agent_alone_goes_on_without_a_state(kitchen: Any) -> None:
    answers = (Call("find-sources", {"question": "mate"}), "Mate is a holly.")
    async with served(kitchen, "research-network", *answers, **ARCHIVE) as research:
        done = await research("run", "agent/search-agent", "What is mate?")
        assert done.out.strip() == "Mate is a holly."


async def test_member_that_fails_is_replaced_by_the_fixed_way(kitchen: Any) -> None:
    answers = (chosen("nobody", done=True), chosen("nobody", done=True), "Mate is a holly.")
    async with served(kitchen, "research-network", *answers, **ARCHIVE) as research:
        done = await research("run", "network/research-network", "What is mate?")
        assert done.out.splitlines()[:2] == ["Mate is a holly.", 'Sources: ["Mate"]']


async def test_report_ends_although_no_model_answers(kitchen: Any) -> None:
    async with served(kitchen, "research-network", 400, **ARCHIVE) as research:
        done = await research("run", "workflow/research-report", "mate or cocoa?")
        assert done.out.splitlines() == [
            "The notes could not be summed up.",
            'Sources: ["Mate","Cocoa"]',
            RANKING,
        ]


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("How long before bed may I drink coffee?", "sleep"),
        ("绿茶的水温", "green-tea"),
        ("红茶", "black-tea"),
        ("咖啡因对睡眠的影响", "sleep"),
        ("espressos", "espresso"),
        ("Which leaves are a holly?", "mate"),
    ],
)
def test_search_finds_the_document(kitchen: Any, question: str, first: str) -> None:
    with module_of(copied(kitchen, "research-network").path, "archive") as archive:
        assert archive.search(question)["sources"][0]["id"] == first


def test_search_says_when_there_is_nothing(kitchen: Any) -> None:
    with module_of(copied(kitchen, "research-network").path, "archive") as archive:
        found = archive.search("asparagus")
        assert (found["sources"], found["answer"][:30]) == ([], "The archive has nothing about ")
        assert archive.compare([])["rankings"] == {}


def test_figures_are_ranked(kitchen: Any) -> None:
    with module_of(copied(kitchen, "research-network").path, "archive") as archive:
        assert archive.compare(archive.search("mate and cocoa")["sources"])["answer"] == RANKING
