"""The support desk of docs/examples/customer-support: System, network, tickets, a person who decides; on a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from example_project import copied, module_of, served
from kastra_plugin_tool import ToolContext
from scripted_openai import Call

DESK: dict[str, Any] = {"allow": ["desk"]}
COMPLAINT = "I want my money back for invoice R-1002!"


def chosen(member: str, *, done: bool = True) -> dict[str, Any]:
    """What a router's model answers."""
    return {"reason": "it fits", "agent": member, "input": "", "done": done}


def context(key: str) -> ToolContext:
    return ToolContext(tool="ticket-open", namespace="default", run_id="r", idempotency_key=key)


async def test_system_brings_all_of_it_and_takes_it_along(kitchen: Any) -> None:
    async with served(kitchen, "customer-support", **DESK) as support:
        (system,) = (await support("get", "systems", "--no-headers")).out.splitlines()
        assert system.split()[:3] == ["customer-support", "16/16", "True"]
        await support("delete", "system/customer-support")
        left = await support("get", "agents,tools,workflows,networks", "-o", "name")
        assert left.out == ""


async def test_billing_answers_from_the_invoice(kitchen: Any) -> None:
    question = "Why was I charged so much on invoice r-1002?"
    answers = (chosen("billing"), Call("invoice-lookup", {"question": question}), "March was charged again by mistake.")
    async with served(kitchen, "customer-support", *answers, **DESK) as support:
        done = await support("run", "network/customer-support", question)
        assert done.out.strip() == "March was charged again by mistake."
        _, looked, worded = support.asked
        assert looked["tool_choice"]["function"]["name"] == "invoice-lookup", "the look-up is demanded"
        assert looked["max_tokens" if "max_tokens" in looked else "max_completion_tokens"] == 150
        assert "Invoice R-1002 of April is 79.80 EUR." in worded["messages"][-1]["content"]


async def test_refund_waits_for_a_person_and_is_paid_once(kitchen: Any) -> None:
    answers = (
        chosen("complaint"),
        "The facts support it.",
        chosen("ticket-status"),
        chosen("complaint"),
        "It was refunded already.",
    )
    talk = ("run", "network/customer-support", "--thread", "ada")
    async with served(kitchen, "customer-support", *answers, **DESK) as support:
        asked = await support(*talk, "--name", "back", COMPLAINT)
        assert asked.out == ""
        assert "escalation-agent: The facts support it." in asked.err
        assert "If you approve: refund 39.90 EUR of R-1002." in asked.err
        (ticket,) = await support.json("run", "tool/ticket-list")
        assert (ticket["customer"], ticket["status"]) == ("ada", "open")

        await support("run", "resume", await support.waiting("escalation"), "--data", '{"approved": true}')
        settled = "Ticket 1 is settled: refund 39.90 EUR of R-1002."
        assert await support.end_of("back") == settled
        told = await support(*talk, "What about my ticket?")
        assert told.out.strip() == settled, "the state of the conversation knows the ticket"

        again = await support(*talk, COMPLAINT)
        assert "It was refunded with ticket 1." in again.err
        assert "If you approve: call the customer back." in again.err
        assert support.rows("data/desk.db", "SELECT invoice, ticket FROM refunds") == [("R-1002", 1)]


async def test_refused_complaint_says_why(kitchen: Any) -> None:
    async with served(kitchen, "customer-support", chosen("complaint"), "It is doubtful.", **DESK) as support:
        await support("run", "network/customer-support", "--name", "back", COMPLAINT)
        note = '{"approved": false, "note": "paid back in cash"}'
        await support("run", "resume", await support.waiting("escalation"), "--data", note)
        assert await support.end_of("back") == "Ticket 1 is declined (paid back in cash)."
        assert support.rows("data/desk.db", "SELECT * FROM refunds") == []


async def test_decision_does_not_wait_for_an_opinion(kitchen: Any) -> None:
    async with served(kitchen, "customer-support", "Thank you.", 400, **DESK) as support:
        mail = ("--set", "customer=ada", "--set", "message=Please refund R-1002.")
        asked = await support("run", "workflow/support-flow", *mail)
        assert "escalation-agent: no opinion" in asked.err


async def test_mail_is_kept_although_no_model_answers(kitchen: Any) -> None:
    async with served(kitchen, "customer-support", 400, **DESK) as support:
        done = await support.json("run", "workflow/support-flow", "--set", "message=The red light is on.")
        assert done == {
            "ticket": 1,
            "reply": "Thank you, we have your message and come back to you.",
            "outcome": "answered",
        }
        kept = support.rows("data/desk.db", "SELECT customer, message, status FROM tickets")
        assert kept == [("unknown", "The red light is on.", "answered")]


def test_ticket_is_opened_once_whatever_crashes(kitchen: Any) -> None:
    with module_of(copied(kitchen, "customer-support").path, "desk") as desk:
        first, second = (desk.open_ticket(COMPLAINT, context("a")) for _ in range(2))
        assert first == second
        assert desk.open_ticket(COMPLAINT, context("b"))["number"] == 2


def test_two_open_tickets_about_an_invoice_are_paid_once(kitchen: Any) -> None:
    with module_of(copied(kitchen, "customer-support").path, "desk") as desk:
        for key in "ab":
            desk.open_ticket(COMPLAINT, context(key))
        assert desk.close_ticket(1, "settled")["outcome"] == "settled"
        assert desk.close_ticket(2, "settled")["text"] == "Ticket 2 is declined (refunded already with ticket 1)."
        assert desk.close_ticket(1, "declined")["outcome"] == "settled", "what is closed stays"


@pytest.mark.parametrize(
    ("message", "action"),
    [
        (COMPLAINT, "refund 39.90 EUR of R-1002"),
        ("请退款，账单r1002", "refund 39.90 EUR of R-1002"),
        ("A refund for R-1001, please", "call the customer back"),
        ("我要投诉！", "call the customer back"),
        ("When are you open?", "none"),
    ],
)
def test_words_decide_what_a_person_is_asked(kitchen: Any, message: str, action: str) -> None:
    with module_of(copied(kitchen, "customer-support").path, "desk") as desk:
        assert desk.open_ticket(message, context("a"))["action"] == action


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("My router shows a red light", "green"),
        ("网速很慢怎么办？", "网线"),
        ("It smells of smoke", "call us"),
    ],
)
def test_advice_fits_the_problem(kitchen: Any, question: str, word: str) -> None:
    with module_of(copied(kitchen, "customer-support").path, "desk") as desk:
        assert word in desk.look_up_problem(question)["advice"]


@pytest.mark.model_slow
def test_support_network_answers_without_a_key(kitchen: Any, weights: Path) -> None:
    support = copied(kitchen, "customer-support")
    support.configure(tools={"python": {"allow": ["desk"]}}, model="local/auto")
    assert support("apply", "-f", ".").code == 0
    done = support("run", "network/customer-support", "--name", "bill", "我的账单有问题，能帮我解决吗？")
    assert done.code == 0, done.err
    assert done.out.strip()
    assert "-> billing: " in done.err
    assert "-> invoice-lookup " in done.err
