"""The plugin keeps to what is asked of all plugins: ``kastra plugins check crewai`` runs what is here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kastra_core.migration import read_text
from kastra_core.protocols.migrator import SourceDocument
from kastra_core.testing.migrator import MigratorConformance
from kastra_core.testing.plugin import PluginConformance
from kastra_plugin_crewai.migrator import CrewAiMigrator

__all__ = [
    "TestCrewOfPython",
    "TestCrewOfYaml",
    "TestCrewOfYamlAndPython",
    "TestCrewWithItsPythonBeside",
    "TestCrewaiPlugin",
    "TestFlows",
    "TestJsonCrews",
]

AGENTS = """\
scout:
  role: "{topic} scout"
  goal: find facts on {topic}
  backstory: >
    You read carefully.
  llm: openai/gpt-4o-mini
  max_iter: 7
  max_execution_time: 60
  max_retry_limit: 3
  max_tokens: 500
  max_rpm: 10
  verbose: true
  allow_delegation: true
  tools: [search, fetch]
  cache: false
  inject_date: true
  knowledge_sources: [manual.pdf]
  embedder: {provider: openai, config: {model: text-embedding-3-small}}
  guardrail: my_project.guards:check
  invented: 5
writer:
  role: writer
  goal: tell it
  backstory: You write in plain words.
  llm: claude-sonnet-4-0
  reasoning: true
  mcps: ["https://mcp.example.org/search"]
"""
TASKS = """\
gather:
  description: List facts on {topic} of {{ year }}
  expected_output: ten bullets
  agent: scout
  async_execution: true
  output_file: out/{topic}.md
  tools: [search]
count:
  description: Count the sources
  expected_output: a number
  agent: scout
  async_execution: true
tell:
  description: Write it up
  expected_output: a text
  agent: writer
  context: [gather, count]
  markdown: true
  human_input: true
  guardrails: [short, friendly]
  callback: log_it
  create_directory: true
  output_pydantic: Report
"""
CREW = '''\
from crewai import Agent, Crew, LLM, Process, Task
from crewai.project import CrewBase, after_kickoff, agent, before_kickoff, crew, task, tool
from crewai_tools import SerperDevTool


@CrewBase
class NewsCrew:
    """Reads the news."""

    agents_config = "config/agents.yaml"
    tasks_config = "config/tasks.yaml"

    @before_kickoff
    def prepare(self, inputs):
        return inputs

    @after_kickoff
    def close(self, result):
        return result

    @tool
    def search(self):
        return SerperDevTool(n_results=3)

    @tool
    def fetch(self):
        return print

    @agent
    def scout(self) -> Agent:
        return Agent(config=self.agents_config["scout"], verbose=True, llm=LLM(model="gpt-4o", temperature=0.1))

    @agent
    def writer(self) -> Agent:
        return Agent(config=self.agents_config["writer"])

    @task
    def gather(self) -> Task:
        return Task(config=self.tasks_config["gather"])

    @task
    def count(self) -> Task:
        return Task(config=self.tasks_config["count"])

    @task
    def tell(self) -> Task:
        return Task(config=self.tasks_config["tell"], context=[self.gather(), self.count()])

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=self.tasks, process=Process.sequential, memory=True, planning=True)
'''


_FLOW = """
schema: crewai.flow/v1
name: NewsDesk
description: From a topic to a note.
state:
  type: json_schema
  json_schema:
    type: object
    required: [topic, rows]
    properties:
      topic: {type: string}
      rows: {type: array, items: {type: object}}
  default: {depth: 2}
config: {stream: true, tracing: false, max_method_calls: 7, suppress_flow_events: true, checkpoint: {a: 1}}
persist: {enabled: true}
methods:
  plan:
    description: Says what to look for.
    start: true
    do: {call: expression, expr: "state.topic + ' (' + string(state.depth) + ')'"}
    persist: {enabled: false}
  search:
    listen: plan
    do:
      call: tool
      ref: crewai_tools:SerperDevTool
      with: {search_query: "News on ${outputs.plan}", limit: 3}
  sort_rows:
    listen: plan
    do:
      call: each
      in: state.rows
      do:
        - {name: title, action: {call: expression, expr: item.title}}
        - name: short
          if: "size(outputs.title) > 9"
          action:
            call: agent
            with: {role: Editor, goal: Cut, backstory: Terse, input: "Cut: ${outputs.title}"}
  write:
    listen: {and: [search, sort_rows]}
    do:
      call: crew
      with:
        agents:
          writer: {role: Writer of {topic}, goal: Write, backstory: Old hand, llm: openai/gpt-4o-mini}
        tasks:
          - {name: note, description: "On {topic}, {tone}", expected_output: A note, agent: writer}
        inputs: {topic: none, tone: dry}
      inputs: {topic: "${state.topic}"}
    human_feedback:
      message: Print it?
      emit: [printed, again]
      default_outcome: again
      llm: gpt-4o-mini
      metadata: {desk: 4}
      provider: desk.people:ask
  rework:
    listen: again
    router: true
    emit: [printed, dropped]
    do: {call: script, language: python, code: "state['n'] = state.get('n', 0) + 1\\nreturn 'printed'"}
  post:
    listen: {or: [printed, never]}
    do: {call: code, ref: "desk.post:send", with: {text: "${outputs.write.raw}", count: 2}}
  orphan:
    listen: nowhere
    do: {call: expression, expr: "1"}
""".replace("Writer of {topic}", '"Writer of {topic}"')

_CREW = """
{
  // a crew with an agent beside it
  "name": "desk",
  "agents": ["scout", "writer"],
  "manager_agent": "boss",
  "process": "hierarchical",
  "tasks": [
    {"name": "find", "description": "Find {topic}", "expected_output": "facts", "agent": "scout"},
    {"name": "say", "description": "Say it", "expected_output": "text", "context": ["find"], "markdown": true,
     "callback": {"python": "desk.hooks.done"}}
  ],
  "inputs": {"topic": "tea"},
  "memory": true,
  "verbose": true
}
"""
_SCOUT = """{"role": "Scout", "goal": "Find {topic}", "backstory": "Curious", "llm": {"model": "openai/gpt-4o"},
 "tools": ["SerperDevTool", "custom:maps", "desk.tools:Atlas"],
 "settings": {"max_iter": 4, "verbose": false, "goal": "Find all of {topic}"}}"""
_WRITER = '{"type": {"python": "desk.people.Writer"}, "role": "Writer", "goal": "Write", "backstory": "Old hand"}'
_BOSS = '{"type": "Agent", "role": "Boss", "goal": "Lead", "backstory": "Calm", "llm": "openai/gpt-4o"}'


def yaml_documents() -> list[SourceDocument]:
    return [*read_text(AGENTS, "news/config/agents.yaml"), *read_text(TASKS, "news/config/tasks.yaml")]


class TestCrewaiPlugin(PluginConformance):
    entry_point = "crewai"


class TestCrewOfYaml(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> CrewAiMigrator:
        return CrewAiMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return yaml_documents()

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        texts = {
            "a/agents.yaml": "scout: {role: [a], goal: b, backstory: c}",
            "b/agents.yaml": "a: {role: a, goal: b, backstory: c}\nb: {role: a, goal: b}\nthird: text",
            "c/tasks.yaml": "go: {expected_output: b, agent: c}",
            "d/tasks.yaml": "go: {description: a, expected_output: b, context: [gone]}",
            "e/tasks.yaml": "a: {description: a, expected_output: b, context: [b]}\n"
            "b: {description: a, expected_output: b, context: [a]}",
            "f/tasks.yaml": "go: {description: a, expected_output: b, human_input: perhaps}",
        }
        return [document for file, text in texts.items() for document in read_text(text, file)]


class TestCrewOfYamlAndPython(TestCrewOfYaml):
    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return [*yaml_documents(), *read_text(CREW, "news/crew.py")]


class TestCrewWithItsPythonBeside(TestCrewOfYaml):
    @pytest.fixture
    def others(self) -> Sequence[SourceDocument]:
        return read_text(CREW, "news/crew.py")


class TestCrewOfPython(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> CrewAiMigrator:
        return CrewAiMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        text = (
            "from crewai import Agent, Crew, Task\n"
            "scout = Agent(role='scout', goal='find', backstory='reads', max_iter=3)\n"
            "gather = Task(description=f'Gather {topic}', expected_output='bullets', agent=scout)\n"
            "crew = Crew(agents=[scout], tasks=[gather], verbose=True)\n"
            "print(crew.kickoff(inputs={'topic': 'tea'}))\n"
        )
        return read_text(text, "news/main.py")

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        texts = {
            "a/crew.py": "from crewai import Crew\ncrew = Crew(\n",
            "b/main.py": "from other import NewsCrew\nNewsCrew().crew().kickoff(inputs={})\n",
            "c/crew.py": "from crewai import Crew, Task\n"
            "Crew(tasks=[Task(description='a', expected_output='b')], process='chaos')\n",
        }
        return [document for file, text in texts.items() for document in read_text(text, file)]


class TestFlows(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> CrewAiMigrator:
        return CrewAiMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        return read_text(_FLOW, "news/flow.yaml")

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        head = "schema: crewai.flow/v1\nname: x\n"
        return [
            document
            for at, text in enumerate(
                (
                    "schema: crewai.flow/v9\nname: x\nmethods: {a: {start: true, do: {call: expression, expr: '1'}}}",
                    "schema: crewai.flow/v1\nmethods: {a: {start: true, do: {call: expression, expr: '1'}}}",
                    head + "methods: {a: {start: true, do: {call: expression, expr: 'state.'}}}",
                    head + "methods: {a: {start: true, do: {call: dance}}}",
                    head + "methods: {a: {listen: b, do: {call: expression, expr: '1'}}}",
                    head + "methods: {a: {start: true, listen: a, do: {call: expression, expr: '1'}}}",
                    head + "state: {type: cloud}\nmethods: {a: {start: true, do: {call: expression, expr: '1'}}}",
                )
            )
            for document in read_text(text, f"{at}.yaml")
        ]


class TestJsonCrews(MigratorConformance):
    @pytest.fixture
    def migrator(self) -> CrewAiMigrator:
        return CrewAiMigrator()

    @pytest.fixture
    def documents(self) -> Sequence[SourceDocument]:
        files = {"crew.jsonc": _CREW, "agents/scout.jsonc": _SCOUT, "agents/writer.json": _WRITER}
        files["agents/boss.jsonc"] = _BOSS
        return [document for path, text in files.items() for document in read_text(text, f"desk/{path}")]

    @pytest.fixture
    def broken(self) -> Sequence[SourceDocument]:
        texts = (
            '{"agents": ["nobody"], "tasks": [{"description": "x", "expected_output": "y"}]}',
            '{"agents": {"a": {"role": "r", "goal": "g"}}, "tasks": [{"description": "x", "expected_output": "y"}]}',
            '{"agents": {"a": {"role": "r", "goal": "g", "backstory": "b"}}, '
            '"tasks": [{"description": "x", "expected_output": "y", "agent": "z"}]}',
        )
        return [document for at, text in enumerate(texts) for document in read_text(text, f"{at}/crew.json")]
