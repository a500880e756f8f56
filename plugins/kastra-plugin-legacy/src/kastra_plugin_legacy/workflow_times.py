"""Time-outs and further tries of older workflows."""

from __future__ import annotations

from kastra_core.api.meta import JsonObject
from kastra_core.durations import Duration
from kastra_core.migration import Node
from kastra_core.serde import FieldError
from kastra_plugin_legacy.workflow_model import Step

__all__ = ["duration_of", "policy_of", "put_tries", "retry_of"]

_WORKING = frozenset({"agent", "tool", "workflow", "network", "parallel", "operation"})
_TIMES = ("retries", "maxRetries", "retryCount")
_DELAYS_MS = ("retryDelayMs", "retryDelay", "delayMs", "initialDelayMs")
_DELAYS_S = ("retryInterval", "interval", "delay", "retryIntervalSeconds")
_OLD_DELAY_S = 1.0
_MOST_TRIES = 1_000_000


def duration_of(node: Node, unit_s: float) -> str | float | None:
    """A time as a manifest writes it; None where it is none or nothing.

    Args:
        unit_s: seconds that a bare number counts.
    """
    value = node.value
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                return Duration.read(value).plain or None
            except FieldError:
                return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return Duration.read(round(value * unit_s, 3)).plain or None
    except (FieldError, OverflowError, ValueError):
        return None


def retry_of(tries: Node, delay: Node, unit_s: float, *, attempts: bool = False) -> JsonObject | None:
    """``retry`` of today; None where the number is none.

    Args:
        unit_s: seconds that a bare number of ``delay`` counts.
        attempts: ``tries`` counts the first one, too.
    """
    count = tries.value
    if isinstance(count, str) and count.strip().isascii() and count.strip().isdecimal() and len(count) < 8:
        count = int(count)
    if isinstance(count, bool) or not isinstance(count, (int, float)) or not 0 <= count <= _MOST_TRIES:
        return None
    most = max(1, int(count) + (0 if attempts else 1))
    wait = duration_of(delay, unit_s) if delay else None
    # The older format waited the same time before each try, and never tried again what ran out of time.
    out: JsonObject = {"maxAttempts": most}
    if most > 1:
        out |= {
            "delay": wait if wait is not None else _OLD_DELAY_S,
            "multiplier": 1,
            "jitter": 0,
            "except": ["Timeout"],
        }
        if out["delay"] == _OLD_DELAY_S:
            out["delay"] = "1s"
    return out


def put_tries(step: Step, out: JsonObject) -> None:
    """Write ``timeout`` and ``retry`` of a step."""
    works = bool(_WORKING & out.keys()) or bool(step.branches)
    timeout, tries, delay = step.field("timeout", "timeoutMs"), step.field(*_TIMES), step.field(*_DELAYS_MS)
    policy = step.field("retryPolicy", "retry")
    if not works:
        for node in (timeout, tries, delay, policy):
            step.note(node, "dropped", "", "the step is over at once and does not fail")
        return
    if timeout:
        value = duration_of(timeout, 0.001)
        if value is None:
            step.note(timeout, "dropped", "", "it is no time of more than 0 milliseconds, at most 100 years")
        else:
            out["timeout"] = value
            step.note(timeout, "mapped", "timeout", "milliseconds" if not timeout.is_text else "")
    if policy.is_map:
        put_policy(step, policy, out)
    elif policy and not tries:
        tries = policy
    if tries:
        retry = retry_of(tries, delay, 0.001)
        if retry is None:
            step.note(tries, "dropped", "", "it is no number of tries")
        else:
            out["retry"] = retry
            step.note(tries, "mapped", "retry.maxAttempts", "tries in all, the first included")
    if delay:
        used = isinstance(out.get("retry"), dict) and "delay" in out["retry"] and duration_of(delay, 0.001) is not None
        if used:
            step.note(delay, "mapped", "retry.delay", "milliseconds")
        else:
            step.note(delay, "dropped", "", "there is no further try to wait for")


def put_policy(step: Step, policy: Node, out: JsonObject) -> None:
    """Write ``retry`` of a step from a map."""
    retry, used = policy_of(policy)
    if retry is not None:
        out["retry"] = retry
    for node, field, reason in used:
        if field:
            step.note(node, "mapped", f"retry.{field}", reason)
        else:
            step.note(node, "dropped", "", reason)


def policy_of(policy: Node) -> tuple[JsonObject | None, list[tuple[Node, str, str]]]:
    """``retry`` of a map (maxRetries, retryInterval in seconds); for each field (node, what it became, reason)."""
    tries, attempts = policy.first(*_TIMES), policy.first("maxAttempts", "attempts")
    in_ms, in_s = policy.first(*_DELAYS_MS), policy.first(*_DELAYS_S)
    delay, unit = (in_s, 1.0) if in_s else (in_ms, 0.001)
    number = tries if tries else attempts
    retry = retry_of(number, delay, unit, attempts=not tries) if number else None
    used: list[tuple[Node, str, str]] = []
    if number:
        reason = "tries in all, the first included" if retry is not None else "it is no number of tries"
        used.append((number, "maxAttempts" if retry is not None else "", reason))
    if delay:
        if retry is not None and "delay" in retry and duration_of(delay, unit) is not None:
            used.append((delay, "delay", "seconds" if in_s else "milliseconds"))
        else:
            used.append((delay, "", "there is no further try to wait for"))
    return retry, used
