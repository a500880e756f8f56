"""A crew of CrewAI, migrated by the command line, applied, and carried out on a model server of the loopback device."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from scripted_openai import ScriptedServer, text_of

AGENTS = """\
scout:
  role: "{topic} scout #scout#"
  goal: find what is new about {topic}
  backstory: You read carefully and leave out what is not sure.
writer:
  role: "writer #writer#"
  goal: tell it in plain words
  backstory: You write short sentences.
"""
TASKS = """\
gather:
  description: >
    Gather what is new about {topic}.
  expected_output: three facts
  agent: scout
tell:
  description: Write a note for {reader}.
  expected_output: a note of two sentences
"""
CREW = '''\
"""The crew that writes notes."""

import not_installed_anywhere
from crewai import Agent, Crew, Process, Task
from crewai.project import CrewBase, agent, crew, task

not_installed_anywhere.explode()


@CrewBase
class NoteCrew:
    agents_config = "config/agents.yaml"
    tasks_config = "config/tasks.yaml"

    @agent
    def writer(self) -> Agent:
        return Agent(config=self.agents_config["writer"], verbose=True)

    @agent
    def scout(self) -> Agent:
        return Agent(config=self.agents_config["scout"], max_iter=3)

    @task
    def gather(self) -> Task:
        return Task(config=self.tasks_config["gather"])

    @task
    def tell(self) -> Task:
        return Task(config=self.tasks_config["tell"], agent=self.writer(), context=[self.gather()])

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=self.tasks, process=Process.sequential)
'''
FACTS = "Fact one, fact two, fact three."
NOTE = "Dear reader, tea is older than books."


async def test_a_migrated_crew_runs_and_its_agents_get_their_roles_and_inputs(kitchen: Any) -> None:
    config = kitchen.path / "notes" / "src" / "notes" / "config"
    config.mkdir(parents=True)
    (config / "agents.yaml").write_text(AGENTS, encoding="utf-8")
    (config / "tasks.yaml").write_text(TASKS, encoding="utf-8")
    (config.parent / "crew.py").write_text(CREW, encoding="utf-8")

    def note(body: dict[str, Any]) -> str:
        return f"{NOTE} It rests on: {text_of(body).rpartition('Context:')[2].strip()}"

    async with ScriptedServer({"scout": [FACTS], "writer": [note]}) as server:
        provider = {"apiBase": server.base_url, "apiKey": {"valueFrom": {"env": "NOTES_KEY"}}}
        kitchen.configure(defaultModel="openai/small", providers={"openai": provider})

        async def kastra(*arguments: str) -> Any:
            done = await asyncio.to_thread(kitchen, *arguments, NOTES_KEY="sk-loopback-0123456789")
            assert done.code == 0, done.all
            return done

        migrated = await kastra("migrate", "notes", "-o", "new", "--report", "json")
        assert "default/note-crew" in migrated.out
        await kastra("apply", "-f", "new")
        given = orjson.dumps({"topic": "tea", "reader": "a child"}).decode()
        ran = await kastra("run", "workflow/note-crew", "--input", given, "--name", "first")
        told = await kastra("explain", "run/first")

    assert ran.out.strip() == f"{NOTE} It rests on: {FACTS}"
    assert "tell [agent]: it comes after gather" in told.out
    assert server.order == ["scout", "writer"]
    (scout,), (writer,) = server.asked("scout"), server.asked("writer")
    assert "You are {topic} scout" in text_of(scout)
    assert "- topic: tea" in text_of(scout)
    assert "Gather what is new about tea." in text_of(scout)
    assert "Expected output: three facts" in text_of(scout)
    assert "You are writer" in text_of(writer)
    assert "Write a note for a child." in text_of(writer)
    assert FACTS in text_of(writer)


ASKING = """\
from crewai import Agent, Crew, Task

writer = Agent(role="writer #writer#", goal="tell", backstory="writes")
left = Task(description="Look left", expected_output="what is there", agent=writer, async_execution=True)
right = Task(description="Look right", expected_output="what is there", agent=writer, async_execution=True)
tell = Task(description="Tell it to {reader}", expected_output="a note", agent=writer, human_input=True)
crew = Crew(agents=[writer], tasks=[left, right, tell])
"""


async def test_a_person_has_a_migrated_answer_changed_until_it_is_right(kitchen: Any) -> None:
    (kitchen.path / "asking").mkdir()
    (kitchen.path / "asking" / "main.py").write_text(ASKING, encoding="utf-8")

    def answer(body: dict[str, Any]) -> str:
        text = text_of(body)
        for word, said in (
            ("shorter", "Short."),
            ("Tell it", "A long note."),
            ("left", "A tree."),
            ("right", "A lake."),
        ):
            if word in text:
                return said
        return "?"

    async with ScriptedServer({"writer": [answer]}) as server:
        provider = {"apiBase": server.base_url, "apiKey": {"valueFrom": {"env": "NOTES_KEY"}}}
        kitchen.configure(defaultModel="openai/small", providers={"openai": provider})

        async def kastra(*arguments: str) -> Any:
            return await asyncio.to_thread(kitchen, *arguments, NOTES_KEY="sk-loopback-0123456789")

        assert (await kastra("migrate", "asking", "-o", "new")).code == 0
        assert (await kastra("apply", "-f", "new")).code == 0
        asked = await kastra("run", "workflow/asking", "--set", "reader=you", "--name", "note")
        assert "A long note." in asked.all
        again = await kastra("run", "resume", "run/note", "--data", '{"feedback": "shorter, please"}')
        assert "Short." in again.all
        done = await kastra("run", "resume", "run/note", "--data", '{"feedback": ""}')

    assert done.code == 0, done.all
    assert done.out.strip().endswith("Short.")
    last = text_of(server.asked("writer")[-1])
    assert "A long note." in last
    assert "shorter, please" in last
    assert "A tree." in last
    assert "A lake." in last


MANAGED = """\
from crewai import Agent, Crew, Process, Task

boss = Agent(role="boss #boss#", goal="have it done", backstory="fair")
scout = Agent(role="scout", goal="find", backstory="reads #scout#")
writer = Agent(role="writer", goal="tell", backstory="writes #writer#")
find = Task(description="Find what is new about {topic}", expected_output="facts")
crew = Crew(agents=[scout, writer], tasks=[find], process=Process.hierarchical, manager_agent=boss, name="desk")
"""


async def test_the_manager_of_a_migrated_crew_chooses_who_works_and_words_the_answer(kitchen: Any) -> None:
    (kitchen.path / "desk").mkdir()
    (kitchen.path / "desk" / "main.py").write_text(MANAGED, encoding="utf-8")
    choice = {"agent": "scout", "input": "News about tea, please.", "reason": "It reads.", "done": True}
    async with ScriptedServer({"boss": [choice, "All told: tea is old."], "scout": ["Tea is old."]}) as server:
        provider = {"apiBase": server.base_url, "apiKey": {"valueFrom": {"env": "NOTES_KEY"}}}
        kitchen.configure(defaultModel="openai/small", providers={"openai": provider})
        for arguments in (["migrate", "desk", "-o", "new"], ["apply", "-f", "new"]):
            assert (await asyncio.to_thread(kitchen, *arguments)).code == 0
        ran = await asyncio.to_thread(
            kitchen, "run", "workflow/desk", "--set", "topic=tea", NOTES_KEY="sk-loopback-0123456789"
        )

    assert ran.code == 0, ran.all
    assert ran.out.strip() == "All told: tea is old."
    assert server.order == ["boss", "scout", "boss"]
    assert "Find what is new about tea" in text_of(server.asked("boss")[0])
    assert "News about tea, please." in text_of(server.asked("scout")[0])
