"""How sure the migrator is of its documents, and what it makes of ids, versions and empty fields."""

from __future__ import annotations

import pytest

from kastra_core.errors import ManifestError
from kastra_core.migration import MemorySource, read_text
from kastra_core.protocols.migrator import MigrationResult
from kastra_plugin_agentspec.migrator import AgentSpecMigrator


def test_a_mark_of_the_format_is_surer_than_its_shape() -> None:
    migrator = AgentSpecMigrator()
    marks = (
        "agentspec_version: 26.1.0",
        "$referenced_components: {}",
        "component_type: Agent",
        "component_type: AcmeNode",
    )
    found = [migrator.detect(read_text(text, "x.yaml")[0]) for text in marks]
    assert found == [0.97, 0.95, 0.92, 0.6]
    assert migrator.detect(read_text("kind: Agent", "x.yaml")[0]) == 0.0


def _moved(text: str, file: str = "a.yaml") -> MigrationResult:
    return AgentSpecMigrator().migrate(MemorySource(read_text(text, file)))


EMPTY = """\
agentspec_version: 26.1.0
component_type: Agent
id: {id}
name: helper
description: ""
metadata: {{}}
inputs: []
outputs: []
system_prompt: Help.
llm_config:
  {{component_type: OpenAiConfig, id: m, name: {model}, description: null, metadata: {{}}, model_id: gpt-4o-mini{more}}}
tools:
- {{component_type: ServerTool, id: t, name: look, description: "", inputs: [], requires_confirmation: false}}
toolboxes: []
"""


def test_ids_versions_and_empty_fields_are_no_loss() -> None:
    rows = _moved(EMPTY.format(id="one", model="null", more="")).rows
    assert [row.key for row in rows if row.outcome == "dropped"] == []
    empty = {row.key for row in rows if row.reason == "says the same as no value"}
    assert empty == {"description", "metadata", "inputs", "outputs", "toolboxes"}
    assert {row.key for row in rows if row.reason.startswith("the component;")} == {"llm_config", "tools[0]"}
    assert {row.outcome for row in rows if row.key in empty} == {"defaulted"}


def test_what_is_not_known_is_dropped_beside_empty_fields() -> None:
    rows = _moved(EMPTY.format(id="one", model="m", more=", size: 3, metadata2: {x: 1}")).rows
    dropped = {row.key: row.reason for row in rows if row.outcome == "dropped"}
    assert {"llm_config.size", "llm_config.metadata2", "llm_config.name"} == set(dropped)
    assert "not known" in dropped["llm_config.size"]


def test_the_id_of_a_file_leads_to_its_resource_in_the_names() -> None:
    result = _moved(EMPTY.format(id="7f3a", model="null", more=""))
    assert result.names == {"Agent/7f3a (id)": "helper"}
    row = next(row for row in result.rows if row.key == "id")
    assert (row.outcome, row.target) == ("mapped", "Agent default/helper metadata.name")


def test_one_id_of_two_files_leads_to_both_resources() -> None:
    first, second = (EMPTY.format(id="same", model="null", more="") for _ in range(2))
    documents = [*read_text(first, "a.yaml"), *read_text(second.replace("name: helper", "name: other"), "b.yaml")]
    names = AgentSpecMigrator().migrate(MemorySource(documents)).names
    assert names == {"Agent/same (id)": "helper", "Agent/same (id in b.yaml)": "other"}


@pytest.mark.parametrize("field", ["agentspec_version", "air_version"])
def test_a_version_is_read_and_an_unknown_one_refused_in_either_spelling(field: str) -> None:
    text = f"agentspec_version: 26.1.0\n{field}: {{}}\ncomponent_type: Agent\nname: a\nsystem_prompt: x\n"
    text = text if field == "air_version" else text.removeprefix("agentspec_version: 26.1.0\n")
    row = next(row for row in _moved(text.format("25.4.1")).rows if row.key == field)
    assert (row.outcome, row.target) == ("mapped", "Agent default/a apiVersion")
    with pytest.raises(ManifestError, match="not a version"):
        _moved(text.format("23.0.0"))
