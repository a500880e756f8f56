"""Tools by name as Tool resources: each is a Python function that somebody has to write, once for all that use it."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from kastra_core.api.meta import JsonObject
from kastra_core.migration.names import identifier
from kastra_core.migration.report import Draft
from kastra_plugin_crewai.model import Code, CrewReport, ToolPart

__all__ = ["SET_SCHEMA", "build_tool", "tool_key"]

_QUERY = {"search_query": "What to search for."}
_KNOWN: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "BraveSearchTool": ("Searches the web.", _QUERY),
    "CodeDocsSearchTool": ("Searches the documentation of software.", _QUERY),
    "CodeInterpreterTool": ("Runs Python code.", {"code": "Python code.", "libraries_used": "Packages it needs."}),
    "CSVSearchTool": ("Searches a CSV file.", _QUERY),
    "DallETool": ("Makes a picture of a description.", {"image_description": "What to show."}),
    "DirectoryReadTool": ("Lists the files of a directory.", {"directory": "Path."}),
    "DirectorySearchTool": ("Searches the files of a directory.", _QUERY),
    "DOCXSearchTool": ("Searches a DOCX file.", _QUERY),
    "DuckDuckGoSearchRun": ("Searches the web.", {"query": "What to search for."}),
    "EXASearchTool": ("Searches the web.", _QUERY),
    "FileReadTool": ("Reads a file.", {"file_path": "Path."}),
    "FileWriterTool": (
        "Writes a file.",
        {"filename": "Name.", "content": "What to write.", "directory": "Path of the directory."},
    ),
    "FirecrawlCrawlWebsiteTool": ("Reads the pages of a website.", {"url": "Address."}),
    "FirecrawlScrapeWebsiteTool": ("Reads a page of the web.", {"url": "Address."}),
    "FirecrawlSearchTool": ("Searches the web.", {"query": "What to search for."}),
    "GithubSearchTool": ("Searches a repository of GitHub.", _QUERY),
    "JSONSearchTool": ("Searches a JSON file.", _QUERY),
    "MDXSearchTool": ("Searches an MDX file.", _QUERY),
    "PDFSearchTool": ("Searches a PDF file.", _QUERY),
    "PGSearchTool": ("Searches a database of PostgreSQL.", _QUERY),
    "RagTool": ("Searches a collection of documents.", {"query": "What to search for."}),
    "ScrapeElementFromWebsiteTool": (
        "Reads an element of a page of the web.",
        {"website_url": "Address.", "css_element": "CSS selector."},
    ),
    "ScrapeWebsiteTool": ("Reads a page of the web.", {"website_url": "Address."}),
    "SeleniumScrapingTool": (
        "Reads an element of a page of the web.",
        {"website_url": "Address.", "css_element": "CSS selector."},
    ),
    "SerpApiGoogleSearchTool": ("Searches the web.", _QUERY),
    "SerperDevTool": ("Searches the web.", _QUERY),
    "TavilySearchTool": ("Searches the web.", {"query": "What to search for."}),
    "TXTSearchTool": ("Searches a text file.", _QUERY),
    "VisionTool": ("Tells what a picture shows.", {"image_path_url": "Path or address."}),
    "WebsiteSearchTool": ("Searches a website.", _QUERY),
    "XMLSearchTool": ("Searches an XML file.", _QUERY),
    "YoutubeChannelSearchTool": ("Searches the videos of a channel.", _QUERY),
    "YoutubeVideoSearchTool": ("Searches what is said in a video.", _QUERY),
}
"""Tools that come with CrewAI or LangChain, as crews name them: what they do, and their arguments (all texts)."""
SET_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "tool": {"type": "string", "description": "Name of the tool."},
        "arguments": {"type": "object", "description": "What to call it with."},
    },
    "required": ["tool"],
}
"""Of a set of tools whose members the source does not tell."""


def tool_key(tool: ToolPart) -> str:
    """What makes a tool another one: its name, and what it is made with."""
    return f"{tool.name} {_settings(tool.settings)}".rstrip()


def build_tool(report: CrewReport, tool: ToolPart) -> Draft:
    """Make the Tool of a part, once for each name, with the row. Return it (``tools`` of an Agent: its ``name``)."""
    key = tool_key(tool)
    draft = report.made_tools.get(key)
    place = (tool.node.document.file, tool.node.document.index, tool.node.path)
    if draft is None:
        draft = report.made_tools[key] = _made(report, tool)
        report.tool_places[key] = place
    told = f"write the function {draft.spec['python']['function']}"
    if report.tool_places[key] != place and tool.node:
        tool.node.mapped(draft, f"the Tool {draft.name}; another row tells to write its function")
        return draft
    settings = _settings(tool.settings)
    told += f"; the source made it with {settings}" if settings else ""
    tool.node.manual(f"{told}; {tool.why}" if tool.why else told, draft)
    return draft


def _made(report: CrewReport, tool: ToolPart) -> Draft:
    bare = _bare(tool.name)
    description, schema = tool.description, tool.schema
    known = _KNOWN.get(bare)
    if known is not None:
        description = description or known[0]
        schema = schema or _schema(known[1])
    description = " ".join(description.split()) or f"Stands for {tool.name}."
    # The same name for another tool: a number makes it another resource, and another function.
    number = sum(_bare(key.partition(" ")[0]) == bare for key in report.made_tools)
    name = f"{bare}-{number + 1}" if number else bare
    draft = report.draft("Tool", name)
    origin = tool.origin or f"{tool.name}, {tool.node.document.file}:{tool.node.line}"
    function = report.stubs.add(identifier(name, "tool"), schema=schema, description=description, origin=origin)
    draft.spec["type"] = "python"
    draft.spec["description"] = description
    if schema is not None:
        draft.spec["inputSchema"] = copy.deepcopy(schema)
    draft.spec["python"] = {"function": function}
    return draft


def _bare(name: str) -> str:
    """The last word of a dotted name; a name without ``custom:``."""
    name = name.removeprefix("custom:")
    return (name.rpartition(".")[2] if re.fullmatch(r"[\w.]+", name) else name) or "tool"


def _schema(arguments: Mapping[str, str]) -> JsonObject:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in arguments.items()},
        "required": list(arguments),
    }


def _settings(settings: Mapping[str, Any]) -> str:
    """``a='b', c=f()``: what a tool was made with, for people."""
    return ", ".join(f"{name}={value if isinstance(value, Code) else repr(value)}" for name, value in settings.items())
