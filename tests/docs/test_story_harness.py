"""The harness of stories itself: what it runs, and that each fault of a page fails as it should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from story_output import holds, is_shown
from story_page import Page, Story, read_text
from story_run import Outcome

pytest_plugins = ("story_fixtures",)
ROOT = Path(__file__).resolve().parents[2]

AGENT = """\
apiVersion: mastra.ai/v1
kind: Agent
metadata: {name: greeter}
spec:
  instructions: Greet.
  model: openai/gpt-4o-mini
"""


def read(text: str) -> Page:
    return read_text(dedent(text), "docs/page.md", ROOT)


@pytest.fixture
def ran(tell: Callable[[Story], Outcome]) -> Callable[[str], Outcome]:
    """Runs a page of one story without faults."""

    def run(text: str) -> Outcome:
        page = read(text)
        assert not page.faults
        [story] = page.stories
        return tell(story)

    return run


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def test_a_story_runs_what_the_table_says(ran: Callable[[str], Outcome]) -> None:
    page = [
        fenced('yaml title="app/agent.yaml"', AGENT),
        fenced("yaml", AGENT.replace("greeter", "other")),
        fenced('yaml in="Agent.spec.memory"', "type: buffer\nmaxMessages: 3"),
        fenced('yaml in="config"', "namespace: kitchen"),
        fenced('python title="hello.py"', "import sys\nprint('Hello', *sys.argv[1:])"),
        fenced("python run", "import hello, os\nprint(os.getcwd())"),
        fenced("text shown", "Hello"),
        "<!-- story: setup\n$ export NAME=Ada\n$ mkdir -p deep\n-->\n",
        "<!-- story: file deep/note.txt\nline one\nline two\n-->\n",
        fenced(
            "console", "$ cat deep/note.txt\nline one\n...\n$ cd deep\n$ python ../hello.py $NAME\nHello Ada\n$ cd .."
        ),
        "<!-- story: answers\n- Good day, Ada!\n- {to: Bye, say: {bye: 1}}\n-->\n",
        fenced(
            "console",
            "$ kastra apply -f app/\nagent.mastra.ai/greeter created\n"
            "$ kastra get agents | sort -r\nother     ...\ngreeter   ...\nNAME      ...\n"
            '$ kastra run agent/greeter "Hello" \\\n  2>/dev/null | tr a-z A-Z\nGOOD DAY, ADA!\n'
            '$ kastra run agent/greeter "Bye" --model local/auto\n...\n{"bye": 1}\n'
            "$ kastra run agent/greeter 'Echo'   # it's the default\nYou said: Echo",
        ),
        "<!-- story: input\nred\ngreen\n-->\n",
        fenced("console", "$ wc -l\n2"),
        "<!-- story: exit 3 -->\n",
        fenced("console", "$ true\n$ sh -c 'exit 3'"),
        "<!-- story: background -->\n",
        fenced("console", "$ kastra get agents -w\nNAME ...\n...\ngreeter ..."),
    ]
    outcome = ran("\n".join(page))
    assert not outcome.failures, "\n\n".join(outcome.failures)
    assert (outcome.commands, outcome.blocks) == (15, 4)


# ------------------------------------------------------------------------------------------------ faults of a page

RUN = fenced("console", "$ true")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (fenced("yaml", "memory: {type: buffer}"), ":1: yaml that is no manifest"),
        (fenced("json", '{"a": 1}'), ":1: json that is no manifest"),
        (fenced("toml", "a = 1"), "nobody knows how to run toml"),
        (fenced("rust", "fn main() {}"), "nobody knows how to run rust"),
        (fenced("bash", "kastra get agents"), "a block of bash: write console"),
        (fenced("", "kastra get agents"), "a block of no language"),
        (fenced("text", "$ kastra get agents"), "commands stand in a console"),
        (fenced("console", "kastra get agents"), ":2: what a console shows stands below"),
        (fenced("console", ""), "a console without a command"),
        (fenced("python", "def broken(:"), "does not compile"),
        (fenced("python title=a.py", "def broken(:"), "does not compile"),
        (fenced("yaml title=a.yaml", "a: [") + RUN, "no yaml: "),
        (fenced("json title=a.json", "{a: 1}") + RUN, "no json: "),
        (fenced("toml title=a.toml", "a = ") + RUN, "no toml: "),
        (fenced("yaml colour=red", AGENT), "unknown attribute 'colour'"),
        (fenced("console run", "$ true"), "run is said of python"),
        (fenced("yaml shown", AGENT), "shown is said of text"),
        (fenced("python in=config", "a = 1"), "in=... is said of YAML"),
        (fenced("yaml title=a.yaml in=config", "namespace: a"), "a block is a file (title) or a part"),
        (fenced("console title=a.sh", "$ true"), "a console is no file"),
        (fenced("text title=../a.txt", "a") + RUN, "begins in the story's directory"),
        (fenced("text title=a.txt", "a"), "nothing is run after a.txt"),
        (fenced("yaml title=a.yaml", AGENT) + RUN, "nothing that is run names a.yaml"),
        ("```console\n$ true\n", ":1: the block has no end"),
        ("<!-- story: colour red -->\n" + RUN, "unknown note 'story: colour'"),
        ("<!-- story exit 2 -->\n" + RUN, "a note is `<!-- story: WORD"),
        ("<!-- story: exit 2 --> and more\n" + RUN, "has its lines for itself"),
        ("<!-- story: exit 0 -->\n" + RUN, "write the exit code, from 1"),
        ("<!-- story: exit 2 -->\n", "'story: exit' is about the next block, and there is none"),
        ("<!-- story: exit 2 -->\n" + fenced("yaml", AGENT), "'story: exit' is said of a console"),
        ("<!-- story: exit 2 -->\n<!-- story: exit 3 -->\n" + RUN, "said twice"),
        ("<!-- story: input -->\n" + RUN, "what a command reads stands in the lines below"),
        ("<!-- story: input kastra chat\nHello\n-->\n" + RUN, "no command of the block begins with 'kastra chat'"),
        ("<!-- story: background x -->\n" + RUN, "says nothing else"),
        ("<!-- story: answers\nHello: [\n-->\n" + RUN, "answers are a YAML list"),
        ("<!-- story: answers\nHello\n-->\n" + RUN, "answers are a YAML list"),
        ("<!-- story: answers\n- {text: Hello}\n-->\n" + RUN, "an answer says one of say, tool, error"),
        ("<!-- story: answers\n- {say: Hello, arguments: {}}\n-->\n" + RUN, "unknown: arguments"),
        ("<!-- story: answers\n- Hello\n-->\n", "nothing is run after this"),
        ("<!-- story: setup\nkastra get agents\n-->\n" + RUN, "what a console shows stands below"),
        ("<!-- story: setup\n$ echo a\na\n-->\n" + RUN, "nothing that they show"),
        ("<!-- story: file -->\n" + RUN, "story: file NAME"),
        ("<!-- story: not -->\n" + RUN, "say why"),
        ("<!-- story: not it installs -->\n" + fenced("text", "a"), "leave out the note"),
        ("<!-- story: by tests/none.py -->\n" + RUN, "there is no test tests/none.py"),
        ("<!-- story: by docs/index.md -->\n" + RUN, "there is no test docs/index.md"),
        ("<!-- story: by tests/mock_openai.py -->\n" + RUN, "tests/mock_openai.py does not name docs/page.md"),
        ("<!-- story: by tests/mock_openai.py -->\n" + fenced("console", "$ kastra get x7y9"), "it has no x7y9"),
        (RUN + "<!-- story: new -->\n" + fenced("text", "a"), "a new story in which nothing is run"),
        (RUN + "<!-- story: new docs/none -->\n" + RUN, "there is no directory docs/none"),
        ("<!-- story: model -->\n" + fenced("text", "a"), "'story: model' in a story in which nothing is run"),
    ],
)
def test_a_fault_of_a_page_is_told(text: str, fault: str) -> None:
    found = read(text).faults
    assert any(fault in one and one.startswith("docs/page.md:") for one in found), found


@pytest.mark.parametrize(
    "text",
    [
        fenced("text", "a drawing") + fenced("mermaid", "graph TD"),
        fenced("python", "x = await f()"),
        fenced("yaml", AGENT),
        fenced("yaml title=a.yaml", AGENT) + fenced("console", "$ kastra apply -f ."),
        fenced("yaml title=a/b.yaml", AGENT) + fenced("console", "$ kastra apply -f a/"),
        "The note `<!-- story: nothing -->` in a text, and <!-- another comment -->.\n",
        "<!-- a comment -->\n" + RUN,
        f"````markdown title=page.md\n{RUN}````\n" + RUN,
        "<!-- story: not it installs -->\n" + fenced("console", "$ pip install kastra-core"),
        "<!-- story: by tests/docs/test_story_harness.py -->\n" + fenced("console", "$ kastra run agent/greeter"),
    ],
)
def test_what_is_right_has_no_fault(text: str) -> None:
    # The last but one of these is run by this file, which names docs/page.md.
    assert read(text).faults == []


def test_generated_pages_may_show_signatures() -> None:
    text = fenced("py", "def f(a: int) -> None") + fenced("pycon", ">>> f(1)")
    assert read_text(text, "docs/reference/python/x.md", ROOT).faults == []
    assert len(read(text).faults) == 2


@pytest.mark.parametrize("new", ["", "<!-- story: new docs/examples/quickstart -->\n"])
def test_a_story_may_begin_in_a_copy_of_an_example(tell: Callable[[Story], Outcome], new: str) -> None:
    name = "docs/page.md" if new else "docs/examples/quickstart/README.md"
    page = read_text(
        new + fenced("console", "$ ls run.py\nrun.py\n$ rm run.py\n$ ls -d .kastra 2>/dev/null | wc -l\n0"), name, ROOT
    )
    outcome = tell(page.stories[0])
    assert not outcome.failures, outcome.failures
    assert (ROOT / "docs/examples/quickstart/run.py").exists()


def test_commands_may_have_several_lines() -> None:
    page = read(
        fenced(
            "console",
            """\
$ cat > a.txt <<EOF
it's
EOF
$ echo one \\
>   two
one two
$ echo '{
  "a": 1}'   # don't ask
{
...
$ true""",
        )
    )
    assert not page.faults
    [block] = page.stories[0].blocks
    assert [(one.line, one.text, one.shown) for one in block.commands] == [
        (2, "cat > a.txt <<EOF\nit's\nEOF", ()),
        (5, "echo one \\\n  two", ("one two",)),
        (8, "echo '{\n  \"a\": 1}'   # don't ask", ("{", "...")),
        (12, "true", ()),
    ]


# ------------------------------------------------------------------------------------------------ faults of a story


@pytest.mark.parametrize(
    ("text", "place", "fault"),
    [
        (
            fenced("console", "$ true\n$ echo a\nb"),
            "docs/page.md:3: $ echo a",
            "the page shows:\n    b\nstdout:\n    a",
        ),
        (fenced("console", "$ false"), ":2: $ false", "exit code 1, expected 0"),
        ("<!-- story: exit 2 -->\n" + fenced("console", "$ false"), ":3: $ false", "exit code 1, expected 2"),
        ("<!-- story: exit 1 -->\n" + fenced("console", "$ false\n$ false"), ":3: $ false", "exit code 1, expected 0"),
        (fenced("console", "$ kastra get nothing"), ":2: $ kastra get nothing", "exit code 1, expected 0"),
        (fenced("console", "$ exit 4"), ":2: $ exit 4", "ended the shell"),
        (fenced("python run", "raise SystemExit(3)"), ":1:", "the Python ends with exit code 3"),
        (fenced("console", "$ echo a") + fenced("text shown", "b"), ":4:", "the page shows:\n    b"),
        (fenced("yaml", AGENT.replace("model:", "modle:")), ":1:", "unknown field 'modle'"),
        (fenced('yaml in="Agent.spec.memory"', "typ: buffer"), ":1:", "unknown field 'typ'"),
        (fenced('yaml in="Agent.spec"', "memory: ["), ":1:", "no YAML"),
        (fenced('yaml in="Robot.spec"', "memory: 1"), ":1:", "nobody offers the kind 'Robot'"),
        (fenced('yaml in="config"', "namspace: a"), ":1:", "namspace"),
        ("<!-- story: answers\n- Hello\n-->\n" + RUN, ":1:", "answers of the model that nobody asked for"),
        ("<!-- story: background -->\n" + fenced("console", "$ echo a\nb"), ":3: $ echo a", "it did not show:\n    b"),
        ("<!-- story: background -->\n" + fenced("console", "$ true\n..."), ":3: $ true", "it did not show:\n    ..."),
        (
            "<!-- story: background -->\n" + fenced("console", "$ sh -c 'trap \"exit 9\" INT; echo a; sleep 60'\na"),
            ":3:",
            "Ctrl-C ended it with exit code 9",
        ),
        (fenced("console", "$ kastra model pull smollm2-135m"), ":2:", "exit code"),
        (fenced("console", "$ pip install nothing"), ":2:", "has no pyproject.toml"),
    ],
)
def test_a_fault_of_a_story_is_told_with_its_place(
    ran: Callable[[str], Outcome], text: str, place: str, fault: str
) -> None:
    failures = ran(text).failures
    assert len(failures) == 1, failures
    assert place in failures[0]
    assert fault in failures[0]


def test_a_story_goes_on_after_a_failure_but_not_for_ever(ran: Callable[[str], Outcome]) -> None:
    outcome = ran(fenced("console", "\n".join(["$ false"] * 9)))
    assert len(outcome.failures) == outcome.commands == 5


def test_what_runs_too_long_ends_the_story(tell: Callable[[Story], Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("story_run.LONGEST_S", 0.3)
    [story] = read(fenced("console", "$ echo before; sleep 60\n$ true")).stories
    [failure] = tell(story).failures
    assert "docs/page.md:2: $ echo before; sleep 60" in failure
    assert "no end after 0.3 s; so far it wrote:\n    before" in failure


PROJECT = """\
[project]
name = "kastra-plugin-acme"
version = "0.1.0"
[project.entry-points.kastra]
acme = "kastra_plugin_acme.hooks"
"""


def test_a_plugin_of_the_page_is_installed_for_the_story(ran: Callable[[str], Outcome]) -> None:
    page = [
        fenced('toml title="acme/pyproject.toml"', PROJECT),
        fenced('python title="acme/src/kastra_plugin_acme/__init__.py"', ""),
        fenced('python title="acme/src/kastra_plugin_acme/hooks.py"', "KASTRA_API_VERSION = 1"),
        fenced(
            "console",
            "$ cd acme\n$ pip install -e .\n...\nSuccessfully installed kastra-plugin-acme-0.1.0\n"
            "$ kastra plugins | grep acme\nacme ...\n$ pip uninstall -y kastra-plugin-acme\n...\n"
            "$ kastra plugins | grep -c acme || true\n0",
        ),
    ]
    outcome = ran("\n".join(page))
    assert not outcome.failures, "\n\n".join(outcome.failures)


# ------------------------------------------------------------------------------------------------ what is shown


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ("a\nb", "a\nb\n"),
        ("a  \n\nb", "\na\nb"),
        ("a\n...\nd", "a\nb\nc\nd"),
        ("a\n...\nd", "a\nd"),
        ("...", ""),
        ("run ... ended", "run 7 ended"),
        ("greeter   True    2s", "greeter   True   3m20s"),
        ("took 12 ms", "took 1.5 s"),
        ("at 2030-01-01T12:00:00Z", "at 2026-03-04T05:06:07.123Z"),
        ("kastra-20300101T120000Z.backup", "kastra-20260304T050607Z.backup"),
        ("run/greeter-0a1b2c3d", "run/greeter-99999999"),
        ("thread chat-20300101-0a1b2c", "thread chat-20260304-ffffff"),
        ("uid: 01234567-89ab-cdef-0123-456789abcdef", "uid: ffffffff-89ab-cdef-0123-456789abcdef"),
        ("/home/ada/shop/a.yaml:3", "/tmp/xyz/project/a.yaml:3"),
        ("file:/home/ada/kastra.db", "file:/tmp/xyz/kastra.db"),
        ("http://127.0.0.1:8080/a", "http://127.0.0.1:45671/a"),
    ],
)
def test_what_a_page_cannot_know_is_equal(shown: str, found: str) -> None:
    assert is_shown(shown.splitlines(), found, "")


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ("a", "a\nb"),
        ("a\nb", "a"),
        ("b\na", "a\nb"),
        ("a\n...\nd", "a\nb"),
        ("3 agents", "4 agents"),
        ("greeter True", "greeter False"),
        ("  a", "a"),
        ("/home/ada/a.yaml", "/tmp/xyz/b.yaml"),
        ("a+", "aa"),
    ],
)
def test_what_differs_is_told(shown: str, found: str) -> None:
    assert not is_shown(shown.splitlines(), found, "")


@pytest.mark.parametrize(
    ("shown", "fits"),
    [
        (["out 1", "out 2"], True),
        (["note", "out 1", "out 2"], False),
        (["note", "out 1", "warning", "out 2"], True),
        (["out 1", "out 2", "note", "warning"], True),
        (["warning", "out 1", "out 2", "note"], False),
        (["note", "warning"], False),
        (["out 1", "..."], True),
        (["...", "warning", "..."], True),
        (["...", "warning", "note", "..."], False),
    ],
)
def test_a_page_shows_all_of_stdout_or_all_of_both(shown: list[str], fits: bool) -> None:
    assert is_shown(shown, "out 1\nout 2\n", "note\nwarning\n") is fits


def test_a_part_of_what_is_shown_is_found() -> None:
    assert holds(["b"], "a\nb\nc", "")
    assert holds(["b"], "a", "b")
    assert not holds(["b", "d"], "a\nb\nc\nd", "")
