"""Actions of a workflow as steps: the order, conditions, loops and jumps. What single actions do: ``actions_*``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kastra_core.migration import Draft, Node, escape_braces, identifier
from kastra_plugin_agent_framework.cel import ANY, BLANK, BOOLEAN, NUMBER, RECORD, TABLE, TEXT, Cel, literal
from kastra_plugin_agent_framework.context import Context
from kastra_plugin_agent_framework.layout import END, Layout, Step
from kastra_plugin_agent_framework.powerfx import (
    Call,
    Expr,
    Literal,
    PowerFxError,
    Table,
    Template,
    parse,
    parse_template,
)
from kastra_plugin_agent_framework.powerfx import Record as RecordTree
from kastra_plugin_agent_framework.scope import Knowledge, Variables, data, variable_name
from kastra_plugin_agent_framework.translation import Translator, UntranslatableError

__all__ = ["Compiler", "type_of"]

_TYPES: Mapping[type, str] = {str: TEXT, bool: BOOLEAN, int: NUMBER, float: NUMBER, dict: RECORD, list: TABLE}


def type_of(template: Any) -> frozenset[str]:
    """What a template without formulas gives."""
    if template is None:
        return frozenset({BLANK})
    if isinstance(template, str) and "{{" in template:
        whole = template.startswith("{{") and template.endswith("}}") and template.count("{{") == 1
        return frozenset({ANY if whole else TEXT})
    return frozenset({_TYPES.get(type(template), ANY)})


class Compiler:
    """Makes the steps of one workflow."""

    def __init__(self, context: Context, draft: Draft, knowledge: Knowledge, declared: set[str]) -> None:
        self.context, self.draft, self.knowledge = context, draft, knowledge
        self.layout = Layout()
        self.variables = Variables(knowledge, declared, self._fresh)
        self.types: dict[str, set[str]] = {}
        """What was found to be published under each name."""
        self.loops: list[tuple[str, str]] = []
        """Labels for ContinueLoop and BreakLoop, the innermost last."""
        self.goals: dict[str, Node] = {}
        """Action ids that are jumped to."""
        self.labels: dict[str, str] = {}
        """Action id, also in lower case -> label."""
        self.generic = False
        """Whether the workflow is named after its file, as its own name says nothing."""
        self.jumps: list[tuple[str, str, int]] = []
        """Label, site of the action that jumps there, number of the steps before it."""
        self._taken: set[str] = set()
        self._counter = 0
        self._hoist: Callable[[], Node] | None = None

    def _fresh(self) -> str:
        self._counter += 1
        return f"v{self._counter}"

    # ------------------------------------------------------------------------------------------- steps

    def step_id(self, wanted: str) -> str:
        """A step id that no other step has."""
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted).strip("-")
        if not plain[:1].isalpha() or plain == END:
            plain = f"step-{plain}".rstrip("-")
        name, number = plain, 1
        while name in self._taken:
            number += 1
            name = f"{plain}-{number}"
        self._taken.add(name)
        return name

    def name_of(self, action: Node) -> str:
        """Step id for an action, and the row of its ``id``."""
        wanted = action["id"].text() or _words(action["kind"].text())
        name = self.step_id(wanted)
        action["id"].mapped(self.draft.target(f"spec.steps.{name}.id"))
        return name

    def add(self, action: Node, name: str, body: Mapping[str, Any], *, pure: bool = False) -> Step:
        """Append a step."""
        shown = action["displayName"].text()
        made = {"name": shown, **body} if shown and not any(s.site == action.key for s in self.layout.steps) else body
        return self.layout.add(Step(name, dict(made), action.key, pure=pure))

    def target(self, name: str, field: str = "") -> str:
        """How rows name a step."""
        return self.draft.target(f"spec.steps.{name}{f'.{field}' if field else ''}")

    def publish(self, name: str, types: frozenset[str]) -> dict[str, Any]:
        """``output`` of a step that publishes its result."""
        self.types.setdefault(name, set()).update(types)
        return {"type": name}

    def assign(
        self, action: Node, path: str, template: Any, types: frozenset[str], *, name: str = "", pure: bool = False
    ) -> None:
        """A step that sets a variable."""
        self.set_data(action, ".".join(variable_name(path)), template, types, name=name, pure=pure)

    def set_data(
        self, action: Node, target: str, template: Any, types: frozenset[str], *, name: str = "", pure: bool = False
    ) -> None:
        """A step that publishes a value, unless it is known to be of no use."""
        if pure and (action.key, target) in self.knowledge.useless:
            return
        body = {"set": template, "output": self.publish(target, types)}
        self.add(action, name or self.step_id(f"{self.base(action)}-{target.rpartition('.')[2]}"), body, pure=pure)

    def base(self, action: Node) -> str:
        """What the names of further steps of an action begin with."""
        return action["id"].text() or _words(action["kind"].text())

    # ------------------------------------------------------------------------------------------- formulas

    def translator(self, node: Node) -> Translator:
        """For the formulas of one key."""
        translator = Translator(_Hoisting(self, node))
        translator.fresh = self._fresh  # type: ignore[method-assign]
        return translator

    def formula(self, node: Node, text: str) -> Expr | None:
        """Read a formula; None, and a row, when it cannot be read."""
        try:
            tree, mended = parse(text.strip().removeprefix("="), lenient=True)
        except PowerFxError as error:
            node.manual(f"this formula cannot be read ({error}): write what it should be", self.draft)
            return None
        if mended:
            node.manual("a closing parenthesis is missing at the end; it is read as if it stood there", self.draft)
        return tree

    def tried(self, node: Node, make: Callable[[Translator], Any]) -> Any:
        """What ``make`` makes of a formula; a stub where it cannot be said."""
        steps = len(self.layout.steps)
        try:
            return make(self.translator(node))
        except UntranslatableError as error:
            self.drop_from(steps)
            return self.by_hand(node, f"expressions cannot say it: {error}")

    def drop_from(self, count: int) -> None:
        """Take back the last steps: what they were for is done in another way."""
        for step in self.layout.take_back(count):
            self._taken.discard(step.id)

    def by_hand(self, node: Node, why: str) -> Cel:
        """A stub in place of a formula that cannot be said; it gets the variables that the formula names."""
        used = sorted(
            {
                ".".join(variable_name(found))
                for found in re.findall(r"\b(?:Local|Topic|Global|Turn|Workflow\.Outputs)\.\w+", str(node.value))
            }
        )
        known = [name for name in used if name in self.variables.declared]
        fields = {identifier(name.rpartition(".")[2]): f"{{{{ {data(name)} }}}}" for name in known}
        schema = {"type": "object", "properties": {field: {} for field in fields}}
        draft = self.context.stub(
            node,
            f"formula-{identifier(self.draft.name)}-{identifier(node.key)}",
            what="formula",
            todo=f"{why}; write what it gives: {' '.join(str(node.value).split())[:200]}",
            schema=schema,
            key=f"formula:{node.document.file}:{node.document.index}:{node.key}",
        )
        name = self.step_id(f"{self.variables.site_name or 'formula'}-{identifier(node.name, 'value')}")
        self.layout.add(Step(name, {"tool": draft.name, "arguments": fields}, self.variables.site))
        return Cel(f"steps.{name}.output", atom=True)

    def value(self, node: Node) -> tuple[Any, frozenset[str]]:
        """A value of the source (``=`` begins a formula) as a template, and what it gives."""
        return self._value(node, node.value)

    def _value(self, node: Node, value: Any) -> tuple[Any, frozenset[str]]:
        if isinstance(value, str):
            if not value.lstrip().startswith("="):
                return escape_braces(value), frozenset({TEXT})
            tree = self.formula(node, value)
            if tree is None:
                return None, frozenset({BLANK})

            def made(translator: Translator) -> tuple[Any, frozenset[str]]:
                if isinstance(tree, (Literal, RecordTree, Table)):
                    template = translator.template(tree)
                    return template, type_of(template)
                if isinstance(tree, Template) or (isinstance(tree, Call) and _is_text(tree)):
                    return _joined(translator, translator.text_parts(tree)), frozenset({TEXT})
                found = translator.value(tree)
                return translator.as_template(found), found.types

            result = self.tried(node, made)
            if isinstance(result, Cel):
                return f"{{{{ {result.text} }}}}", result.types
            return result  # type: ignore[no-any-return]
        if isinstance(value, Mapping):
            return {key: self._value(node[key], item)[0] for key, item in value.items()}, frozenset({RECORD})
        if isinstance(value, list):
            return [self._value(node[at], item)[0] for at, item in enumerate(value)], frozenset({TABLE})
        return value, type_of(value)

    def text_parts(self, node: Node) -> list[str | Cel]:
        """A text of the source, with formulas in braces or a formula as a whole, in parts."""
        value = node.value
        if isinstance(value, Mapping) and len(value) == 1 and next(iter(value.values())) is None:
            value = f"{{{next(iter(value))}}}"  # `{Local.X}` without quotes is an object of YAML
        text = value if isinstance(value, str) else node.text()
        if text.lstrip().startswith("="):
            tree = self.formula(node, text)
            if tree is None:
                return []
            found = self.tried(node, lambda translator: translator.text_parts(tree))
        else:
            template = parse_template(text)
            found = self.tried(node, lambda translator: translator.text_parts(template))
        return [found] if isinstance(found, Cel) else list(found)

    def message_parts(self, node: Node) -> list[str | Cel]:
        """Messages of the source (a formula, a text, a list of such) as the parts of one text."""
        out: list[str | Cel] = []
        for at, one in enumerate(node.items() or [node]):
            inner = one.first("text", "content", "value") if one.is_map and len(one.value) > 1 else one
            if inner.is_text and not inner.text().lstrip().startswith("="):
                found: list[str | Cel] = [inner.text()]
            else:
                found = self.text_parts(inner)
            out += (["\n"] if at else []) + found
        return out

    def text_template(self, node: Node) -> str:
        """A text of the source as a template."""
        return _joined(self.translator(node), self.text_parts(node))

    def joined(self, node: Node, parts: Sequence[str | Cel]) -> str:
        """Parts as a template."""
        return _joined(self.translator(node), parts)

    def joined_cel(self, node: Node, parts: Sequence[str | Cel]) -> Cel:
        """Parts as one expression that gives a text."""
        return self.translator(node).join(list(parts))

    def condition(self, node: Node) -> str:
        """A condition of the source as one of CEL."""
        value = node.value
        if value is None:
            return "false"
        if isinstance(value, bool):
            return "true" if value else "false"
        tree = self.formula(node, str(value))
        if tree is None:
            return "false"
        found = self.tried(node, lambda translator: translator.boolean(tree))
        assert isinstance(found, Cel)
        return found.text if found.types == {BOOLEAN} else f"{found.grouped} == true"

    # ------------------------------------------------------------------------------------------- order

    def label(self, word: str = "l") -> str:
        """A new label."""
        self._counter += 1
        return f"@{word}{self._counter}"

    def goal(self, node: Node) -> str:
        """The label of an action id that is jumped to."""
        wanted = node.text()
        if node:
            self.goals.setdefault(wanted, node)
        return f"id:{wanted.lower()}"

    def jump(self, action: Node, label: str) -> None:
        """Go on at a label."""
        self.jumps.append((label, action.key, len(self.layout.steps)))
        if action.key in self.knowledge.endless:
            # The source has no way out either; here a step may not be without one, so the branch has one.
            name = self.step_id(f"{self.base(action)}-again")
            step = self.layout.add(Step(name, {}, action.key, cases=[("", "true", label)], default=END))
            del step
            return
        spare = Step(self.step_id(self.base(action)), {"set": None}, action.key)
        before = len(self.layout.steps)
        self.layout.jump(label, spare)
        if len(self.layout.steps) == before:
            self._taken.discard(spare.id)

    def block(self, actions: Node, visit: Callable[[Compiler, Node], None]) -> None:
        """Lay out a list of actions."""
        for action in actions.items():
            visit(self, action)

    def branch(self, action: Node, name: str, cases: Sequence[tuple[str, str, str]], default: str) -> None:
        """A step that goes on at the label of the first case that is true."""
        self.layout.add(Step(name, _named(action), action.key, cases=list(cases), default=default))

    def literal(self, value: Any) -> Cel:
        return literal(value)


def _named(action: Node) -> dict[str, Any]:
    shown = action["displayName"].text()
    return {"name": shown} if shown else {}


def _is_text(tree: Call) -> bool:
    lowered = tree.function.lower()
    return lowered in ("usermessage", "agentmessage", "messagetext", "concatenate", "concat")


def _joined(translator: Translator, parts: Sequence[str | Cel]) -> str:
    out = ""
    for part in parts:
        if isinstance(part, str):
            text = escape_braces(part)
            out += text
        else:
            if out.endswith(("$", "{")):
                out = f'{out[:-1]}{{{{ "{out[-1]}" }}}}'
            # A number is written without the ".0" that JSON gives it.
            out += f"{{{{ {(translator.as_text(part) if NUMBER in part.types else part).text} }}}}"
    single = len(parts) == 1 and isinstance(parts[0], Cel) and not parts[0].only(TEXT)
    if single and isinstance(parts[0], Cel):
        return f"{{{{ {translator.as_text(parts[0]).text} }}}}"
    return out


def _words(kind: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind).lower() or "step"


class _Hoisting:
    """The scope of formulas: what CEL cannot say is done by a tool in a step before."""

    def __init__(self, compiler: Compiler, node: Node) -> None:
        self.compiler, self.node = compiler, node

    def resolve(self, path: tuple[str, ...]) -> Cel | None:
        return self.compiler.variables.resolve(path)

    def call(self, function: str, arguments: Mapping[str, Any]) -> Cel:
        compiler = self.compiler
        name = compiler.step_id(f"{_site_name(compiler)}-{function.replace('_', '-')}")
        body: dict[str, Any] = {"tool": compiler.context.function(function), "arguments": dict(arguments)}
        compiler.layout.add(Step(name, body, compiler.variables.site))
        return Cel(f"steps.{name}.output", atom=True)

    def stub(self, function: str, arguments: Sequence[Any]) -> Cel:
        compiler = self.compiler
        fields = {f"value{at + 1}": value for at, value in enumerate(arguments)}
        schema = {"type": "object", "properties": {field: {} for field in fields}}
        draft = compiler.context.stub(
            self.node,
            f"powerfx-{function}",
            what=f"function {function} of Power Fx",
            todo="expressions have none such, so a tool stands for it; write it",
            description=f"{function} of Power Fx.",
            schema=schema,
            key=f"powerfx:{function.lower()}:{len(fields)}",
        )
        name = compiler.step_id(f"{_site_name(compiler)}-{_words(function)}")
        compiler.layout.add(Step(name, {"tool": draft.name, "arguments": fields}, compiler.variables.site))
        return Cel(f"steps.{name}.output", atom=True)


def _site_name(compiler: Compiler) -> str:
    return compiler.variables.site_name or "formula"
