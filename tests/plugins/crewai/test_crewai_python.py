"""Crews that Python makes, read by their syntax trees."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from kastra_core.errors import ManifestError
from kastra_core.migration import MemorySource, read_text
from kastra_plugin_crewai.migrator import CrewAiMigrator

YAML = {
    "news/config/agents.yaml": "scout: {role: Scout, goal: find, backstory: reads, verbose: true, llm: fast,"
    " tools: [search]}\n"
    "writer: {role: Writer, goal: tell, backstory: writes}\n"
    "unused: {role: X, goal: x, backstory: x}\n",
    "news/config/tasks.yaml": "gather: {description: 'Gather {topic}', expected_output: bullets, agent: scout}\n"
    "tell: {description: Tell, expected_output: text}\n",
}
CREW = '''
from crewai import Agent, Crew, LLM, Process, Task
from crewai.project import CrewBase, agent, before_kickoff, crew, llm, task, tool
from crewai_tools import SerperDevTool
from pydantic import BaseModel, Field


class Report(BaseModel):
    """A report."""

    title: str = Field(..., description="Of the report")
    points: list[str] = []


@CrewBase
class NewsCrew:
    agents_config = "config/agents.yaml"
    tasks_config = "config/tasks.yaml"

    @before_kickoff
    def prepare(self, inputs):
        return inputs

    @llm
    def fast(self):
        return LLM(model="groq/llama3", temperature=0.3)

    @tool
    def search(self):
        return SerperDevTool()

    @agent
    def scout(self) -> Agent:
        return Agent(config=self.agents_config["scout"], verbose=False, max_iter=4)

    @agent
    def writer(self) -> Agent:
        return Agent(config=self.agents_config["writer"])

    @task
    def tell(self) -> Task:
        return Task(config=self.tasks_config["tell"], agent=self.writer(), context=[self.gather()], output_json=Report)

    @task
    def gather(self) -> Task:
        return Task(config=self.tasks_config["gather"])

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=[self.gather(), self.tell()], process=Process.sequential, cache=True)
'''


def python(text: str) -> str:
    return "from crewai import Agent, Crew, Process, Task\n" + textwrap.dedent(text)


@pytest.fixture
def news(moved: Any) -> Any:
    return moved({**YAML, "news/crew.py": CREW})


def test_the_class_says_who_does_what_in_which_order(news: Any) -> None:
    assert news.names("Workflow") == ["news-crew"]
    assert [(step["id"], step["agent"]) for step in news.steps] == [("gather", "scout"), ("tell", "writer")]
    assert news.steps[1]["input"].endswith("Context:\n\n{{ steps.gather.output }}")


def test_arguments_in_python_go_over_those_in_yaml(news: Any) -> None:
    assert news.spec("Agent", "scout")["limits"] == {"maxSteps": 4}
    assert news.outcome("scout.verbose") == {"dropped"}
    assert "says otherwise" in news.reason("scout.verbose")


def test_names_in_yaml_are_methods_of_the_class(news: Any) -> None:
    spec = news.spec("Agent", "scout")
    assert spec["model"] == {"provider": "groq", "name": "llama3", "parameters": {"temperature": 0.3}}
    assert spec["tools"] == ["serper-dev-tool"]
    assert news.outcome("NewsCrew.fast.temperature") == {"mapped"}


def test_a_class_of_pydantic_is_the_schema_of_the_answer(news: Any) -> None:
    assert news.spec("Agent", "writer")["output"]["schema"] == {
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": "Of the report"},
            "points": {"type": "array", "items": {"type": "string"}, "default": []},
        },
        "required": ["title"],
        "description": "A report.",
    }


def test_every_marked_method_and_every_argument_has_a_row(news: Any) -> None:
    for key in (
        "prepare",
        "fast.model",
        "search",
        "scout.config",
        "scout.max_iter",
        "tell.output_json",
        "tell.context",
    ):
        assert news.rows(f"NewsCrew.{key}"), key
    for key in ("agents", "tasks", "process", "cache"):
        assert news.rows(f"NewsCrew.crew.{key}"), key
    assert news.outcome("NewsCrew.prepare") == {"manual"}
    assert news.outcome("unused") == {"dropped"}
    assert news.rows("NewsCrew.crew.process")[0].line == CREW[: CREW.index("process=")].count("\n") + 1


def test_nothing_of_a_class_that_is_given_as_text_is_run(moved: Any, tmp_path: Any) -> None:
    bang = tmp_path / "bang"
    bomb = f"import os\nopen({str(bang)!r}, 'w').write('bang')\nos.system('touch {bang}')\n"
    moved({**YAML, "news/crew.py": CREW + bomb})
    assert not list(tmp_path.iterdir())


def test_a_crew_py_alone_brings_its_yaml(moved: Any) -> None:
    found = moved({"news/crew.py": CREW}, others=YAML)
    assert found.names("Workflow") == ["news-crew"]


def test_yaml_alone_brings_its_crew_py(moved: Any) -> None:
    found = moved({"news/config/tasks.yaml": YAML["news/config/tasks.yaml"]}, others={**YAML, "news/crew.py": CREW})
    assert [step["id"] for step in found.steps] == ["gather", "tell"]
    assert found.names("Workflow") == ["news-crew"]


def test_a_file_beside_brings_only_the_crews_that_use_the_yaml(moved: Any) -> None:
    more = (
        "\nother = Agent(role='Other', goal='x', backstory='x')\n"
        "Crew(agents=[other], tasks=[Task(description='Other', expected_output='x', agent=other)])\n"
    )
    found = moved(YAML, others={"news/crew.py": CREW + more})
    assert found.names("Workflow") == ["news-crew"]
    assert found.names("Agent") == ["scout", "writer"]


def test_a_crew_py_that_does_not_fit_its_yaml_is_refused_and_left_out_beside_it(moved: Any) -> None:
    files = {**YAML, "news/config/agents.yaml": "other: {role: a, goal: b, backstory: c}\n"}
    with pytest.raises(ManifestError, match=r"agents.yaml has no agent 'scout'"):
        moved({**files, "news/crew.py": CREW})
    assert moved(files, others={"news/crew.py": CREW}).names("Workflow") == ["news"]


def test_missing_yaml_is_told(moved: Any) -> None:
    found = moved({"news/crew.py": CREW})
    assert found.outcome("NewsCrew.agents_config") == {"manual"}
    assert len(found.steps) == 2


def test_a_program_runs_a_crew_with_inputs_that_become_examples(moved: Any) -> None:
    main = (
        "from news.crew import NewsCrew\n\n\ndef run():\n    inputs = {'topic': 'tea', 'year': str(now())}\n"
        "    NewsCrew().crew().kickoff(inputs=inputs)\n"
    )
    found = moved({**YAML, "news/crew.py": CREW, "news/main.py": main})
    assert found.spec("Workflow")["inputSchema"]["properties"]["topic"]["examples"] == ["tea"]
    assert found.rows("run.kickoff.inputs")


def test_objects_in_variables_make_a_crew(moved: Any) -> None:
    found = moved(
        {
            "tea/main.py": python("""
        topic = input("What about? ")
        scout = Agent(role="Scout", goal=f"find {topic}", backstory="reads")
        gather = Task(description="Gather " + topic, expected_output="bullets", agent=scout)
        count = Task(description="Count {what}", expected_output="a number", agent=scout, context=[gather])
        team = Crew(agents=[scout], tasks=[gather, count], verbose=2)
        print(team.kickoff())
    """)
        }
    )
    assert found.names("Workflow") == ["tea"]
    assert found.steps[0]["input"].startswith("Gather {{ workflow.input.topic }}")
    assert found.steps[1]["input"].startswith("Count {{ workflow.input.what }}")
    assert found.spec("Agent")["instructions"] == "You are Scout.\n\nYour goal: find {topic}\n\nBackground: reads"


def test_agents_and_tasks_of_other_modules_are_followed_by_their_calls(moved: Any) -> None:
    files = {
        "trip/agents.py": python("""
            class Agents:
                def __init__(self):
                    self.model = "gpt-4o"

                def guide(self):
                    return Agent(role="Guide", goal="show", backstory="knows", llm=self.model)
        """),
        "trip/tasks.py": python("""
            from textwrap import dedent

            class Tasks:
                def plan(self, agent, city, days=3):
                    return Task(
                        description=dedent(f\"\"\"
                            Plan {days} days in {city}.
                            {self.__tip()}
                        \"\"\"),
                        expected_output="a plan",
                        agent=agent,
                    )

                def __tip(self):
                    return "Be kind."
        """),
        "trip/main.py": python("""
            from agents import Agents
            from tasks import Tasks

            class TripCrew:
                def __init__(self, city):
                    self.city = city

                def run(self):
                    agents, tasks = Agents(), Tasks()
                    guide = agents.guide()
                    plan = tasks.plan(guide, self.city, days=5)
                    crew = Crew(agents=[guide], tasks=[plan])
                    return crew.kickoff()

            if __name__ == "__main__":
                TripCrew(input("Where to?")).run()
        """),
    }
    for given in (files, {"trip/main.py": files["trip/main.py"]}):
        found = moved(given, others=files)
        assert found.names("Workflow") == ["trip-crew"]
        assert found.steps[0]["input"] == (
            "Plan 5 days in {{ workflow.input.city }}.\nBe kind.\n\nExpected output: a plan"
        )
        assert found.spec("Agent")["model"] == {"provider": "openai", "name": "gpt-4o"}


def test_yaml_that_a_program_loads_itself_is_followed(moved: Any) -> None:
    main = python("""
        import yaml
        from pathlib import Path

        files = {"agents": Path(__file__).parent / "config" / "agents.yaml", "tasks": "config/tasks.yaml"}
        configs = {}
        for name, path in files.items():
            with open(path) as file:
                configs[name] = yaml.safe_load(file)
        writer = Agent(config=configs["agents"]["writer"])
        tell = Task(description=configs["tasks"]["tell"]["description"], expected_output="text", agent=writer)
        crew = Crew(agents=[writer], tasks=[tell])
    """)
    found = moved({"news/main.py": main}, others=YAML)
    assert found.spec("Agent", "writer")["instructions"].startswith("You are Writer.")
    assert found.steps[0]["input"].startswith("Tell\n")
    assert found.outcome("tell.description") == {"mapped"}


def test_a_hierarchical_crew_is_a_network_that_each_task_goes_to(moved: Any) -> None:
    found = moved(
        {
            "desk/main.py": python("""
        boss = Agent(role="Boss", goal="manage {shop}", backstory="firm", max_iter=6, llm="gpt-4o")
        one = Agent(role="One", goal="first", backstory="x", allow_delegation=True)
        two = Agent(role="Two", goal="second", backstory="y")
        go = Task(description="Go", expected_output="gone")
        stay = Task(description="Stay", expected_output="stayed", agent=two)
        crew = Crew(agents=[one, two], tasks=[go, stay], process=Process.hierarchical, manager_agent=boss)
    """)
        }
    )
    network = found.spec("Network")
    assert found.names("Agent") == ["one", "two"]
    assert network["agents"] == ["one", "two"]
    assert network["router"]["model"] == {"provider": "openai", "name": "gpt-4o"}
    assert network["router"]["maxSteps"] == 6
    assert network["router"]["answer"] == "router"
    assert network["instructions"].startswith("You are Boss.\n\nYour goal: manage {shop}")
    assert [step["network"] for step in found.steps] == ["desk", "desk"]
    assert "Give this task to two." in found.steps[1]["input"]
    assert "- shop: {{ workflow.input.shop }}" in found.steps[0]["input"]
    assert found.outcome("crew.process") == found.outcome("crew.manager_agent") == {"mapped"}


def test_a_hierarchical_crew_may_name_only_the_managers_model(moved: Any) -> None:
    found = moved(
        {
            "desk/main.py": python("""
        one = Agent(role="One", goal="first", backstory="x")
        go = Task(description="Go", expected_output="gone")
        crew = Crew(agents=[one], tasks=[go], process=Process.hierarchical, manager_llm="openai/gpt-4o")
    """)
        }
    )
    assert found.spec("Network")["router"]["model"] == {"provider": "openai", "name": "gpt-4o"}


def test_models_of_langchain_name_their_providers(moved: Any) -> None:
    found = moved(
        {
            "tea/main.py": python("""
        import os
        from langchain_openai import ChatOpenAI
        from langchain_community.llms import Ollama

        strong = ChatOpenAI(model_name="gpt-4", temperature=0.7, api_key=os.getenv("STRONG_KEY"))
        one = Agent(role="One", goal="x", backstory="x", llm=strong)
        two = Agent(role="Two", goal="x", backstory="x", llm=Ollama(model="openhermes"))
        three = Agent(role="Three", goal="x", backstory="x", llm=Ollama(model=os.environ["MODEL"]))
        go = Task(description="Go", expected_output="gone", agent=one)
        Crew(agents=[one, two, three], tasks=[go])
    """)
        }
    )
    assert found.spec("Agent", "one")["model"] == {
        "provider": "openai",
        "name": "gpt-4",
        "apiKey": {"valueFrom": {"env": "STRONG_KEY"}},
        "parameters": {"temperature": 0.7},
    }
    assert found.spec("Agent", "two")["model"] == {"provider": "ollama", "name": "openhermes"}
    assert "model" not in found.spec("Agent", "three")
    assert found.outcome("three.llm") == {"manual"}
    assert found.outcome("strong.temperature") == {"mapped"}


def test_tools_of_the_project_bring_their_descriptions_and_arguments(moved: Any) -> None:
    files = {
        "shop/tools/custom.py": textwrap.dedent('''
            from crewai.tools import BaseTool, tool
            from pydantic import BaseModel, Field


            class FindInput(BaseModel):
                query: str = Field(..., description="What to find.")
                limit: int = 5


            class FindTool(BaseTool):
                name: str = "Find"
                description: str = (
                    "Finds things "
                    "in the shop."
                )
                args_schema: type[BaseModel] = FindInput

                def _run(self, query: str, limit: int = 5) -> str:
                    return "found"


            @tool
            def add(first: float, second: float = 1.0) -> float:
                """Add two numbers.

                Details.
                """
                return first + second
        '''),
        "shop/main.py": python("""
            from crewai_tools import FileReadTool
            from shop.tools.custom import FindTool, add

            clerk = Agent(role="Clerk", goal="x", backstory="x", tools=[FindTool(limit=9), add,
                          FileReadTool(file_path="a.csv"), FileReadTool(file_path="b.csv")] + load_more())
            go = Task(description="Go", expected_output="gone", agent=clerk)
            Crew(agents=[clerk], tasks=[go])
        """),
    }
    found = moved(files)
    assert found.names("Tool") == ["find-tool", "add", "file-read-tool", "file-read-tool-2", "load-more"]
    assert found.spec("Tool", "find-tool")["description"] == "Finds things in the shop."
    assert found.spec("Tool", "find-tool")["inputSchema"] == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to find."},
            "limit": {"type": "integer", "default": 5},
        },
        "required": ["query"],
    }
    assert found.spec("Tool", "add")["description"] == "Add two numbers."
    assert found.spec("Tool", "add")["inputSchema"]["required"] == ["first"]
    assert "limit=9" in found.reason("clerk.tools")
    assert "only running would tell" in found.reason("clerk.tools")


def test_what_only_running_would_tell_is_told_and_its_place_named(moved: Any) -> None:
    found = moved(
        {
            "tea/main.py": python("""
        scout = Agent(role=make_role(), goal="find", backstory="reads", max_iter=steps())
        gather = Task(description=prompt(scout), expected_output="bullets", agent=scout, context=earlier())
        crew = Crew(agents=[scout], tasks=[gather, make_task()], process=choose())
    """)
        }
    )
    for key in ("scout.role", "scout.max_iter", "gather.description", "crew.process", "gather.context"):
        assert "manual" in found.outcome(key), key
    assert "make_task()" in found.reason("crew.tasks")
    assert "gather_description" in found.spec("Workflow")["inputSchema"]["properties"]


def test_tasks_without_a_crew_are_workflows_of_their_own(moved: Any) -> None:
    found = moved(
        {
            "tea/main.py": python("""
        scout = Agent(role="Scout", goal="find", backstory="reads")
        check = Task(description="Check", expected_output="yes or no", agent=scout)
        if "yes" in check.execute():
            go = Task(description="Go", expected_output="gone", agent=scout)
            crew = Crew(agents=[scout], tasks=[go])
    """)
        }
    )
    assert sorted(found.names("Workflow")) == ["check", "tea"]
    assert "defaulted" in found.outcome("check")


def test_a_file_with_agents_only_makes_agents(moved: Any) -> None:
    found = moved(
        {
            "tea/agents.py": python("""
        def scout():
            return Agent(role="Scout", goal="find", backstory="reads")

        class Others:
            def writer(self, tone):
                return Agent(role=f"{tone} writer", goal="tell", backstory="writes")
    """)
        }
    )
    assert found.names("Agent") == ["scout", "writer"]
    assert found.spec("Agent", "writer")["instructions"].startswith("You are {tone} writer.")


def test_branches_loops_and_comprehensions_are_followed(moved: Any) -> None:
    found = moved(
        {
            "tea/main.py": python("""
        import os

        names = ["one", "two"]
        agents = [Agent(role=name, goal="x", backstory="x") for name in names]
        tasks = []
        for agent in agents:
            tasks.append(Task(description=f"Do {agent.role}", expected_output="done", agent=agent))
        if os.getenv("MORE"):
            tasks += [Task(description="More", expected_output="done", agent=agents[0])]
        crew = Crew(agents=agents, tasks=tasks)
    """)
        }
    )
    assert [step["input"].partition("\n")[0] for step in found.steps] == ["Do one", "Do two", "More"]
    assert len({step["agent"] for step in found.steps}) == 2
    assert any("under a condition" in row.reason for row in found.result.rows)


def test_a_long_text_of_many_pieces_is_one_text(moved: Any) -> None:
    pieces = " + ".join(f"'line {at} '" for at in range(150))
    found = moved({"tea/main.py": python(f"scout = Agent(role='Scout', goal={pieces}, backstory='b')\n")})
    assert found.spec("Agent")["instructions"].count("line") == 150


def test_comprehensions_over_what_is_unknown_make_one_of_each(moved: Any) -> None:
    found = moved(
        {
            "tea/main.py": python("""
                agents = [Agent(role=f"{name} expert", goal="x", backstory="x") for name in load_names()]
                more = {key: value for key, value in load_pairs()}
                tasks = [
                    Task(description=f"Do {n} and {m}", expected_output="done", agent=agents[0])
                    for n in range(9) for m in numbers()
                ]
                crew = Crew(agents=agents, tasks=tasks)
            """)
        }
    )
    assert found.spec("Agent")["instructions"].startswith("You are {name} expert.")
    assert found.steps[0]["input"].startswith("Do {{ workflow.input.n }} and {{ workflow.input.m }}")
    assert any("only running would tell; here once" in row.reason for row in found.result.rows)


def test_code_that_calls_itself_ends(moved: Any) -> None:
    found = moved(
        {
            "tea/main.py": python("""
        def again(n):
            return again(n + 1)

        def one():
            return two()

        def two():
            return one()

        scout = Agent(role="Scout", goal=again(0), backstory=one())
        while True:
            crew = Crew(agents=[scout], tasks=[Task(description="Go", expected_output="gone", agent=scout)])
    """)
        }
    )
    assert found.names("Workflow") == ["tea"]
    assert found.outcome("scout.goal") == {"manual"}


@pytest.mark.parametrize(
    "growing",
    [
        "    goal += goal",
        "    goal = goal.replace('x', 'xxxxxxxx')",
        "    goal = f'{goal}{goal}'",
        "    goal = '{0}{0}'.format(goal)",
        "    parts.extend(parts)\n    goal = ''.join(parts)",
        "    number = number * number\n    goal = str(number)",
        "    goal = text" + ".strip().lower()" * 20 + ".strip(goal)" + ".frame(1)" * 40,
        "    for b in many:\n        for c in many:\n            goal = goal + 'x'",
    ],
)
def test_code_that_would_grow_without_end_does_not(moved: Any, growing: str) -> None:
    many = f"many = {list(range(100))}\ngoal, parts, number = 'x', ['x'], 9\nfor a in many:\n{growing}\n"
    end = "scout = Agent(role='Scout', goal=goal, backstory='b')\n"
    found = moved({"tea/main.py": python(many + end)})
    assert len(str(found.result.resources)) < 1_000_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("from crewai import Crew\nCrew(agents=[\n", "not valid Python"),
        ("from crewai import Crew\n" + "x = " + "-" * 300 + "1\nCrew()\n", "nested too deeply"),
        ("from crewai import Crew\n" + "x = " + "(" * 300 + "1" + ")" * 300 + "\nCrew()\n", "not valid Python"),
        ("from elsewhere import NewsCrew\nNewsCrew().crew().kickoff()\n", "nothing that makes an agent"),
        (
            "from crewai.flow.flow import Flow, start\nclass A(Flow):\n    @start()\n    def a(self): ...\n",
            "a flow in Python",
        ),
    ],
)
def test_python_of_which_nothing_can_be_made_is_refused(text: str, told: str) -> None:
    documents = read_text(text, "tea/main.py")
    assert CrewAiMigrator().detect(documents[0]) > 0
    with pytest.raises(ManifestError, match=told):
        CrewAiMigrator().migrate(MemorySource(documents))


@pytest.mark.parametrize(
    "text",
    [
        "print(1)\n",
        "from agency import Agent\nAgent('x')\n",
        "class Crew: pass\nCrew()\n",
        "from crewai.tools import tool\n",
    ],
)
def test_other_python_is_not_taken_for_a_crew(text: str) -> None:
    assert CrewAiMigrator().detect(read_text(text, "main.py")[0]) == 0


def test_the_names_that_a_template_leaves_open_stand_for_themselves(moved: Any) -> None:
    text = CREW.replace("class NewsCrew", "class {{crew_name}}")
    assert moved({**YAML, "news/crew.py": text}).names("Workflow") == ["crew-name"]
