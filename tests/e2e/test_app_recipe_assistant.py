"""The recipe assistant of docs/examples/quickstart: agent, tool, memory and workflow, on a copy of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from example_project import copied, module_of, served
from scripted_openai import Call, text_of


async def test_agent_looks_recipes_up_and_remembers_the_conversation(kitchen: Any) -> None:
    answers = (
        Call("recipe-finder", {"ingredients": ["鸡蛋", "米饭"]}),
        "You can make egg fried rice; scallions are missing.",
        "Then take an onion.",
    )
    talk = ("run", "agent/recipe-assistant", "-n", "cooking", "--thread", "dinner")
    async with served(kitchen, "quickstart", *answers, allow=["recipes"]) as recipes:
        first = await recipes(*talk, "What can I make of eggs and rice?")
        assert first.out.strip() == "You can make egg fried rice; scallions are missing."
        second = await recipes(*talk, "I have none.")
        assert second.out.strip() == "Then take an onion."
        looked, worded, later = recipes.asked
        assert [tool["function"]["name"] for tool in looked["tools"]] == ["recipe-finder"]
        assert "蛋炒饭" in worded["messages"][-1]["content"]
        assert "What can I make of eggs and rice?" in text_of(later)
        # Each turn has its vectors, to be recalled by.
        assert {"What can I make of eggs and rice?", "I have none."} <= set(recipes.server.embedded)


async def test_workflow_gives_what_the_agent_says_to_the_tool(kitchen: Any) -> None:
    async with served(kitchen, "quickstart", "鸡蛋、番茄、葱", allow=["recipes"]) as recipes:
        found = await recipes.json("run", "workflow/recipe-suggestion", "我有鸡蛋、番茄和葱，请只写出这些食材的名称。")
        assert [recipe["recipe"][:5] for recipe in found[:2]] == ["番茄蛋花汤", "番茄炒蛋 "]
        assert found[0]["missing"] == []
        (asked,) = recipes.asked
        assert asked["messages"][-1]["content"] == "我有鸡蛋、番茄和葱，请只写出这些食材的名称。"


@pytest.mark.parametrize(
    ("ingredients", "first", "missing"),
    [
        (["鸡蛋", "番茄"], "番茄炒蛋 (scrambled eggs with tomato)", []),
        ("eggs and tomatoes", "番茄炒蛋 (scrambled eggs with tomato)", []),
        ("There is some tofu, and green pepper.", "家常豆腐 (home-style tofu)", []),
        (["beef"], "番茄牛腩 (beef brisket with tomato)", ["tomato"]),
    ],
)
def test_recipes_that_use_most_come_first(kitchen: Any, ingredients: Any, first: str, missing: list[str]) -> None:
    with module_of(copied(kitchen, "quickstart").path, "recipes") as recipes:
        found = recipes.find_recipes(ingredients)
    assert (found[0]["recipe"], found[0]["missing"]) == (first, missing)
    assert len(found) <= 3


def test_nothing_is_found_for_what_nobody_cooks(kitchen: Any) -> None:
    with module_of(copied(kitchen, "quickstart").path, "recipes") as recipes:
        assert recipes.find_recipes(["gravel"]) == []


@pytest.mark.model_slow
def test_recipes_are_suggested_by_the_local_model(kitchen: Any, weights: Path) -> None:
    recipes = copied(kitchen, "quickstart")
    recipes.configure(tools={"python": {"allow": ["recipes"]}}, model="local/auto")
    assert recipes("apply", "-f", ".").code == 0
    done = recipes("run", "workflow/recipe-suggestion", "我有鸡蛋、番茄和葱，请只写出这些食材的名称。")
    assert done.code == 0, done.err
    assert any("番茄" in recipe["recipe"] or "蛋" in recipe["recipe"] for recipe in json.loads(done.out))
