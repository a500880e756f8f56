from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kastra_plugin_openai._sse import EventParser

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12).map(str.encode)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream's bytes, and the data of its events."""
    end = draw(LINE_ENDS)
    raw, events = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])), []
    for lines in draw(st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=5)):
        for line in lines:
            raw += draw(st.sampled_from([b"", b": note" + end, b"event: x" + end, b"junk" + end]))
            raw += b"data: " + line + end
        raw += end
        events.append(b"\n".join(lines))
    return raw, events


@given(streams(), st.data())
def test_any_split_of_the_bytes_gives_the_same_events(stream: tuple[bytes, list[bytes]], data: st.DataObject) -> None:
    raw, events = stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    parser, found = EventParser(), []
    for start, stop in zip([0, *cuts], [*cuts, len(raw)]):
        found += parser.feed(raw[start:stop])
    assert found + parser.close() == events


@given(streams())
def test_single_bytes_give_the_same_events(stream: tuple[bytes, list[bytes]]) -> None:
    raw, events = stream
    parser, found = EventParser(), []
    for at in range(len(raw)):
        found += parser.feed(raw[at : at + 1])
    assert found + parser.close() == events


@given(st.binary(max_size=60), st.integers(0, 60))
def test_no_bytes_break_the_parser(raw: bytes, cut: int) -> None:
    split, whole = EventParser(), EventParser()
    parts = split.feed(raw[:cut]) + split.feed(raw[cut:]) + split.close()
    assert parts == whole.feed(raw) + whole.close()
