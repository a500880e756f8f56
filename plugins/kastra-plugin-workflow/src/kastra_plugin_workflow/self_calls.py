"""Workflows that call themselves on every way through: no run of one ever comes to an end by itself."""

from __future__ import annotations

from collections.abc import Iterator

from kastra_core.api.meta import ResourceKey
from kastra_core.errors import InvalidReferenceError, Problem
from kastra_plugin_workflow.flow import Flow
from kastra_plugin_workflow.outline import Outline, Site
from kastra_plugin_workflow.rules import reference_of

__all__ = ["self_call_problems"]


def self_call_problems(outline: Outline, flow: Flow, key: ResourceKey) -> Iterator[Problem]:
    """Yield the first call of the workflow to itself when there is no way around such calls.

    A step whose failure is handled counts as a way around: the innermost call fails, and the flow goes on.

    Args:
        key: of the workflow.
    """
    calls = [site for site in outline.sites if site.step.workflow and _key(site, key.namespace) == key]
    if not calls:
        return
    sure = _calling(outline, flow, {site.number for site in calls})
    if not flow.leads_through(outline.top, sure):
        return
    first = next(site for site in calls if site.number in sure)
    yield Problem(
        "the workflow calls itself on every way through it, so that each run calls a further one until it fails "
        "with DepthExceeded",
        f"{first.path}.workflow",
        hint="put the call into a branch, so that some run does without it",
    )


def _key(site: Site, namespace: str) -> ResourceKey | None:
    try:
        reference = reference_of(site.step, namespace, site.path)
    except InvalidReferenceError:
        return None
    return reference.key if reference is not None else None


def _calling(outline: Outline, flow: Flow, calls: set[int]) -> set[int]:
    """Numbers of the steps that cannot be over without one of ``calls``."""
    sure: set[int] = set()
    for site in reversed(outline.sites):  # what lies in a step comes after it in the outline
        step = site.step
        if step.on_failure is not None:
            continue
        through = [flow.leads_through(block, sure) for block in site.blocks]
        if site.number in calls or (site.body == "parallel" and any(through) and not flow.ends(site)):
            sure.add(site.number)
        elif site.body == "loop" and step.loop is not None and step.loop.until.strip() and any(through):
            sure.add(site.number)  # `while` is asked before the first pass
        elif site.body == "branch" and step.branch is not None and step.branch.mode != "all":
            # Each way has steps that lead through a call; one with `next` goes past them.
            ways = len(step.branch.cases) + 1
            if len(through) == ways and all(through):
                sure.add(site.number)
    return sure
