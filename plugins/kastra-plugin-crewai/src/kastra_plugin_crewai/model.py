"""A crew as it is meant, whatever it was written in: YAML, JSON or Python. Readers make it; ``build`` makes resources.

A reader moves each key that the source has into ``fields`` of a part, under the name that CrewAI knows it by; ``build``
writes the rows of all of them. What is not a key of CrewAI needs a row of the reader.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import attrs

from kastra_core.api.meta import JsonObject
from kastra_core.migration.report import Draft, Node, Report
from kastra_core.protocols.migrator import MigrationSource, Outcome, SourceDocument

__all__ = ["AgentPart", "Code", "Crew", "CrewReport", "Field", "TaskPart", "ToolPart"]

_UNSET: Any = object()


class Code(str):
    """An expression of Python, as text, whose value only running it tells; so is ``{"python": "pkg.mod.name"}``."""

    __slots__ = ()


@attrs.frozen(eq=False)
class Field:
    """What a key says, and where."""

    node: Node
    """Place; gets the rows."""
    value: Any = attrs.field(default=_UNSET)
    """Default: the node's. Of Python the literal value, with ``{name}`` in texts for what is unknown, or Code."""
    at: Node | None = None
    """Where the keys of an object are, when ``node`` only names it (a variable of Python)."""
    call: str = ""
    """Name of what was called, when the value is the arguments of a call (``LLM``, ``ChatOpenAI``)."""

    def __attrs_post_init__(self) -> None:
        if self.value is _UNSET:
            object.__setattr__(self, "value", self.node.value)

    @property
    def is_code(self) -> bool:
        """Whether only running Python would tell the value."""
        return isinstance(self.value, Code)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All places that have a part in it."""
        return (self.node,) if self.at is None else (self.node, self.at)


@attrs.define(eq=False, kw_only=True)
class ToolPart:
    """A tool by name. The same name is the same Tool resource in all that a report makes."""

    name: str
    """As the source names it: ``SerperDevTool``, ``custom:lookup``, the name of a function."""
    node: Node
    """Where it is named; gets the row."""
    description: str = ""
    """What it does, where the source says it."""
    schema: JsonObject | None = None
    """JSON schema of its arguments, where the source says it."""
    origin: str = ""
    """What it was ("class LookupTool, tools/lookup.py:12"); default: made of the node's place."""
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    """Arguments that the tool is made with (``FileReadTool(file_path="a.csv")``)."""
    why: str = ""
    """Added to the reason of the row."""


@attrs.define(eq=False, kw_only=True)
class AgentPart:
    """An agent. One object that several crews name becomes one Agent."""

    name: str
    """Key of agents.yaml, name of the method or variable."""
    node: Node
    """The whole definition."""
    fields: dict[str, Field] = attrs.field(factory=dict)
    """role, goal, backstory, llm, max_iter, verbose, ... by the names that CrewAI has for them; without ``tools``."""
    tools: list[ToolPart] = attrs.field(factory=list)
    schema: JsonObject | None = None
    """JSON schema of the agent's own ``response_format`` or ``output_pydantic``, where it could be read."""
    notes: list[str] = attrs.field(factory=list)
    """Said in the row of the resource."""


@attrs.define(eq=False, kw_only=True)
class TaskPart:
    """A task of a crew."""

    name: str
    node: Node
    fields: dict[str, Field] = attrs.field(factory=dict)
    """description, expected_output, async_execution, human_input, output_file, ... by CrewAI's names; also ``agent``,
    ``context`` and ``output_pydantic``, for their rows only; without ``tools``."""
    agent: AgentPart | None = None
    """Who does it; None: nobody is named (CrewAI refuses that; here the crew's first agent, else one is made)."""
    context: list[str] | None = None
    """Names of the tasks whose outputs it gets; None: those of all before it."""
    tools: list[ToolPart] = attrs.field(factory=list)
    """Its own, which it has in place of the agent's where there are any."""
    schema: JsonObject | None = None
    """JSON schema of ``output_pydantic``, ``output_json`` or ``response_model``, where it could be read."""
    notes: list[str] = attrs.field(factory=list)


@attrs.define(eq=False, kw_only=True)
class Crew:
    """A crew: becomes a Workflow with a step for each task."""

    name: str
    node: Node
    """Where it is made; gets the row of the Workflow."""
    agents: list[AgentPart] = attrs.field(factory=list)
    tasks: list[TaskPart] = attrs.field(factory=list)
    """In the order in which they are carried out."""
    fields: dict[str, Field] = attrs.field(factory=dict)
    """process, manager_llm, memory, planning, verbose, ...; also ``manager_agent``, for its row only."""
    manager: AgentPart | None = None
    """``manager_agent`` of a hierarchical crew; not one of ``agents``."""
    inputs: dict[str, Field] = attrs.field(factory=dict)
    """Name -> default, where the source has defaults for the placeholders; a node gets its row."""
    examples: dict[str, list[Field]] = attrs.field(factory=dict)
    """Name -> values that a program runs it with; each node gets its row."""
    description: str = ""
    """Of the Workflow."""
    scope: str = ""
    """What the names of its agents are unique in; default: ``name``."""


class CrewReport(Report):
    """A report that also knows which resources were made of parts, so that one part becomes one resource."""

    def __init__(self, source: MigrationSource) -> None:
        super().__init__(source)
        self.made_agents: dict[tuple[str, Hashable], Draft] = {}
        """(id of an AgentPart, what distinguishes the variant) -> its Agent."""
        self.agent_names: set[tuple[str, str]] = set()
        """Scope and name of every Agent."""
        self.agent_bases: dict[int, JsonObject] = {}
        """id of an AgentPart -> spec that all its variants begin with."""
        self.made_tools: dict[str, Draft] = {}
        """Name of a tool in the source, with what it is made with -> its Tool."""
        self.tool_places: dict[str, tuple[str, int, tuple[str | int, ...]]] = {}
        """The same key -> file, document and path of the node whose row says what is to be written."""
        self.scopes: set[str] = set()
        """Of the crews that were built."""
        self.kept: list[object] = []
        """Parts, kept so that their ids stay theirs."""
        self._told: dict[tuple[str, int], set[tuple[str | int, ...]]] = {}

    def cover(self, node: Node, outcome: Outcome, reason: str, target: str, *, whole: bool = True) -> None:
        super().cover(node, outcome, reason, target, whole=whole)
        self._told.setdefault((node.document.file, node.document.index), set()).add(node.path)

    def told(self, document: SourceDocument) -> set[tuple[str | int, ...]]:
        """Paths of the nodes of a document that have rows."""
        return self._told.get((document.file, document.index), set())
