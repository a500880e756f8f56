"""The fields of an agent."""

from __future__ import annotations

from collections.abc import Mapping

from kastra_core.migration import Draft, Node
from kastra_plugin_docker_agent.durations import seconds_of
from kastra_plugin_docker_agent.kit import Kit
from kastra_plugin_docker_agent.rows import dropped, manual, mapped
from kastra_plugin_docker_agent.schemas import mended
from kastra_plugin_docker_agent.seat import Seat
from kastra_plugin_docker_agent.toolsets import add_builtin, add_rag, add_toolset

__all__ = ["fill_agent", "tell_turns", "write_budget"]

_DROPPED: Mapping[str, str] = {
    "name": "the key is the agent's name",
    "welcome_message": "said to people by docker-agent's terminal; an agent here says nothing before it is asked",
    "code_mode_tools": "the model calls tools one by one, or several at once, without a program around them",
    "add_description_parameter": "calls of tools are recorded with their arguments; they need no description",
    "max_consecutive_tool_calls": "spec.limits.maxSteps ends an agent that goes in circles",
    "max_old_tool_call_tokens": "results of tools are handed over as they are; spec.memory.maxTokens bounds memory",
    "max_tool_result_tokens": "results of tools are handed over as they are; spec.memory.maxTokens bounds memory",
    "session_compaction": "memory here keeps the last messages; see spec.memory.type summary",
    "compaction_threshold": "memory here keeps the last messages; see spec.memory.type summary",
    "compaction_model": "memory here keeps the last messages; see spec.memory.summary.model",
    "cache": "answers are not kept for the next time that the same is asked",
    "redact_secrets": "secrets in texts are not looked for",
}
_IF_TRUE: Mapping[str, str] = {
    "add_date": "tell the agent the date in the input, if it needs it: nothing is added to its instructions",
    "add_environment_info": "put what the agent has to know of the machine into its instructions",
}
_MANUAL: Mapping[str, str] = {
    "instruction_file": "put the text of the file into spec.instructions",
    "harness": "the agent is another program here: write a Tool that calls it",
    "safety": "nobody is asked before a tool is called here: see that its tools do nothing that they should not",
    "use_skills": "there are no skills here: put their text into spec.instructions, or write a Tool that reads them",
}


def fill_agent(kit: Kit, seat: Seat) -> None:
    """Write the Agent and the rows of its fields, except those that make a team."""
    node, draft = seat.node, seat.draft
    told = "${...} in it stays as it is" if "${" in node["instruction"].text() else ""
    if node["instruction"].text():
        node["instruction"].to(draft, "spec.instructions", node["instruction"].text(), reason=told)
    if node["description"].text():
        node["description"].to(draft, "spec.description", node["description"].text())
    kit.models.put(draft, "spec.model", node["model"], tools=bool(node["toolsets"].list() or node["rag"].list()))
    _old_fields(kit, seat)
    for toolset in node["toolsets"].items():
        add_toolset(kit, seat, toolset)
    for item in node["use_toolsets"].items():
        shared = kit.root["toolsets"][item.text()]
        if shared.present:
            add_toolset(kit, seat, shared)
            mapped(item, draft.target("spec.tools"), "the entry of toolsets")
        else:
            manual(item, f"there is no entry {item.text()!r} under toolsets", draft)
    for item in node["rag"].items():
        add_rag(kit, seat, kit.root["rag"][item.text()], item.text(), item)
    _limits(kit, seat)
    _output(seat)
    _extras(kit, seat)
    seat.close()


def _old_fields(kit: Kit, seat: Seat) -> None:
    """What was a field of the agent in version 0 and is a toolset since."""
    node = seat.node
    todo, think, memory = node["todo"], node["think"], node["memory"]
    if todo and todo.value is not False:
        add_builtin(kit, seat, todo, "todo", said=todo)
        told = "the functions have to keep one list for all agents"
        kit.by_hand(todo["shared"], told, seat.draft.target("spec.tools"))
    else:
        dropped(todo, "false: no to-do list")
    if think.value is True:
        add_builtin(kit, seat, think, "think", said=think)
    else:
        dropped(think, "false: no such tool")
    if memory["path"].text():
        add_builtin(kit, seat, memory, "memory", said=memory["path"])
    else:
        dropped(memory, "no path, no memory")


def _limits(kit: Kit, seat: Seat) -> None:
    node, draft = seat.node, seat.draft
    turns, messages = node["max_iterations"], node["num_history_items"]
    if (turns.number() or 0) > 0:
        turns.to(draft, "spec.limits.maxSteps", int(turns.number() or 0), reason="turns of the agent")
    else:
        dropped(turns, "0 is no limit in docker-agent; here an agent stops after 25 turns unless spec.limits says more")
    if (messages.number() or 0) > 0:
        messages.to(draft, "spec.memory.maxMessages", int(messages.number() or 0))
    else:
        dropped(messages, "0 is no limit in docker-agent; here the last 40 messages of a thread are told")
    for item in node["budgets"].items():
        budget = kit.root["budgets"][item.text()]
        if not budget.present:
            manual(item, f"there is no entry {item.text()!r} under budgets", draft)
            continue
        write_budget(budget, draft)
        mapped(item, draft.target("spec.limits"), "of each run of the agent; agents do not share it")


def tell_turns(root: Node, entry: Seat, head: Draft, *, tools: bool) -> None:
    """The row for turns without limit, which is what docker-agent allows where a file says nothing.

    Args:
        entry: the agent that is asked first.
        head: what people run.
        tools: an agent has some; without them and without team there is one turn.
    """
    silent = {name: node for name, node in root["agents"].fields() if not node["max_iterations"].present}
    team = head.kind == "Network"
    if not silent or not (tools or team):
        return
    told = "docker-agent sets no limit; here an agent stops after 25 turns unless spec.limits.maxSteps says more"
    if team:
        told += ", and a network after 10 members unless spec.router.maxSteps does"
    node = silent.get(entry.name) or next(iter(silent.values()))
    node["max_iterations"].defaulted(told, (entry.draft if entry.name in silent else head).target("spec.limits"))


def write_budget(budget: Node, draft: Draft) -> None:
    """Write the ceilings of a run into a draft; of several the lowest holds."""
    time = seconds_of(budget["max_time"].text())
    given = ((budget["max_cost"], "maxCost"), (budget["max_tokens"], "maxTokens"), (budget["max_time"], "timeoutS"))
    for node, name in given:
        value = time if name == "timeoutS" else node.number()
        path = f"spec.limits.{name}"
        if not value or value < 0:
            dropped(node, "0 is no limit")
            continue
        value = value if name == "maxCost" else int(value) or 1
        if draft.get(path) is not None and draft.get(path) <= value:
            dropped(node, "another budget is lower")
        else:
            node.to(draft, path, value, reason="from the start of the run" if name == "timeoutS" else "")


def _output(seat: Seat) -> None:
    output = seat.node["structured_output"]
    if not output:
        return
    schema = output["schema"]
    if not schema.mapping():
        manual(output, "an output without schema: write spec.output.schema", seat.draft)
        return
    made = mended(schema.mapping())
    target = seat.draft.target("spec.output.schema")
    for key, field in (("name", "title"), ("description", "description")):
        if not output[key].text():
            continue
        if field in made:
            dropped(output[key], f"the schema has a {field} of its own")
        else:
            made[field] = output[key].text()
            mapped(output[key], target)
    schema.to(seat.draft, "spec.output.schema", made)
    dropped(output["strict"], "an answer is checked against the schema anyway")
    dropped(output["mode"], "an answer is checked against the schema, whichever way the model makes it")


def _extras(kit: Kit, seat: Seat) -> None:
    """Fields that have no counterpart."""
    node, draft = seat.node, seat.draft
    for key, told in _DROPPED.items():
        dropped(node[key], told)
    for key, told in _MANUAL.items():
        manual(node[key], told, draft)
    for key, told in _IF_TRUE.items():
        if node[key].value is True:
            manual(node[key], told, draft)
        else:
            dropped(node[key], "false: nothing is added")
    for key in ("compaction_model",):
        kit.models.also(node[key], "the model that condenses conversations")
    files = [item.text() for item in node["add_prompt_files"].items()]
    if files:
        manual(node["add_prompt_files"], f"put the text of {', '.join(files)} into spec.instructions", draft)
        manual(node["add_prompt_files_depth"], "and say where files of this name are", draft)
    else:
        dropped(node["add_prompt_files"], "names no file")
        dropped(node["add_prompt_files_depth"], "there are no prompt files")
    _commands(seat)
    _fallback(kit, seat)
    _hooks(seat)
    _skills(seat)
    readonly = node["readonly"]
    if readonly.value is True:
        mapped(
            readonly, draft.target("spec.tools"), "of built-in tools only those that change nothing; check the others"
        )
    else:
        dropped(readonly, "tools may change things")


def _commands(seat: Seat) -> None:
    told = f"a prompt for people at the terminal: kastra run agent/{seat.draft.name} with its text"
    for key in ("commands", "use_commands"):
        dropped(seat.node[key], told)


def _fallback(kit: Kit, seat: Seat) -> None:
    fallback = seat.node["fallback"]
    for item in fallback["models"].items():
        kit.models.also(item, "a model for when another one fails")
        manual(item, f"no other model takes over here: run again with --model {item.text()}", seat.draft)
    dropped(fallback["retries"], "failed calls of a model are tried up to four times")
    dropped(fallback["cooldown"], "no other model takes over")


def _hooks(seat: Seat) -> None:
    for event, child in seat.node["hooks"].fields():
        if not child.items():
            dropped(child, "no hooks")
        for item in child.items():
            told = f"nothing runs at {event}: let a tool's function do it, or a step of a workflow around the agent"
            manual(item, told, seat.draft)


def _skills(seat: Seat) -> None:
    skills = seat.node["skills"]
    if skills.value is False or skills.value == []:
        dropped(skills, "no skills")
    else:
        told = "there are no skills here: put their text into spec.instructions, or write a Tool that reads them"
        manual(skills, told, seat.draft)
