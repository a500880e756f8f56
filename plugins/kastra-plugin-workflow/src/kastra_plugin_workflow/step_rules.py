"""What a step must and must not say, whatever the steps around it are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kastra_core.cel.evaluation import TYPE_NAMES
from kastra_core.cel.hints import suggestion
from kastra_core.durations import Duration
from kastra_core.errors import InvalidReferenceError, Problem, shortened
from kastra_core.serde import FieldError, type_word
from kastra_plugin_workflow.outline import Block, Outline, Site
from kastra_plugin_workflow.spec import BODIES, END, UNSET, RetrySpec, StepSpec
from kastra_plugin_workflow.values import USER_INPUT, instant_of, output_form

__all__ = [
    "id_problems",
    "retry_problems",
    "schema_problems",
    "step_problems",
    "target_problem",
    "targets_of",
]

_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,62}", re.ASCII)
_REASON_PATTERN = re.compile(r"[A-Za-z0-9*]{1,63}", re.ASCII)
_LABEL = re.compile(r"[^/\[\]#@!\x00-\x1f\x7f]{1,63}")
"""Names of branches are part of a step's path."""
_MOST_PASSES = 1_000_000
_RESERVED = frozenset(
    (
        *("workflow", "steps", "step", "data", "state", "input", "result", "iteration", "output", "error", "index"),
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"),
        *("let", "loop", "package", "namespace", "return", "var", "void", "while"),
        *TYPE_NAMES,
    )
)
_AT_ONCE = "it is over at once"
_NO_TIMEOUT = {
    "set": _AT_ONCE,
    "succeed": _AT_ONCE,
    "fail": _AT_ONCE,
    "sleep": "it lasts as long as it says",
    "branch": "without steps of its own it is over at once",
}
"""Body -> why a timeout means nothing for it."""
_NO_RETRY = {
    "set": "with the same data it gives the same",
    "succeed": "it ends the workflow",
    "fail": "it fails on purpose, and would again",
    "sleep": "it does not fail",
    "branch": "without steps of its own it does not fail",
}
_BODY_NAMES = ", ".join(BODIES.values())


def step_problems(site: Site, namespace: str) -> Iterator[Problem]:
    """Yield what is wrong with the step itself; expressions and what it names are looked at elsewhere."""
    yield from _body(site)
    for body in site.bodies:
        check = _CHECKS.get(body)
        if check is not None:
            yield from check(site)
    yield from _reference(site, namespace)
    yield from _input(site)
    yield from _output(site)
    yield from _end(site)
    yield from _tries(site)


# ------------------------------------------------------------------------------------------------ ids and targets


def id_problems(outline: Outline) -> Iterator[Problem]:
    """Ids that are none, and ids that two steps have."""
    for site in outline.sites:
        name, path = site.step.id, f"{site.path}.id"
        if name == END:
            yield Problem(f"{END!r} is no id: `next: {END}` ends a block", path, hint="choose another one")
        elif _ID.fullmatch(name) is None:
            yield Problem(
                f"{shortened(name, 80)!r} is no id: a letter, then letters, digits, '_' and '-', at most 63 in all",
                path,
            )
        first = outline.by_id[name]
        if first is not site:
            yield Problem(
                f"two steps have the id {shortened(name, 80)!r}",
                path,
                hint=f"{first.path} has it too; ids are unique in the whole workflow, nested blocks included",
            )


def targets_of(site: Site) -> Iterator[tuple[str, str]]:
    """(name, path of its field) of each step of the block that the step may go on with by name."""
    step = site.step
    if step.next:
        yield step.next, f"{site.path}.next"
    if step.branch is not None:
        at = site.at("branch", "cases")
        for index, case in enumerate(step.branch.cases):
            if case.next:
                yield case.next, f"{at}[{index}].next"
        if step.branch.default is not None and step.branch.default.next:
            yield step.branch.default.next, site.at("branch", "default", "next")
    if step.on_failure is not None and step.on_failure.next:
        yield step.on_failure.next, site.at("onFailure", "next")


def target_problem(name: str, path: str, block: Block, outline: Outline) -> Problem:
    """The problem of a name that is no step of ``block``."""
    elsewhere = outline.by_id.get(name)
    shown = shortened(name, 80)
    if elsewhere is not None:
        where = _where(elsewhere.block)
        return Problem(
            f"step {shown!r} is in another block ({where})",
            path,
            hint="a step goes on with steps of its own block only",
        )
    known = [*(site.step.id for site in block.steps), END]
    hint = suggestion(name, known, f"steps of this block: {', '.join(known[:20])}")
    return Problem(f"there is no step {shown!r}", path, hint=hint)


def _where(block: Block) -> str:
    if block.owner is None:
        return block.path
    return f"in step {block.owner.step.id!r}, {block.path}"


# ------------------------------------------------------------------------------------------------ bodies


def _body(site: Site) -> Iterator[Problem]:
    bodies = site.bodies
    if not bodies:
        hint = ""
        if isinstance(site.raw, Mapping):
            empty = [name for name in BODIES.values() if name in site.raw]
            hint = f"{empty[0]!r} is empty" if empty else f"give it one of {_BODY_NAMES}"
        yield Problem("the step does nothing", site.path, hint=hint)
    elif len(bodies) > 1:
        yield Problem(
            f"the step has {len(bodies)} bodies: {', '.join(bodies)}",
            f"{site.path}.{bodies[1]}",
            hint="make a step of each",
        )


def _reference(site: Site, namespace: str) -> Iterator[Problem]:
    from kastra_plugin_workflow.rules import REFERRING, reference_of

    for body in REFERRING:
        value = getattr(site.step, body)
        if value is None or value == "":
            continue
        try:
            reference_of(StepSpec(id=site.step.id, **{body: value}), namespace, site.path)
        except InvalidReferenceError as error:
            yield Problem(str(error), f"{site.path}.{body}")


def _branch(site: Site) -> Iterator[Problem]:
    branch = site.step.branch
    assert branch is not None
    at = site.at("branch", "cases")
    if not branch.cases:
        yield Problem("a branch needs at least one case", at, hint="cases: [{when: EXPRESSION, next: ID}]")
    names: dict[str, int] = {}
    for index, case in enumerate(branch.cases):
        path = f"{at}[{index}]"
        if not case.when.strip():
            yield Problem("a case needs a condition", f"{path}.when", hint="what holds otherwise goes into `default`")
        yield from _one_way(case.next, bool(case.steps), path, "a case")
        if branch.mode == "all" and case.next:
            yield Problem(
                "in mode all a case has steps, not next: several may be true", f"{path}.next", hint="write steps"
            )
        name = case.name or str(index)
        if case.name and _LABEL.fullmatch(case.name) is None:
            yield Problem(_bad_label(case.name), f"{path}.name")
        if name in names or (branch.mode == "all" and name == "default" and branch.default is not None):
            other = f"{at}[{names[name]}]" if name in names else "the default"
            yield Problem(
                f"two cases have the name {shortened(name, 80)!r}", f"{path}.name", hint=f"{other} has it too"
            )
        names.setdefault(name, index)
    if branch.default is not None:
        yield from _one_way(
            branch.default.next, bool(branch.default.steps), site.at("branch", "default"), "the default"
        )


def _one_way(following: str, block: bool, path: str, what: str) -> Iterator[Problem]:
    if following and block:
        yield Problem(
            f"{what} has next and steps", path, hint="after its steps the flow goes on with the branch's own next"
        )
    elif not following and not block:
        yield Problem(f"{what} needs next or steps", path, hint=f"next: ID, next: {END}, or steps: [...]")


def _bad_label(name: str) -> str:
    return f"{shortened(name, 80)!r} is no name: 1 to 63 characters, none of / [ ] # @ !"


def _parallel(site: Site) -> Iterator[Problem]:
    parallel = site.step.parallel
    assert parallel is not None
    at = site.at("parallel", "branches")
    if not parallel.branches:
        yield Problem("parallel needs at least one branch", at)
    names: dict[str, int] = {}
    for index, branch in enumerate(parallel.branches):
        path = f"{at}[{index}]"
        if _LABEL.fullmatch(branch.name) is None:
            yield Problem(_bad_label(branch.name), f"{path}.name")
        # The name of the short form is an id, and that is told.
        if branch.name in names and site.blocks[index].path != path:
            hint = f"{at}[{names[branch.name]}] has it too; the output is an object by these names"
            yield Problem(f"two branches have the name {shortened(branch.name, 80)!r}", f"{path}.name", hint=hint)
        names.setdefault(branch.name, index)
        if not branch.steps:
            yield Problem("a branch needs steps", f"{path}.steps")
    if parallel.concurrency is not None and parallel.concurrency < 1:
        yield Problem(f"must be at least 1, found {parallel.concurrency}", site.at("parallel", "concurrency"))


def _foreach(site: Site) -> Iterator[Problem]:
    foreach = site.step.foreach
    assert foreach is not None
    path = site.at("foreach", "as")
    if _NAME.fullmatch(foreach.as_) is None:
        yield Problem(f"{shortened(foreach.as_, 80)!r} is no name: letters, digits and '_', no digit first", path)
    elif foreach.as_ in _RESERVED or foreach.as_.startswith("__"):
        yield Problem(f"{foreach.as_!r} means something else in expressions", path, hint="choose another name")
    if not foreach.steps:
        yield Problem("foreach needs steps", site.at("foreach", "steps"))
    if foreach.concurrency < 1:
        yield Problem(f"must be at least 1, found {foreach.concurrency}", site.at("foreach", "concurrency"))
    items = foreach.items
    if isinstance(items, str) and "{{" in items:
        if not (items.startswith("{{") and items.endswith("}}")):
            hint = "the expression must be all of it: items: '{{ ... }}'"
            yield Problem("foreach goes through a list, this is a text", site.at("foreach", "items"), hint=hint)
    elif not isinstance(items, (list, tuple)):
        hint = "write items: '{{ ... }}' to compute it" if isinstance(items, str) else ""
        yield Problem(f"expected a list, found {type_word(items)}", site.at("foreach", "items"), hint=hint)


def _loop(site: Site) -> Iterator[Problem]:
    loop = site.step.loop
    assert loop is not None
    if loop.while_.strip() and loop.until.strip():
        yield Problem("a loop has while or until, not both", site.at("loop", "until"), hint="join them by && in one")
    elif not loop.while_.strip() and not loop.until.strip():
        yield Problem("a loop needs while or until", site.at("loop"), hint="to repeat over a list use foreach")
    if not loop.steps:
        yield Problem("a loop needs steps", site.at("loop", "steps"))
    if not 1 <= loop.max_iterations <= _MOST_PASSES:
        yield Problem(
            f"expected 1 to {_MOST_PASSES}, found {shortened(str(loop.max_iterations), 40)}",
            site.at("loop", "maxIterations"),
        )


def _sleep(site: Site) -> Iterator[Problem]:
    sleep = site.step.sleep
    assert sleep is not None
    has = [name for name in ("duration", "until") if getattr(sleep, name) is not UNSET]
    if len(has) != 1:
        what = "has duration and until" if has else "needs duration or until"
        yield Problem(f"a sleep {what}", site.at("sleep"), hint="duration: 10m, or until: '2030-01-31T08:00:00Z'")
    if "duration" in has and not _is_computed(sleep.duration):
        try:
            Duration.read(sleep.duration)
        except FieldError as error:
            yield Problem(error.message, site.at("sleep", "duration"))
    if "until" in has and not _is_computed(sleep.until) and instant_of(sleep.until) is None:
        yield Problem(
            f"expected an instant with its offset (2030-01-31T08:00:00Z), found {type_word(sleep.until)}",
            site.at("sleep", "until"),
        )


def _is_computed(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


def _wait(site: Site) -> Iterator[Problem]:
    wait = site.step.wait_for_event
    assert wait is not None
    if not wait.name.strip():
        yield Problem("an event has a name", site.at("waitForEvent", "name"))
    yield from _waiting(site, "waitForEvent", wait.timeout, wait.schema)


def _suspend(site: Site) -> Iterator[Problem]:
    suspend = site.step.suspend
    assert suspend is not None
    yield from _waiting(site, "suspend", suspend.timeout, suspend.schema)


def _waiting(site: Site, body: str, timeout: Duration | None, schema: Any) -> Iterator[Problem]:
    if timeout is not None and timeout <= 0:
        yield Problem("must be more than 0", site.at(body, "timeout"))
    if schema is not None:
        yield from schema_problems(schema, site.at(body, "schema"))


def _fail(site: Site) -> Iterator[Problem]:
    fail = site.step.fail
    assert fail is not None
    if _REASON.fullmatch(fail.reason) is None:
        near = "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", fail.reason))[:63]
        hint = f"for example {near}" if _REASON.fullmatch(near) else "for example OutOfStock"
        yield Problem(
            f"a reason is one CamelCase word, found {shortened(fail.reason, 80)!r}",
            site.at("fail", "reason"),
            hint=hint,
        )


_CHECKS = {
    "branch": _branch,
    "parallel": _parallel,
    "foreach": _foreach,
    "loop": _loop,
    "sleep": _sleep,
    "waitForEvent": _wait,
    "suspend": _suspend,
    "fail": _fail,
}


# ------------------------------------------------------------------------------------------------ around the body


def _input(site: Site) -> Iterator[Problem]:
    step = site.step
    if step.arguments is not UNSET:
        path = f"{site.path}.arguments"
        if step.input is not UNSET:
            yield Problem("the step has input and arguments, which say the same", path, hint="remove one of the two")
        if site.bodies and not {"tool", "operation"} & set(site.bodies):
            yield Problem(f"only tools and operations take arguments, not {site.body}", path, hint="write input")
        elif not isinstance(step.arguments, Mapping) and not _is_computed(step.arguments):
            yield Problem(f"expected an object, found {type_word(step.arguments)}", path)


def _output(site: Site) -> Iterator[Problem]:
    step = site.step
    if step.output is UNSET:
        return
    path = f"{site.path}.output"
    if site.body in ("succeed", "fail"):
        yield Problem(f"{site.body} has no result that `output` could take", path, hint="remove it")
    form = output_form(step.output)
    if form is None:
        return
    name = form.get("type", "")
    if name == USER_INPUT:
        yield Problem(
            "'user-input' is the workflow's input; no step publishes it", f"{path}.type", hint="choose another name"
        )
    elif "type" in form and not (isinstance(name, str) and name.strip()):
        yield Problem(f"expected a name, found {type_word(name)}", f"{path}.type")
    if form.get("schema") is not None:
        yield from schema_problems(form["schema"], f"{path}.schema")


def schema_problems(schema: Any, path: str) -> Iterator[Problem]:
    """What is wrong with a JSON schema."""
    from kastra_plugin_workflow.signals import meant_schema, schema_fault

    fault = schema_fault(schema)
    if fault is not None:
        below, message = fault
        yield Problem(f"it is no valid JSON schema: {message}", f"{path}.{below}" if below else path)
        return
    meant = meant_schema(schema)
    if meant:
        what = "it has no keyword of JSON Schema, so that everything would fit it"
        yield Problem(what, path, hint=f"write {meant}")


def _end(site: Site) -> Iterator[Problem]:
    step = site.step
    ends = site.body == "succeed" or (site.body == "fail" and step.on_failure is None)
    if step.next and ends:
        yield Problem(f"nothing comes after {site.body}", f"{site.path}.next", hint="remove it")


def _tries(site: Site) -> Iterator[Problem]:
    step = site.step
    body = site.body
    works = body not in _NO_RETRY or any(block.kind in ("case", "default") for block in site.blocks)
    if step.timeout is not None:
        if not works:
            yield Problem(
                f"a timeout means nothing for {body}: {_NO_TIMEOUT[body]}", f"{site.path}.timeout", hint="remove it"
            )
        elif step.timeout <= 0:
            yield Problem("must be more than 0", f"{site.path}.timeout")
    if step.retry is not None:
        if not works:
            yield Problem(
                f"a retry means nothing for {body}: {_NO_RETRY[body]}", f"{site.path}.retry", hint="remove it"
            )
        yield from retry_problems(step.retry, f"{site.path}.retry")


def retry_problems(retry: RetrySpec, path: str) -> Iterator[Problem]:
    """What is wrong with a retry."""
    from kastra_plugin_workflow.steps_plan import NEVER_RETRIED

    if retry.max_attempts < 1:
        hint = "1 tries once, without retry"
        yield Problem(
            f"must be at least 1, found {shortened(str(retry.max_attempts), 40)}", f"{path}.maxAttempts", hint=hint
        )
    if not retry.multiplier >= 1 or retry.multiplier == float("inf"):
        yield Problem(f"must be at least 1, found {retry.multiplier}", f"{path}.multiplier")
    if not 0 <= retry.jitter <= 1:
        yield Problem(f"expected 0 to 1, found {retry.jitter}", f"{path}.jitter")
    for field, reasons in (("on", retry.on), ("except", retry.except_)):
        for index, reason in enumerate(reasons):
            place = f"{path}.{field}[{index}]"
            if _REASON_PATTERN.fullmatch(reason) is None:
                hint = "a CamelCase word, in which '*' stands for anything"
                yield Problem(f"{shortened(reason, 80)!r} is no reason", place, hint=hint)
            elif field == "on" and reason in NEVER_RETRIED:
                yield Problem(f"{reason} is never tried again: a further try cannot change it", place, hint="remove it")
