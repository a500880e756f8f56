"""What becomes of the keys of CrewAI that no resource has: outcome and reason, by part and key."""

from __future__ import annotations

from collections.abc import Mapping

from kastra_core.migration.report import UNKNOWN
from kastra_plugin_crewai.model import Field

__all__ = ["AGENT", "CREW", "TASK", "rest"]

_LOGS = "Kastra tells what happens by its own means: `kastra logs`, `kastra explain`"
_CALLBACK = "no code runs inside a run: read the events of the run (`kastra events`, `kastra logs`) in its place"
_KNOWLEDGE = "nothing searches these for an agent: write a tool that does and name it in its tools"
_GUARD = (
    "nothing checks the answer in its place: say it in the prompt, or add a step that checks it (an agent with"
    " structured output and a branch)"
)
_NOT_KEPT = "of CrewAI's own machinery; nothing depends on it here"

AGENT: Mapping[str, tuple[str, str]] = {
    "a2a": ("manual", "a remote agent: write a tool that calls it and name it in the agent's tools"),
    "adapted_agent": ("dropped", _NOT_KEPT),
    "agent_executor": ("dropped", _NOT_KEPT),
    "agent_knowledge_context": ("dropped", _NOT_KEPT),
    "allow_code_execution": ("manual", "no agent runs code by itself: write a tool that runs it in a sandbox"),
    "cache": ("dropped", "results of tools are not cached; a tool may do it itself"),
    "cache_handler": ("dropped", "results of tools are not cached; a tool may do it itself"),
    "callbacks": ("manual", _CALLBACK),
    "checkpoint": ("dropped", "every run is durable and goes on after a crash"),
    "code_execution_mode": ("dropped", "no agent runs code by itself"),
    "crew_knowledge_context": ("dropped", _NOT_KEPT),
    "date_format": ("dropped", "no date is put into the prompt"),
    "embedder": ("manual", "only the search of knowledge and memory used it: the tool that searches chooses its model"),
    "executor_class": ("dropped", _NOT_KEPT),
    "from_repository": ("manual", "the agent's text is in CrewAI's repository: write role, goal and backstory"),
    "function_calling_llm": ("dropped", "the agent's own model also calls the tools"),
    "guardrail": ("manual", _GUARD),
    "guardrail_max_retries": ("dropped", "belongs to guardrail, which is to be written by hand"),
    "id": ("dropped", _NOT_KEPT),
    "inject_date": ("manual", "no date is put into the prompt: hand it over as an input or write a tool that tells it"),
    "input_files": ("manual", "no files are handed to the model: write a tool that reads them"),
    "knowledge": ("manual", _KNOWLEDGE),
    "knowledge_config": ("manual", _KNOWLEDGE),
    "knowledge_search_query": ("dropped", _NOT_KEPT),
    "knowledge_sources": ("manual", _KNOWLEDGE),
    "knowledge_storage": ("manual", _KNOWLEDGE),
    "max_reasoning_attempts": ("dropped", "no plan is made before a task"),
    "max_rpm": ("dropped", "the provider's own limit holds, and its plugin waits and tries again"),
    "max_tokens": ("manual", "the source names no model: write spec.model with parameters.maxTokens"),
    "memory": ("manual", "what is remembered belongs to a thread: run with --thread, and see spec.memory"),
    "multimodal": ("manual", "pictures reach the model as parts of the messages only: write a tool that looks at them"),
    "planning": ("dropped", "no plan is made before a task; say in the instructions that it should think first"),
    "planning_config": ("dropped", "no plan is made before a task; say in the instructions that it should think first"),
    "prompt_template": ("manual", "there are no templates of prompts: put its words into the instructions"),
    "reasoning": ("dropped", "no plan is made before a task; say in the instructions that it should think first"),
    "respect_context_window": ("dropped", "what does not fit the model is the provider's error; nothing is summarised"),
    "response_template": ("manual", "there are no templates of prompts: put its words into the instructions"),
    "security_config": ("dropped", _NOT_KEPT),
    "skills": ("manual", "no skills are loaded: put their text into the instructions"),
    "step_callback": ("manual", _CALLBACK),
    "system_template": ("manual", "there are no templates of prompts: put its words into the instructions"),
    "tool_failure_policy": ("dropped", "a tool's error is told to the model, which goes on"),
    "tools_handler": ("dropped", _NOT_KEPT),
    "type": ("manual", "a class of Python makes this agent: what it does beyond an agent must be written by hand"),
    "use_system_prompt": ("dropped", "the instructions are always the system message"),
    "verbose": ("dropped", _LOGS),
}
TASK: Mapping[str, tuple[str, str]] = {
    "allow_crewai_trigger_context": ("dropped", "there are no triggers of CrewAI; hand their data over as an input"),
    "callback": ("manual", _CALLBACK),
    "callbacks": ("manual", _CALLBACK),
    "condition": ("manual", "a condition in Python: put the step into a branch with a CEL condition (`when`)"),
    "converter_cls": ("manual", "the agent's structured output makes the JSON: adapt its schema"),
    "create_directory": ("dropped", "no file is written"),
    "guardrail": ("manual", _GUARD),
    "guardrail_max_retries": ("dropped", "belongs to guardrail, which is to be written by hand"),
    "guardrails": ("manual", _GUARD),
    "id": ("dropped", _NOT_KEPT),
    "input_files": ("manual", "no files are handed to the model: write a tool that reads them"),
    "max_retries": ("dropped", "belongs to guardrail, which is to be written by hand"),
    "output": ("dropped", _NOT_KEPT),
    "output_file": (
        "manual",
        "no file is written: redirect what `kastra run` prints, or add a step with a tool that writes",
    ),
    "prompt_context": ("dropped", _NOT_KEPT),
    "retry_count": ("dropped", _NOT_KEPT),
    "security_config": ("dropped", _NOT_KEPT),
    "tool_failure_policy": ("dropped", "a tool's error is told to the model, which goes on"),
    "type": ("manual", "a class of Python makes this task: what it does beyond a task must be written by hand"),
    "verbose": ("dropped", _LOGS),
}
CREW: Mapping[str, tuple[str, str]] = {
    "after_kickoff_callbacks": ("manual", "code after the crew: write it as a tool and add a step that calls it"),
    "before_kickoff_callbacks": ("manual", "code before the crew: write it as a tool and add a step that calls it"),
    "cache": ("dropped", "results of tools are not cached; a tool may do it itself"),
    "chat_llm": ("dropped", "`kastra chat` talks with agents and networks"),
    "checkpoint": ("dropped", "every run is durable and goes on after a crash"),
    "config": ("manual", "write what it says as resources"),
    "embedder": ("manual", "only the search of knowledge and memory used it: the tool that searches chooses its model"),
    "entity_memory": ("manual", "what is remembered belongs to a thread: run with --thread, and see Agent spec.memory"),
    "full_output": ("dropped", "the outputs of all steps are kept: `kastra explain`"),
    "function_calling_llm": ("dropped", "an agent's own model also calls the tools"),
    "id": ("dropped", _NOT_KEPT),
    "knowledge": ("manual", _KNOWLEDGE),
    "knowledge_sources": ("manual", _KNOWLEDGE),
    "language": ("dropped", _NOT_KEPT),
    "long_term_memory": (
        "manual",
        "what is remembered belongs to a thread: run with --thread, and see Agent spec.memory",
    ),
    "max_rpm": ("dropped", "the provider's own limit holds, and its plugin waits and tries again"),
    "memory": (
        "manual",
        "each step gets the outputs before it; what is remembered beyond belongs to a thread: see Agent spec.memory",
    ),
    "memory_config": ("manual", "what is remembered belongs to a thread: see Agent spec.memory"),
    "output_log_file": ("dropped", _LOGS),
    "planning": ("manual", "no plan is made before the tasks: add a step in which an agent makes one"),
    "planning_llm": ("dropped", "no plan is made before the tasks"),
    "prompt_file": ("manual", "the prompts are in the resources: put its words into them"),
    "security_config": ("dropped", _NOT_KEPT),
    "share_crew": ("dropped", "nothing is sent to CrewAI"),
    "short_term_memory": ("manual", "what is remembered belongs to a thread: see Agent spec.memory"),
    "skills": ("manual", "no skills are loaded: put their text into the agents' instructions"),
    "step_callback": ("manual", _CALLBACK),
    "stream": ("dropped", "answers are streamed where the command asks for it"),
    "task_callback": ("manual", _CALLBACK),
    "tool_failure_policy": ("dropped", "a tool's error is told to the model, which goes on"),
    "tracing": ("dropped", _LOGS),
    "trained_agents_file": ("manual", "there is no training: put what was learnt into the instructions"),
    "usage_metrics": ("dropped", _NOT_KEPT),
    "verbose": ("dropped", _LOGS),
}


def rest(
    fields: Mapping[str, Field], done: frozenset[str] | set[str], table: Mapping[str, tuple[str, str]], target: str
) -> None:
    """Write the rows of the fields that nothing was made of.

    Args:
        done: fields that have rows.
        table: key -> outcome and reason.
        target: of rows where something is to do.
    """
    for name, field in fields.items():
        if name in done:
            continue
        outcome, reason = table.get(name, ("dropped", UNKNOWN))
        for node in field.nodes:
            if outcome == "manual" and not field.is_code and not field.value:
                node.dropped("off, as it is here without a word")
            elif outcome == "manual":
                node.manual(reason, target)
            else:
                node.dropped(reason)
