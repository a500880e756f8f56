"""Secrets of the source as references to the environment."""

from __future__ import annotations

from kastra_core.migration import Node, Report, env_reference
from kastra_core.protocols.migrator import Outcome

__all__ = ["secret_reference"]


def secret_reference(report: Report, node: Node, env: str) -> tuple[str, Outcome, str]:
    """Return (environment variable, outcome, reason) for a secret; one in the open is hidden from now on.

    Args:
        env: the variable for a secret in the open.
    """
    text = node.text()
    name = env_reference(text)
    if name:
        return name, "mapped", f"environment variable {name}"
    report.hide(text)
    if "${" in text or "{{" in text:
        told = f"put the whole text, with what it refers to filled in, into the environment variable {env}_TEXT"
        return f"{env}_TEXT", "manual", told
    return env, "manual", f"a secret in the open was left out: put it into the environment variable {env}"
