"""Whatever the source holds: nothing of it runs, no secret survives, no key is lost, the same bytes come of it."""

from __future__ import annotations

import copy
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

from kastra_core.api.registry import KindRegistry
from kastra_core.migration import FileSource, read_text
from kastra_core.migration.engine import Migration, migrate, problems_of_result
from kastra_core.migration.writing import markdown, plan, report_json
from kastra_core.protocols.migrator import MigrationResult, Migrator, SourceDocument
from kastra_core.testing.migrator import uncovered_keys

PROJECT = {
    "team.yaml": """\
agents:
  root:
    model: openai/gpt-4o
    instruction: Answer in one line.
    sub_agents: [helper]
    toolsets:
    - {type: mcp, command: uvx, args: [weather], env: {REGION: eu}}
    - {type: shell}
  helper: {model: openai/gpt-4o, description: Looks things up., instruction: Look it up.}
""",
    "adk/root_agent.yaml": """\
agent_class: LlmAgent
name: planner
model: gemini-2.0-flash
description: Plans trips.
instruction: Plan the trip.
tools:
- name: google_search
- name: shop.tools.price
""",
    "crew/config/agents.yaml": """\
writer: {role: Writer, goal: Write about {topic}., backstory: You write., llm: openai/gpt-4o}
""".replace("Write about {topic}.", "'Write about {topic}.'"),
    "crew/config/tasks.yaml": """\
write: {description: 'Write about {topic}.', expected_output: A page., agent: writer}
""",
    "crew/crew.py": """\
import os
from crewai import Agent, Crew, Process, Task
from crewai.project import CrewBase, agent, crew, task
import shop_that_is_not_there

open(os.environ["MARK"], "w").write("ran")
__import__("subprocess").run(["touch", os.environ["MARK"]])


@CrewBase
class WriterCrew:
    agents_config = "config/agents.yaml"
    tasks_config = "config/tasks.yaml"

    @agent
    def writer(self) -> Agent:
        return Agent(config=self.agents_config["writer"], tools=[shop_that_is_not_there.Tool()])

    @task
    def write(self) -> Task:
        return Task(config=self.tasks_config["write"])

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=self.tasks, process=Process.sequential)
""",
    "spec.yaml": """\
component_type: Agent
agentspec_version: 25.4.1
id: agent-1
name: assistant
description: Helps.
system_prompt: Help.
llm_config: {component_type: OpenAiConfig, id: llm-1, name: gpt, model_id: gpt-4o}
tools: []
""",
    "kagent.yaml": """\
apiVersion: kagent.dev/v1alpha2
kind: Agent
metadata: {name: cluster-helper}
spec:
  description: Helps with a cluster.
  type: Declarative
  declarative: {systemMessage: Help with the cluster.}
""",
    "ark.yaml": """\
apiVersion: ark.mckinsey.com/v1alpha1
kind: Agent
metadata: {name: analyst}
spec: {description: Analyses., prompt: Analyse.}
""",
    "old.yaml": """\
apiVersion: mastra/v1
kind: Agent
metadata: {name: greeter}
spec:
  model: {provider: openai, name: gpt-4o}
  instructions: Greet.
""",
}
"""A small source of each system."""
TOKENS = (
    "ghp_" + "Zq9Xw8Lk7Jh6Gf5Ds4Aa3Po2Iu1YtReWqMn",
    "sk-proj-" + "Zq9Xw8Lk7mN0pQrStUvWxYzAbCd",
    "https://bob:hunter7Zq9Xw8Lk@db.example/x",
    "Bearer " + "Zq9Xw8Lk7Jh6Gf5Ds4Aa3Po2",
    "--token=Zq9Xw8Lk7Jh6",
)
RUN = "import sys; from kastra_core.cli import main; sys.exit(main(sys.argv[1:]))"
MARKS = ("zq9xw8", "zq9-xw8", "hunter7")
JUNK: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    3.5,
    "",
    "x",
    "{{",
    "${X}",
    "../x",
    "1e999",
    [],
    {},
    [None],
    {"": ""},
    [[1]],
)


def lay_out(folder: Path) -> Path:
    for name, text in PROJECT.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


class Changed(FileSource):
    """Files, some of which say something else."""

    def __init__(self, path: Path, documents: Mapping[str, list[SourceDocument]]) -> None:
        super().__init__([str(path)])
        self.changed = documents

    def documents_of(self, file: str) -> Any:
        return self.changed.get(file) or super().documents_of(file)


def changed(folder: Path, name: str, data: Any) -> Changed:
    """The whole project, with other data in one file."""
    file = str(folder / name)
    document = read_text(PROJECT[name], file)[0]
    return Changed(folder, {file: [attrs.evolve(document, data=data)]})


def all_that_is_told(migration: Migration) -> str:
    return f"{orjson.dumps([plan(migration), report_json(migration)]).decode()}{markdown(migration)}".lower()


def texts(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(data, str):
        yield path
    elif isinstance(data, (dict, list)):
        for key, item in data.items() if isinstance(data, dict) else enumerate(data):
            yield from texts(item, (*path, key))


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    out = copy.deepcopy(data)
    place = out
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return out


def test_each_system_is_known_and_becomes_something_that_applies(
    tmp_path: Path, migrators: dict[str, Migrator], registry: KindRegistry
) -> None:
    migration = migrate(FileSource([str(lay_out(tmp_path))]), migrators, registry)
    assert migration.refused == []
    assert {one.migrator for one in migration.detected} == {
        "adk", "agentspec", "ark", "crewai", "docker-agent", "kagent", "legacy",
    }  # fmt: skip
    assert problems_of_result(migration.resources, registry) == ()


WATCH = """\
import json, os, sys
from kastra_core.cli import main

seen = []
armed = []

def hook(event, args):
    if not armed:
        return
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append(f"write {args[0]}")
    elif event == "import" and args[0].partition(".")[0] in ("shop", "shop_that_is_not_there", "crewai", "crew"):
        seen.append(f"import {args[0]}")
    elif event == "exec" and args[0].co_filename.startswith(sys.argv[2]):
        seen.append(f"exec {args[0].co_filename}")
    elif event.startswith(("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")):
        seen.append(f"{event} {args}")

sys.addaudithook(hook)
armed.append(1)
code = main(["migrate", sys.argv[1], "--dry-run", "--report", "json"])
armed.clear()
print(json.dumps(seen), file=sys.stderr)
"""


def test_nothing_of_the_source_is_imported_run_or_written(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "project")
    (folder / "tag.yaml").write_text(f"agents: !!python/object/apply:os.system ['touch {tmp_path}/mark']\n")
    (folder / "json.py").write_text(PROJECT["crew/crew.py"])  # a name of the standard library
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(folder), str(folder)],
        capture_output=True, text=True, timeout=60, check=False, cwd=folder,
        env={**os.environ, "MARK": str(tmp_path / "mark"), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert orjson.loads(done.stderr.splitlines()[-1]) == [], done.stderr
    assert not (tmp_path / "mark").exists()
    assert "data never runs code" in done.stdout


@pytest.mark.parametrize("name", [name for name in PROJECT if name.endswith(".yaml")])
def test_no_token_survives_wherever_it_stands(
    tmp_path: Path, name: str, migrators: dict[str, Migrator], registry: KindRegistry
) -> None:
    folder = lay_out(tmp_path)
    data = read_text(PROJECT[name], name)[0].data
    for at, path in enumerate(texts(data)):
        place = data
        for part in path:
            place = place[part]
        token = TOKENS[at % len(TOKENS)]
        for text in (token, f"{place} {token}"):
            told = all_that_is_told(migrate(changed(folder, name, put(data, path, text)), migrators, registry))
            assert not [mark for mark in MARKS if mark in told], (path, text)


@pytest.mark.parametrize("name", [name for name in PROJECT if name.endswith(".yaml")])
def test_what_a_key_calls_a_secret_is_in_nothing_that_is_made(
    tmp_path: Path, name: str, migrators: dict[str, Migrator], registry: KindRegistry
) -> None:
    folder = lay_out(tmp_path)
    data = read_text(PROJECT[name], name)[0].data
    secrets: dict[str, Any] = {
        "api_key": "opaque-Zq9Xw8Lk",
        "clientSecret": "opaque-Zq9Xw8Lk",
        "headers": {"Authorization": "Token opaque-Zq9Xw8Lk", "X-Api-Key": "opaque-Zq9Xw8Lk"},
        "environment": [{"name": "DB_PASSWORD", "value": "opaque-Zq9Xw8Lk"}],
    }
    maps = {path[:count] for path in texts(data) for count in range(len(path))}
    for path in sorted(maps, key=str):
        inner = data
        for part in path:
            inner = inner[part]
        if isinstance(inner, dict):
            more = {**inner, **{key: value for key, value in secrets.items() if key not in inner}}
            wanted = put(data, path, more) if path else more
            told = all_that_is_told(migrate(changed(folder, name, wanted), migrators, registry))
            assert not [mark for mark in MARKS if mark in told], path


def mutated(data: Any, chance: random.Random) -> Any:
    out = copy.deepcopy(data)
    places: list[Any] = []
    todo = [out]
    while todo:
        one = todo.pop()
        if isinstance(one, (dict, list)):
            places.append(one)
            todo += one.values() if isinstance(one, dict) else one
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.choice(places)
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        what = chance.choice(("delete", "junk", "junk", "double", "unknown"))
        if what == "unknown" and isinstance(place, dict):
            place[f"unknown{chance.randrange(99)}"] = copy.deepcopy(chance.choice(JUNK))
        elif keys:
            key = chance.choice(keys)
            if what == "delete":
                del place[key]
            elif what == "double" and isinstance(place, dict):
                place[f"{key}2"] = copy.deepcopy(place[key])
            elif what == "double":
                place.append(copy.deepcopy(place[key]))
            else:
                place[key] = copy.deepcopy(chance.choice(JUNK))
    return out


@pytest.mark.parametrize("name", [name for name in PROJECT if name.endswith(".yaml")])
def test_however_a_source_is_changed_no_key_is_lost_and_no_migrator_fails(
    tmp_path: Path, name: str, migrators: dict[str, Migrator], registry: KindRegistry
) -> None:
    folder = lay_out(tmp_path)
    document = read_text(PROJECT[name], str(folder / name))[0]
    chance = random.Random(name)
    for _ in range(60):
        data = mutated(document.data, chance)
        source = changed(folder, name, data)
        migration = migrate(source, migrators, registry)
        told = [str(one) for one in migration.refused]
        assert not [one for one in told if "failed at it" in one], data
        assert problems_of_result(migration.resources, registry) == (), data
        result = MigrationResult(resources=migration.resources, rows=migration.rows)
        refused = {one.file for one in migration.refused}
        for one in {one.file for one in migration.detected} - refused:
            for each in source.documents_of(one):
                assert uncovered_keys(each, result) == [], data


def test_a_document_that_nobody_knows_in_a_file_that_somebody_knows_has_rows(
    tmp_path: Path, migrators: dict[str, Migrator], registry: KindRegistry
) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(f"{PROJECT['old.yaml']}---\nservices: {{web: nginx}}\nx: 1\n")
    migration = migrate(FileSource([str(file)]), migrators, registry)
    rows = [(row.key, row.line, row.outcome) for row in migration.rows if row.document == 1]
    assert rows == [("services", 8, "dropped"), ("x", 9, "dropped")]


def test_a_broken_file_takes_along_what_goes_with_it_and_nothing_else(
    tmp_path: Path, migrators: dict[str, Migrator], registry: KindRegistry
) -> None:
    for name in ("good", "bad"):
        folder = tmp_path / name / "config"
        folder.mkdir(parents=True)
        (folder / "agents.yaml").write_text(f"{name}: {{role: R, goal: G, backstory: B}}\n")
        task = "expected_output: E" if name == "bad" else "description: D, expected_output: E"
        (folder / "tasks.yaml").write_text(f"work: {{{task}, agent: {name}}}\n")
    migration = migrate(FileSource([str(tmp_path)]), migrators, registry)
    assert {str(Path(one.file).relative_to(tmp_path)) for one in migration.refused} == {
        "bad/config/agents.yaml",
        "bad/config/tasks.yaml",
    }
    assert "good" in [manifest["metadata"]["name"] for manifest in migration.resources]


def test_the_same_bytes_come_of_it_whatever_the_hash_seed_and_the_directory(tmp_path: Path) -> None:
    made = []
    for folder, seed in (("one", "1"), ("another place", "77")):
        base = tmp_path / folder
        lay_out(base / "src")
        done = subprocess.run(
            [sys.executable, "-c", RUN, "migrate", "src", "--report", "json"],
            capture_output=True, timeout=60, check=False, cwd=base, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        out = base / "migrated"
        made.append(
            (done.stdout, {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()})
        )
    assert made[0] == made[1]
    assert str(tmp_path).encode() not in made[0][0]
