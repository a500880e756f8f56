"""The fields that each version of docker-agent knows, and the check of a file against them.

docker-agent refuses a file with a field that its version does not know. Versions 0 to 6 are closed, so their files are
held to that. Later ones grow: there a field that resembles a known one is taken for a slip, any other for news.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from functools import cache

from kastra_core.migration import Node
from kastra_core.serde import type_word

__all__ = ["NEW", "NEWEST", "check", "version_of"]

NEW = 7
"""Versions from here on are told apart by nothing but their number."""
NEWEST = 15
"""The last version whose fields are known."""

_TABLE = """
Config
  version str
  agents {Agent}
  models {Model}
  env {str} 0-1
  metadata Metadata 1-
  rag {RAG} 2-
  providers {Provider} 3-
  permissions Permissions 3-
  mcps {Toolset} 6-
  commands {any} 7-
  skills {any} 7-
  toolsets {Toolset} 7-
  runtime Runtime 7-
  budget Budget 7-
  budgets {Budget} 7-
  flavors {any} 7-
Agent
  name str 0-0,4-
  model str
  description str
  instruction str
  instruction_file any 7-
  toolsets [Toolset]
  sub_agents [str]
  add_date bool
  num_history_items int
  commands any
  think bool 0-0
  todo any 0-0
  memory Memory 0-0
  add_environment_info bool 1-
  welcome_message str 2-
  handoffs [str] 2-
  rag [str] 2-
  code_mode_tools bool 2-
  max_iterations int 2-
  add_prompt_files [str] 2-
  structured_output StructuredOutput 2-
  skills any 3-
  hooks Hooks 3-
  fallback Fallback 4-
  add_description_parameter bool 4-
  add_prompt_files_depth int 7-
  harness Harness 7-
  force_handoff str 7-
  readonly bool 7-
  safety str 7-
  redact_secrets bool 7-
  budgets [str] 7-
  max_consecutive_tool_calls int 7-
  max_old_tool_call_tokens int 7-
  max_tool_result_tokens int 7-
  session_compaction bool 7-
  compaction_threshold num 7-
  compaction_model str 7-
  cache Cache 7-
  use_commands [str] 7-
  use_skills [str] 7-
  use_toolsets [str] 7-
Memory
  path str
Model
  type str 0-0
  provider str 1-
  model str
  description str 7-
  temperature num
  max_tokens int
  top_p num
  frequency_penalty num
  presence_penalty num
  base_url str
  parallel_tool_calls bool
  env {str} 0-1
  token_key str 1-
  provider_opts {any} 1-
  track_usage bool 2-
  thinking_budget any 2-
  routing [Routing] 3-
  bypass_models_gateway bool 7-
  task_budget any 7-
  auth any 7-
  first_available [str] 7-
  title_model str 7-
  compaction_model str 7-
  compaction_threshold num 7-
  capabilities any 7-
  cost any 7-
Routing
  model str
  examples [str]
Provider
  provider str 7-
  api_type str
  base_url str
  token_key str
  unload_api str 7-
  temperature num 7-
  max_tokens int 7-
  top_p num 7-
  frequency_penalty num 7-
  presence_penalty num 7-
  parallel_tool_calls bool 7-
  provider_opts {any} 7-
  track_usage bool 7-
  thinking_budget any 7-
  task_budget any 7-
  auth any 7-
  compaction_model str 7-
Metadata
  author str
  license str
  readme str
  version str 3-
  description str 4-
  tags [str] 7-
Permissions
  allow [str]
  ask [str] 4-
  deny [str]
Runtime
  sandbox bool
  network_allowlist [str]
  safety str
Budget
  max_cost num
  max_tokens int
  max_time str
Harness
  type str
  model str
  effort str
  agent str
  thinking bool
Cache
  enabled bool
  case_sensitive bool
  trim_spaces bool
  path str
Fallback
  models [str]
  retries int
  cooldown str
StructuredOutput
  name str
  description str
  schema {any}
  strict bool
  mode str 7-
Hooks
  pre_tool_use [Matcher]
  post_tool_use [Matcher]
  session_start [Hook]
  session_end [Hook]
  on_user_input [Hook] 6-
  permission_request [Matcher] 7-
  tool_response_transform [Matcher] 7-
  user_prompt_submit [Hook] 7-
  user_steering_messages_submit [Hook] 7-
  user_followup_submit [Hook] 7-
  turn_start [Hook] 7-
  turn_end [Hook] 7-
  before_llm_call [Hook] 7-
  after_llm_call [Hook] 7-
  pre_compact [Hook] 7-
  subagent_stop [Hook] 7-
  stop [Hook] 7-
  notification [Hook] 7-
  on_error [Hook] 7-
  on_max_iterations [Hook] 7-
  on_agent_switch [Hook] 7-
  on_session_resume [Hook] 7-
  on_tool_approval_decision [Hook] 7-
  before_compaction [Hook] 7-
  after_compaction [Hook] 7-
  worktree_create [Hook] 7-
Matcher
  matcher str
  hooks [Hook]
  preempt_yolo bool 7-
Hook
  type str
  command str
  timeout int
  name str 7-
  args [str] 7-
  env {str} 7-
  working_dir str 7-
  on_error str 7-
  model str 7-
  prompt str 7-
  schema str 7-
Toolset
  type str
  command str
  remote Remote
  args [str]
  env {str}
  tools [str]
  env_file any 0-1
  ref str 1-
  config any 1-
  shared bool 1-
  path str 1-
  shell {Script} 1-
  post_edit [PostEdit] 1-
  instruction str 2-
  toon str 2-
  api_config Api 2-
  ignore_vcs bool 2-
  timeout int 2-
  name str 3-
  url str 3-
  defer any 3-
  sandbox Sandbox 3-5
  headers {str} 4-
  file_types [str] 4-
  model str 6-
  version str 6-
  models [str] 6-
  readonly bool 7-
  webhook_config any 7-
  rag_config RAG 7-
  allow_list [str] 7-
  deny_list [str] 7-
  allowed_domains [str] 7-
  blocked_domains [str] 7-
  allow_private_ips bool 7-
  sudo_askpass bool 7-
  recall bool 7-
  safer bool 7-
  allowed_servers [str] 7-
  blocked_servers [str] 7-
  working_dir str 7-
  lifecycle any 7-
Remote
  url str
  transport_type str
  headers {str}
  oauth any 7-
Sandbox
  image str
  paths [str]
Script
  cmd str
  description str
  args {any}
  required [str]
  env {str}
  working_dir str
PostEdit
  path str
  cmd str
Api
  instruction str
  name str
  required [str]
  args {any}
  endpoint str
  method str
  headers {str}
  output_schema {any} 3-
RAG
  description str 2-2
  tool RAGTool 3-
  docs [str]
  respect_vcs bool 3-
  strategies [any]
  results Results
  instruction str 7-
  tools [str] 7-
  name str 7-
  defer any 7-
RAGTool
  name str
  description str
  instruction str
Results
  limit int
  fusion Fusion
  reranking Reranking 3-
  deduplicate bool
  include_score bool
  return_full_content bool
Fusion
  strategy str
  k int
  weights {num}
Reranking
  model str
  top_k int
  threshold num
  criteria str
"""
"""Shape, then its fields: name, kind, versions ("2-" from 2 on, "0-1" only these; default: all).

Kinds: a word (str, int, num, bool, any), a shape, [kind] for a list, {kind} for an object with free keys.
Source: docker/docker-agent pkg/config/v0 to v6 and latest (0d76412), agent-schema.json (02d05d6, versions up to 15).
"""

_WORDS = {"str": "a string", "int": "an integer", "num": "a number", "bool": "true or false"}


@cache
def _shapes() -> dict[str, dict[str, tuple[str, tuple[tuple[int, int], ...]]]]:
    out: dict[str, dict[str, tuple[str, tuple[tuple[int, int], ...]]]] = {}
    fields: dict[str, tuple[str, tuple[tuple[int, int], ...]]] = {}
    for line in _TABLE.strip().splitlines():
        if not line.startswith(" "):
            fields = out.setdefault(line, {})
            continue
        name, kind, *versions = line.split()
        spans = []
        for span in (versions[0] if versions else "0-").split(","):
            first, _, last = span.partition("-")
            spans.append((int(first), int(last or NEW)))
        fields[name] = (kind, tuple(spans))
    return out


def version_of(root: Node) -> int | None:
    """The version of a file, 0 to :data:`NEW`; None after a problem. A file without one is of the newest."""
    node = root["version"]
    if not node:
        return NEW
    text = node.text()
    if isinstance(node.value, (dict, list)):
        return None
    if text in {str(number) for number in range(NEWEST + 1)}:
        return min(int(text), NEW)
    if text == "":
        return NEW
    node.problem(f"docker-agent has no configuration version {text!r}", f"versions are 0 to {NEWEST}")
    return None


def check(node: Node, shape: str, version: int) -> None:
    """Write a problem for each field of an object that is unknown or of another type than it must be."""
    known = _shapes()[shape]
    for key, child in node.fields():
        field = known.get(key)
        if field is not None and any(first <= version <= last for first, last in field[1]):
            _check_value(child, field[0], version)
        else:
            _unknown(child, key, shape, version)


def _check_value(node: Node, kind: str, version: int) -> None:
    if not node or kind == "any":
        return
    if kind.startswith("["):
        if not node.is_list:
            node.problem(f"expected a list, found {type_word(node.value)}")
        for item in node.items():
            _check_value(item, kind[1:-1], version)
    elif kind.startswith("{"):
        if not node.is_map:
            node.problem(f"expected an object, found {type_word(node.value)}")
        for _, child in node.fields():
            _check_value(child, kind[1:-1], version)
    elif kind in _WORDS:
        if not _fits(node.value, kind):
            node.problem(f"expected {_WORDS[kind]}, found {type_word(node.value)}")
    elif not node.is_map:
        node.problem(f"expected an object, found {type_word(node.value)}")
    else:
        check(node, kind, version)


def _fits(value: object, kind: str) -> bool:
    """As the YAML library of docker-agent converts: scalars to texts, numeric texts to numbers."""
    if kind == "str":
        return isinstance(value, (str, int, float, bool))
    if kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return False
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    return kind == "num" or float(value).is_integer()


def _unknown(node: Node, key: str, shape: str, version: int) -> None:
    known = _shapes()[shape]
    here = [name for name, (_, spans) in known.items() if any(first <= version <= last for first, last in spans)]
    name = str(version) if version < NEW else "7 and later"
    if key in known:
        spans = known[key][1]
        newer = [first for first, _ in spans if first > version]
        hint = f"it is known from version {newer[0]} on" if newer else f"it was known up to version {spans[-1][1]}"
        node.problem(f"version {name} of docker-agent does not know the field {key!r}", hint)
        return
    near = get_close_matches(key, here, n=1, cutoff=0.8)
    if near:
        node.problem(f"docker-agent does not know the field {key!r}", f"did you mean {near[0]!r}?")
    elif version < NEW:
        shown = ", ".join(sorted(here))
        node.problem(f"version {name} of docker-agent does not know the field {key!r}", f"it knows {shown}")
    else:
        node.manual(f"not known to docker-agent up to version {NEWEST}; see whether anything has to be made of it")
