"""ExampleTool: examples that ADK adds to the instructions."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kastra_core.migration import Draft, Node
from kastra_plugin_adk.project import arguments_of, builtin_name
from kastra_plugin_adk.python_files import Found, PythonFiles

__all__ = ["examples_of", "examples_text"]


def examples_of(tool: Node, python: PythonFiles) -> Found | None:
    """The ExampleTool of Python that a dotted name means; None for another tool."""
    named = tool if tool.is_text else tool["name"]
    if not named.is_text or builtin_name(tool) or "." not in named.value.strip("."):
        return None
    found = python.find(named.value.strip(), named.document)
    return found if found is not None and found.call == "ExampleTool" else None


def examples_text(tool: Node, draft: Draft, found: Found | None) -> list[str]:
    """The examples of an ExampleTool as texts for the instructions, with rows; none when Python computes them.

    Args:
        found: where Python makes the tool.
    """
    given = arguments_of(tool).get("examples")
    named = tool if tool.is_text else tool["name"]
    where = draft.target("spec.instructions")
    if found is not None:
        texts = [f"Example:\n{text}" for text in _in_python(found)]
        if texts:
            named.mapped(where, f"the examples in {found.place} are a part of the instructions")
        else:
            named.manual(f"{found.place} computes the examples: write them into the instructions", where)
        return texts
    if given is None or not given.is_list:
        told = "Python makes the examples: write them into the instructions"
        (given if given else named).manual(told, where)
        if given:
            named.manual(told, where)
        return []
    named.mapped(where, "its examples are a part of the instructions")
    out: list[str] = []
    for item in given.items():
        asked = _said(item["input"])
        answers = "\n".join(filter(None, (_said(answer) for answer in item["output"].items() or [item["output"]])))
        if asked or answers:
            out.append(f"Example:\nuser: {asked}\nanswer: {answers}")
            item.mapped(where)
        else:
            item.manual("it has no text: write it into the instructions", where)
    return out


def _said(content: Node) -> str:
    """The text of a content; a call of a function as name(arguments)."""
    if content.is_text:
        return content.text()
    texts = []
    for part in content["parts"].items() or ([content] if content["text"] else []):
        call = part.first("function_call", "functionCall")
        if part["text"].is_text:
            texts.append(part["text"].text())
        elif call.is_map:
            given = ", ".join(f"{key}={value.value!r}" for key, value in call["args"].fields())
            texts.append(f"{call['name'].text()}({given})")
    return "\n".join(texts)


def _in_python(found: Found) -> Iterator[str]:
    """Each Example(input=..., output=...) with the texts in it."""
    for node in ast.walk(found.tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Example":
            said = {keyword.arg: _texts(keyword.value) for keyword in node.keywords}
            asked, answers = said.get("input", []), said.get("output", [])
            if asked and answers:
                yield "\n".join([f"user: {' '.join(asked)}", *(f"answer: {text}" for text in answers)])


def _texts(tree: ast.expr) -> list[str]:
    """Values of ``text=`` in an expression, in their order."""
    return [
        keyword.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "text" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    ]
