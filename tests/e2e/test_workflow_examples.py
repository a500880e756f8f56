"""The examples of workflows in the documentation, on copies: what their page says to type works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "workflows"
OPEN = ("--set", "who=Ada", "--set", "amount=900", "--set", "what=a chair", "--name", "chair")


def project(kitchen: Any, name: str, module: str, **settings: Any) -> Any:
    """The project of an example, applied."""
    for path in kitchen.path.iterdir():
        if path.is_file():
            path.unlink()
    shutil.copytree(
        EXAMPLES / name, kitchen.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".kastra", "__pycache__")
    )
    kitchen.configure(tools={}, **settings)
    done = kitchen("config", "set", "tools.python.allow", module)
    assert done.code == 0, done.err
    done = kitchen("apply", "-f", ".")
    assert done.code == 0, done.err
    assert "not ready" not in done.out
    return kitchen


@pytest.fixture
def approval(kitchen: Any) -> Any:
    return project(kitchen, "approval", "expenses")


@pytest.fixture
def research(kitchen: Any) -> Any:
    return project(kitchen, "research", "library")


def ledger(approval: Any) -> list[Any]:
    """(who, amount) of each payment."""
    path = approval.path / "ledger.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [(entry["who"], entry["amount"]) for entry in map(json.loads, lines)]


def test_small_expense_is_paid_at_once(approval: Any) -> None:
    done = approval("run", "workflow/expense", "--set", "who=Ada", "--set", "amount=40", "--set", "what=books")
    assert (done.code, json.loads(done.out)) == (0, {"paid": True, "receipt": "R-0001"}), done.err
    assert ledger(approval) == [("Ada", 40)]


def test_large_expense_waits_for_somebody_and_is_paid_when_approved(approval: Any) -> None:
    asked = approval("run", "workflow/expense", *OPEN)
    assert (asked.code, asked.out) == (0, ""), asked.err
    assert "Suspended" in approval("get", "runs").out
    assert "Ada asks for 900 EUR for a chair." in approval("describe", "run/chair").out
    assert ledger(approval) == []
    done = approval("run", "resume", "run/chair", "--data", '{"approved": true}')
    assert (done.code, json.loads(done.out)) == (0, {"paid": True, "receipt": "R-0001"}), done.err
    assert ledger(approval) == [("Ada", 900)]


@pytest.mark.parametrize(
    ("answer", "note"),
    [({"approved": False, "note": "too dear"}, "too dear"), ({"approved": False}, "refused")],
)
def test_large_expense_is_not_paid_when_refused(approval: Any, answer: dict[str, Any], note: str) -> None:
    approval("run", "workflow/expense", *OPEN)
    done = approval("run", "resume", "run/chair", "--data", json.dumps(answer))
    assert (done.code, json.loads(done.out)) == (0, {"paid": False, "note": note}), done.err
    assert ledger(approval) == []


def test_research_goes_on_without_what_is_not_found(research: Any) -> None:
    done = research("run", "workflow/research", "--input", '{"topics": ["tea", "moon cheese", "cocoa"]}')
    assert done.code == 0, done.err
    output = json.loads(done.out)
    assert (output["found"], output["missing"]) == (2, ["moon cheese"])
    lines = output["text"].splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "tea",
        "cocoa",
        "Nothing is known about moon cheese.",
        "Words",
    ]
    assert lines[-1] == "Words: brew, grind, infuse, roast, steep."


def test_research_is_drawn(research: Any) -> None:
    done = research("graph", "workflow/research")
    assert done.code == 0, done.err
    for step in ("collect", "search", "page", "report"):
        assert step in done.out


def test_recipes_are_suggested_by_a_server(kitchen: Any, mock_openai: Any) -> None:
    providers = {"openai": {"apiBase": mock_openai.base_url}}
    recipes = project(kitchen, "recipes", "pantry", providers=providers)
    done = recipes("run", "workflow/recipe-suggestion", "SAY(鸡蛋、番茄)")
    assert done.code == 0, done.err
    assert json.loads(done.out)["ingredients"] == ["egg", "tomato"]


@pytest.mark.model_slow
def test_recipes_are_suggested_by_the_local_model(kitchen: Any, weights: Path) -> None:
    recipes = project(kitchen, "recipes", "pantry", model="local/auto")
    done = recipes("run", "workflow/recipe-suggestion", "我有鸡蛋和番茄")
    assert done.code == 0, done.err
    assert {"egg", "tomato"} & set(json.loads(done.out)["ingredients"])
