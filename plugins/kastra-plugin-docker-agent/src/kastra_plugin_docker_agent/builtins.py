"""The functions of docker-agent's built-in toolsets: what they are called, and what they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject

__all__ = ["SETS", "TOOLSETS", "Function"]


@attrs.frozen
class Function:
    """A function as a model sees it."""

    name: str
    description: str
    parameters: Mapping[str, str] = attrs.field(factory=dict)
    """Name -> "type: description"; a name that ends in "?" may be left out; [type] is a list."""
    reads: bool = False
    """Changes nothing, so that a read-only agent keeps it."""

    def schema(self) -> JsonObject:
        """JSON schema of its arguments.

        >>> Function("f", "", {"path": "string: where", "limits?": "[integer]: how many"}).schema()["required"]
        ['path']
        """
        properties = {name.rstrip("?"): _schema(text) for name, text in self.parameters.items()}
        out: JsonObject = {"type": "object", "properties": properties}
        required = [name for name in self.parameters if not name.endswith("?")]
        if required:
            out["required"] = required
        return out


def _schema(text: str) -> JsonObject:
    kind, _, description = text.partition(": ")
    if kind.startswith("["):
        out: JsonObject = {"type": "array", "items": {"type": kind[1:-1]}}
    else:
        out = {"type": kind}
    return {**out, "description": description}


_EDIT: dict[str, Any] = {"path": "string: the file", "edits": "[object]: list of {oldText, newText}, done in order"}
_PLACE = {
    "file": "string: path of the source file",
    "line": "integer: line, from 1",
    "character": "integer: column, from 1",
}
_FILE = {"file": "string: path of the source file"}
_JOB = {"job_id": "string: the job"}
_TASK = {"task_id": "string: the task"}

TOOLSETS: Mapping[str, tuple[Function, ...]] = {
    "filesystem": (
        Function("read_file", "Read a file.", {"path": "string: the file"}, reads=True),
        Function(
            "read_multiple_files",
            "Read several files.",
            {"paths": "[string]: the files", "json?": "boolean: answer as JSON"},
            reads=True,
        ),
        Function("edit_file", "Replace passages of a file by others.", _EDIT),
        Function(
            "write_file",
            "Write a file, whether or not it is there.",
            {"path": "string: the file", "content": "string: what is to be in it"},
        ),
        Function("directory_tree", "List a directory and all below it.", {"path": "string: the directory"}, reads=True),
        Function("list_directory", "List a directory.", {"path": "string: the directory"}, reads=True),
        Function(
            "search_files_content",
            "Find a text in the files of a directory.",
            {
                "path": "string: the directory",
                "query": "string: what to look for",
                "is_regex?": "boolean: query is a regular expression",
                "excludePatterns?": "[string]: files to pass over",
            },
            reads=True,
        ),
        Function("create_directory", "Make directories.", {"paths": "[string]: the directories"}),
        Function("remove_directory", "Remove empty directories.", {"paths": "[string]: the directories"}),
    ),
    "shell": (
        Function(
            "shell",
            "Run a shell command and return its output.",
            {
                "cmd": "string: the command",
                "cwd?": "string: working directory",
                "timeout?": "integer: seconds, 30 by default",
            },
        ),
        Function(
            "run_background_job",
            "Start a shell command and return the id of the job at once.",
            {"cmd": "string: the command", "cwd?": "string: working directory"},
        ),
        Function("list_background_jobs", "List the jobs that were started.", reads=True),
        Function("view_background_job", "Show state and output of a job.", _JOB, reads=True),
        Function("stop_background_job", "Stop a job.", _JOB),
    ),
    "think": (
        Function("think", "Note a thought. It changes nothing.", {"thought": "string: the thought"}, reads=True),
    ),
    "todo": (
        Function("create_todo", "Add an item to the to-do list.", {"description": "string: the item"}, reads=True),
        Function("create_todos", "Add items to the to-do list.", {"descriptions": "[string]: the items"}, reads=True),
        Function(
            "update_todos",
            "Change the state of items of the to-do list.",
            {"updates": "[object]: list of {id, status}; status is pending, in-progress or completed"},
            reads=True,
        ),
        Function("list_todos", "Show the to-do list.", reads=True),
    ),
    "memory": (
        Function(
            "add_memory",
            "Remember something.",
            {"memory": "string: what to remember", "category?": "string: preference, fact, project ..."},
        ),
        Function("get_memories", "Return all that is remembered.", reads=True),
        Function("delete_memory", "Forget something.", {"id": "string: the memory"}),
        Function(
            "search_memories",
            "Find what is remembered about something.",
            {"query?": "string: words that must all be in it", "category?": "string: only of this category"},
            reads=True,
        ),
        Function(
            "update_memory",
            "Change something that is remembered.",
            {"id": "string: the memory", "memory": "string: the new text", "category?": "string: the new category"},
        ),
    ),
    "tasks": (
        Function(
            "create_task",
            "Add a task.",
            {
                "title": "string: short title",
                "description?": "string: what is to be done",
                "path?": "string: file with the description",
                "priority?": "string: critical, high, medium or low",
                "dependencies?": "[string]: ids of tasks to be done before",
            },
        ),
        Function("get_task", "Show a task.", {"id": "string: the task"}, reads=True),
        Function(
            "update_task",
            "Change a task.",
            {
                "id": "string: the task",
                "title?": "string: new title",
                "description?": "string: new description",
                "path?": "string: file with the new description",
                "priority?": "string: critical, high, medium or low",
                "status?": "string: pending, in_progress, done or blocked",
                "dependencies?": "[string]: ids of tasks to be done before",
            },
        ),
        Function("delete_task", "Remove a task.", {"id": "string: the task"}),
        Function(
            "list_tasks",
            "List tasks, the most important first.",
            {"status?": "string: only with this status", "priority?": "string: only of this priority"},
            reads=True,
        ),
        Function("next_task", "Show the most important task that can be done now.", reads=True),
        Function(
            "add_dependency",
            "Make a task wait for another one.",
            {"taskId": "string: the task that waits", "dependsOnId": "string: the task to be done before"},
        ),
        Function(
            "remove_dependency",
            "Let a task no longer wait for another one.",
            {"taskId": "string: the task that waits", "dependsOnId": "string: the task it waits for"},
        ),
    ),
    "fetch": (
        Function(
            "fetch",
            "Fetch web pages.",
            {
                "urls": "[string]: http or https addresses",
                "format": "string: text, markdown or html",
                "timeout?": "integer: seconds, 30 by default",
            },
            reads=True,
        ),
    ),
    "user_prompt": (
        Function(
            "user_prompt",
            "Ask the user a question and wait for the answer.",
            {
                "message": "string: the question",
                "title?": "string: title of the dialogue",
                "schema?": "object: JSON schema of the answer",
            },
            reads=True,
        ),
    ),
    "model_picker": (
        Function("change_model", "Let another model go on.", {"model": "string: the model"}, reads=True),
        Function("revert_model", "Let the agent's own model go on.", reads=True),
    ),
    "background_agents": (
        Function(
            "run_background_agent",
            "Start a task of another agent and return its id at once.",
            {
                "agent": "string: the agent",
                "task": "string: what is to be done",
                "expected_output?": "string: what is to come of it",
            },
        ),
        Function("list_background_agents", "List the tasks that were started.", reads=True),
        Function("view_background_agent", "Show state and output of a task.", _TASK, reads=True),
        Function("stop_background_agent", "Stop a task.", _TASK),
    ),
    "lsp": (
        Function("lsp_workspace", "Describe the workspace and what the language server can do.", reads=True),
        Function("lsp_hover", "Describe the symbol at a place.", _PLACE, reads=True),
        Function("lsp_definition", "Find where the symbol at a place is defined.", _PLACE, reads=True),
        Function(
            "lsp_references",
            "Find all uses of the symbol at a place.",
            {**_PLACE, "include_declaration?": "boolean: its declaration too, true by default"},
            reads=True,
        ),
        Function("lsp_document_symbols", "List the symbols of a file.", _FILE, reads=True),
        Function(
            "lsp_workspace_symbols", "Find symbols of the workspace.", {"query": "string: part of the name"}, reads=True
        ),
        Function("lsp_diagnostics", "List errors and warnings of a file.", _FILE, reads=True),
        Function(
            "lsp_rename", "Rename the symbol at a place everywhere.", {**_PLACE, "new_name": "string: its new name"}
        ),
        Function(
            "lsp_code_actions",
            "List fixes and refactorings for lines of a file.",
            {**_FILE, "start_line": "integer: first line, from 1", "end_line?": "integer: last line"},
            reads=True,
        ),
        Function("lsp_format", "Format a file.", _FILE),
        Function(
            "lsp_call_hierarchy",
            "Find who calls the function at a place, or what it calls.",
            {**_PLACE, "direction": "string: incoming or outgoing"},
            reads=True,
        ),
        Function(
            "lsp_type_hierarchy",
            "Find the types above or below the type at a place.",
            {**_PLACE, "direction": "string: supertypes or subtypes"},
            reads=True,
        ),
        Function("lsp_implementations", "Find what implements the interface at a place.", _PLACE, reads=True),
        Function("lsp_signature_help", "Show the signature of the call at a place.", _PLACE, reads=True),
        Function(
            "lsp_inlay_hints",
            "Show types and parameter names that lines of a file leave out.",
            {**_FILE, "start_line?": "integer: first line, from 1", "end_line?": "integer: last line"},
            reads=True,
        ),
    ),
}
"""Type of a toolset -> its functions, with docker-agent's names.

Source: docker/docker-agent pkg/tools/builtin (0d76412).
"""

SETS: Mapping[str, str] = {
    "background_jobs": "shell commands in the background",
    "file": "files",
    "git": "git",
    "mcp_catalog": "MCP servers of Docker's catalogue",
    "open_url": "opening a page in the user's browser",
    "plan": "plans that agents share",
    "scheduler": "tasks at set times",
    "session_context": "the context of the conversation",
    "session_plan": "the plan of the conversation",
    "webhook": "messages to a webhook",
}
"""Types of later versions, whose functions are called by one tool: what they are about."""
