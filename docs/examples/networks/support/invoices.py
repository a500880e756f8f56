"""The tool of the billing agent: two invoices."""

from __future__ import annotations

__all__ = ["INVOICES", "lookup"]

INVOICES = {
    "R-1001": {"month": "March", "amount": 39.9, "paid": True},
    "R-1002": {"month": "April", "amount": 79.8, "paid": False, "note": "March was charged again by mistake"},
}


def lookup(number: str) -> dict[str, object]:
    """Look an invoice up.

    Args:
        number: of the invoice, for example R-1001
    """
    try:
        return INVOICES[number.strip().upper()]
    except KeyError:
        raise LookupError(f"there is no invoice {number!r}; known: {', '.join(INVOICES)}") from None
