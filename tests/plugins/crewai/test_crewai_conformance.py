"""The migrator keeps to the contract, for crews of YAML alone, with a crew.py, and of Python alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kastra_core.migration import read_text
from kastra_core.protocols.migrator import SourceDocument
from kastra_core.testing.migrator import MigratorConformance
from kastra_plugin_crewai.migrator import CrewAiMigrator

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


def yaml_documents() -> list[SourceDocument]:
    return [*read_text(AGENTS, "news/config/agents.yaml"), *read_text(TASKS, "news/config/tasks.yaml")]


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
