from __future__ import annotations

import random

import pytest

from loom.core.errors import ArgumentError
from loom.models.tokens import StopMatcher
from tests.unit.models.tokens.made import minilm, smollm
from tests.unit.models.tokens.strings import drawn


@pytest.mark.parametrize("tokenizer", [smollm, minilm])
def test_pieces_joined_are_the_text_and_none_breaks_a_character(tokenizer) -> None:
    ours = tokenizer()
    for text in drawn(200):
        ids = ours.encode(text, parse_special=True)
        for skip in (True, False):
            stream = ours.stream(skip)
            pieces = [stream.push(n) for n in ids]
            assert stream.flush() == ""
            assert "\ufffd" in text or not any("\ufffd" in each for each in pieces)
            assert "".join(pieces) == ours.decode(ids, skip)


def test_bytes_that_are_no_characters_stream_as_they_decode() -> None:
    ours, draw = smollm(), random.Random(3)
    for _ in range(300):
        ids = [draw.randrange(ours.size) for _ in range(draw.randrange(1, 30))]
        stream = ours.stream()
        assert "".join(map(stream.push, ids)) + stream.flush() == ours.decode(ids)
    stream = ours.stream()
    assert [stream.push(n) for n in ours.encode("\U0001f469")] == ["", "", "\U0001f469"]
    assert stream.push(ours.encode("\U0001f469")[0]) == ""
    assert stream.flush() == "\ufffd"


@pytest.mark.parametrize("ids", [object(), 3, "12", {1: 2}, None])
def test_what_is_not_several_ids_is_refused(ids: object) -> None:
    with pytest.raises(ArgumentError, match=r"^\[Tokenizer.decode, ids\] not several: expected a list of ids, got "):
        smollm().decode(ids)


def _first_end(text: str, stops: list[str]) -> str:
    """Return the text before the stop that ends first, the longest of those that end there, by trying all ends."""
    for end in range(1, len(text) + 1):
        found = [s for s in stops if text[:end].endswith(s)]
        if found:
            return text[: end - max(map(len, found))]
    return text


def test_a_stop_is_never_shown_however_the_text_is_cut() -> None:
    draw = random.Random(5)
    for _ in range(3000):
        stops = ["".join(draw.choice("ab") for _ in range(draw.randrange(1, 5))) for _ in range(draw.randrange(1, 4))]
        text = "".join(draw.choice("abc") for _ in range(draw.randrange(0, 20)))
        matcher, at, shown = StopMatcher(stops), 0, ""
        while at < len(text):
            step = draw.randrange(1, 5)
            shown += matcher.push(text[at : at + step])
            assert _first_end(text, stops).startswith(shown)
            at += step
        shown += matcher.flush()
        assert shown == _first_end(text, stops)
        assert (matcher.stopped is not None) == any(s in text for s in stops)
        assert matcher.stopped is None or matcher.stopped in stops


def test_without_stops_nothing_is_held_back() -> None:
    matcher = StopMatcher([])
    assert matcher.push("abc") == "abc"
    held = StopMatcher("\n\n")
    assert (held.push("a\n"), held.push("b"), held.push("\n"), held.flush()) == ("a", "\nb", "", "\n")
