"""Tools of the workflow ``expense``: what may be paid without asking, and the payment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kastra_plugin_tool import ToolContext

__all__ = ["FREE_BELOW", "LEDGER", "pay", "policy"]

FREE_BELOW = 100.0
"""EUR that need no approval."""
LEDGER = Path("ledger.jsonl")
"""In the directory where the process was started; a line is a payment."""


def policy(amount: float) -> dict[str, Any]:
    """Say whether an amount may be spent without asking.

    Args:
        amount: EUR
    """
    return {"free": amount < FREE_BELOW, "limit": FREE_BELOW}


def pay(who: str, amount: float, context: ToolContext) -> dict[str, Any]:
    """Pay an amount and return the receipt.

    Args:
        who: who gets the money
        amount: EUR
    """
    # After a crash the same call comes again with the same key: what was paid is not paid twice.
    lines = LEDGER.read_text(encoding="utf-8").splitlines() if LEDGER.exists() else []
    for line in lines:
        entry = json.loads(line)
        if entry["key"] == context.idempotency_key:
            return {"receipt": entry["receipt"]}
    receipt = f"R-{len(lines) + 1:04}"
    entry = {"key": context.idempotency_key, "receipt": receipt, "who": who, "amount": amount}
    with LEDGER.open("a", encoding="utf-8") as ledger:
        ledger.write(json.dumps(entry) + "\n")
    return {"receipt": receipt}
