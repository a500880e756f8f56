"""Workflows from YAML, and what the rules say about them, for the tests of the rules."""

from __future__ import annotations

import textwrap
from typing import Any

from kastra_core.api.meta import Resource
from kastra_core.errors import Problem
from kastra_core.manifests import Document, parse
from kastra_plugin_workflow.rules import validate

__all__ = ["at", "document_of", "problems_of", "said", "steps", "workflow"]


def document_of(spec: str) -> Document:
    """The manifest of a workflow whose spec is this YAML."""
    head = "apiVersion: mastra.ai/v1\nkind: Workflow\nmetadata: {name: w, namespace: shop}\nspec:\n"
    (document,) = parse(head + textwrap.indent(textwrap.dedent(spec), "  "), "w.yaml")
    return document


def workflow(spec: str | dict[str, Any]) -> Resource:
    if isinstance(spec, str):
        return Resource.from_manifest(document_of(spec).data)
    metadata = {"name": "w", "namespace": "shop"}
    return Resource.from_manifest(
        {"apiVersion": "mastra.ai/v1", "kind": "Workflow", "metadata": metadata, "spec": spec}
    )


def steps(text: str) -> str:
    """A spec with these steps."""
    return "steps:\n" + textwrap.dedent(text)


def problems_of(spec: str | dict[str, Any]) -> list[Problem]:
    return list(validate(workflow(spec)))


def said(spec: str | dict[str, Any]) -> list[str]:
    """What is wrong, each as ``path: message; hint``."""
    return [str(problem) for problem in problems_of(spec)]


def at(spec: str, path: str) -> str:
    """The only problem at a path, as ``message; hint``; "" when there is none."""
    found = [problem for problem in problems_of(spec) if problem.path == path]
    assert len(found) <= 1, found
    if not found:
        return ""
    return f"{found[0].message}; {found[0].hint}" if found[0].hint else found[0].message
