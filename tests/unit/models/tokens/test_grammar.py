from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema
import numpy as np
import pytest

from loom.core.errors import ArgumentError
from loom.models.sampling import SamplingConfig, SamplingState, sample
from loom.models.tokens import grammar
from tests.unit.models.tokens.made import minilm, smollm

NODE = {
    "type": "object", "required": ["v", "next"], "additionalProperties": False,
    "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}},
}  # fmt: skip
SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "object", "properties": {"a": {"type": "integer"}}},
    {"type": "array", "items": {"type": "number", "minimum": -1, "maximum": 3.5}, "minItems": 1, "maxItems": 3},
    {"anyOf": [{"type": "null"}, {"type": "boolean"}, {"const": {"x": [1, "\xe9"]}}]},
    {"type": "string", "minLength": 2, "maxLength": 4},
    {"type": "string", "pattern": "^(ab|cd)+[0-9]{2}$"},
    {"type": "object", "properties": {"d": {"type": "string", "format": "date-time"}, "u": {"format": "uuid"}}},
    {"enum": ["a", "b", 3, None, {"k": 1}]},
    {"type": "integer", "multipleOf": 7, "minimum": 10, "maximum": 99},
    {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 2},
    {"type": "object", "patternProperties": {"^n_": {"type": "null"}}, "additionalProperties": False},
    {"$defs": {"n": NODE}, "$ref": "#/$defs/n"},
    {"allOf": [{"type": "integer"}, {"exclusiveMinimum": 3}, {"exclusiveMaximum": 9}]},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
]  # fmt: skip
_CLOSERS = {b'"', b"}", b"]", b"1", b":", b",", b"a", b"0", b"null", b"[", b"{"}


@cache
def _closers() -> set[int]:
    return {n for n, piece in enumerate(smollm().pieces.middle) if piece in _CLOSERS}


def _walk(held: grammar.Constraint, seed: int) -> list[int] | None:
    """Return the tokens of a text drawn by the masks; after a while such as end things. None if it does not end."""
    draw, ends, state, text = np.random.default_rng(seed), smollm().eos, held.start(), []
    while len(text) < 150:
        allowed = np.flatnonzero(held.allowed(state))
        assert allowed.size, "nothing may come, and the text may not end"
        some = allowed[~np.isin(allowed, list(ends))]
        assert (some.size < allowed.size) == held.is_final(state)
        if some.size < allowed.size and (draw.random() < 0.3 or not some.size):
            return text
        few = some[np.isin(some, list(_closers()))] if len(text) > 25 else some[:0]
        text.append(int(draw.choice(few if few.size else some)))
        state = held.advance(state, text[-1])
    return None


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_every_finished_text_is_valid(number: int) -> None:
    schema = SCHEMAS[number]
    held = grammar.json_schema(schema, smollm())
    judge = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    finished = [text for seed in range(4) if (text := _walk(held, seed)) is not None]
    assert finished
    for text in finished:
        judge.validate(json.loads(smollm().decode(text)))


def _reads(held: grammar.Constraint, text: str) -> bool:
    state = held.start()
    for token in smollm().encode(text):
        if not held.allowed(state)[token]:
            return False
        state = held.advance(state, token)
    return held.is_final(state)


def test_all_texts_of_small_grammars_can_be_reached() -> None:
    def texts(held: grammar.Constraint, state: Any, so_far: bytes) -> set[bytes]:
        found = {so_far} if held.is_final(state) else set()
        for token in np.flatnonzero(held.allowed(state)).tolist():
            if token not in smollm().eos:
                found |= texts(held, held.advance(state, token), so_far + smollm().pieces.middle[token])
        return found

    held = grammar.regex("(a|bc){1,2}d?", smollm())
    assert texts(held, held.start(), b"") == {
        each + end for each in (b"a", b"bc", b"aa", b"abc", b"bca", b"bcbc") for end in (b"", b"d")
    }
    schema = {"type": "object", "properties": {"k": {"enum": [1, True]}, "s": {"type": "null"}},
              "required": ["k"], "additionalProperties": False}  # fmt: skip
    closed = grammar.json_schema(schema, smollm(), whitespace=False)
    assert texts(closed, closed.start(), b"") == {
        b'{"k":1}', b'{"k":true}', b'{"k":1,"s":null}', b'{"k":true,"s":null}',
    }  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        ({"format": "date", "type": "string"}, ['"2024-02-29"', '"2000-02-29"'],
         ['"2023-02-29"', '"1900-02-29"', '"2023-04-31"']),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, ['{"a":1}', '{ "a" : 1 }', '{"b":"\\n"}'],
         ['{"a":"x"}', '{"\\u0061":"x"}', '{"b":1,"a":"x"}', '{"a":1,"a":"x"}']),
        ({"type": "string", "maxLength": 1}, ['"\xe9"', '"\U0001f469"', '""'], ['"ab"']),
        ({"type": "integer"}, ["12", "-3"], ["1.5", "012", "+1"]),
        ({"type": "string", "pattern": "b"}, ['"abc"'], ['"ac"']),
        ({}, ["[1, 2]", '{"a": [null]}', "1e5"], ["[1, 2", "nul", "{'a':1}", "NaN"]),
    ],
)  # fmt: skip
def test_texts_are_read_as_json_schema_has_it(schema: Any, valid: list[str], invalid: list[str]) -> None:
    held = grammar.json_schema(schema, smollm())
    assert [_reads(held, each) for each in valid] == [True] * len(valid)
    assert [_reads(held, each) for each in invalid] == [False] * len(invalid)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"not": {}}, "'not'"), ({"uniqueItems": True}, "'uniqueItems'"), ({"foo": 1}, "'foo'"),
        ({"nullable": True}, "'nullable'"),
        ({"properties": {"a": {"if": {}}}}, "#/properties/a: the keyword 'if'"), ({"format": "regex"}, "'regex'"),
        ({"$ref": "#"}, "no text"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "no text"),
        ({"multipleOf": 0.1}, "0.1"), ({"$ref": "http://x/y"}, "elsewhere"), ({"minProperties": 1}, "minProperties"),
        ({"type": "string", "pattern": "a(?=b)"}, "look"), ({"enum": []}, "cannot be held"), (False, "not a schema"),
        ({"format": "date", "pattern": "a"}, "beside a pattern"), ({"anyOf": 3}, "not a list"), ("{", "not JSON"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "oneOf"), ({"$ref": "#/$defs/none"}, "none"),
        ({"properties": {"a": 3}}, "no schema"), ({"minimum": 5, "maximum": 3, "type": "integer"}, "minimum"),
    ],
)  # fmt: skip
def test_what_cannot_be_held_is_refused_by_name(schema: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        grammar.json_schema(schema, smollm())


def test_a_schema_without_end_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(3000):
        deep = {"items": deep}
    with pytest.raises(ArgumentError, match="too large"):
        grammar.json_schema(deep, smollm())
    with pytest.raises(ArgumentError, match="cannot be held"):
        grammar.regex("(", smollm())
    with pytest.raises(ArgumentError, match="whose texts end"):
        grammar.regex("a", minilm())


def test_schemas_of_many_properties_are_held_or_refused_by_their_size() -> None:
    many = {f"p{n}": {"type": "integer"} for n in range(1500)}
    held = grammar.json_schema({"type": "object", "properties": many, "additionalProperties": False}, smollm())
    for text, is_whole in (('{"p700": 3, "p1499": 4}', True), ('{"p1500', False)):
        state = held.start()
        tokens = smollm().encode(text)
        for token in tokens[: len(tokens) if is_whole else -1]:
            state = held.advance(state, token)
        assert held.is_final(state) == is_whole
    with pytest.raises(ArgumentError, match="not allowed here"):
        held.advance(state, tokens[-1])
    more: dict[str, Any] = {f"p{n}": True for n in range(3001)}
    with pytest.raises(ArgumentError, match=r"too many properties that are not required.*at most 3000.*required"):
        grammar.json_schema({"properties": {"q": {"properties": more}}}, smollm())
    grammar.json_schema({"type": "object", "properties": more, "required": list(more)}, smollm())


def test_the_end_comes_where_it_may_and_nothing_behind_it() -> None:
    held = grammar.regex("ab?", smollm())
    (a,), (b,), end = smollm().encode("a"), smollm().encode("b"), 2
    start = held.start()
    with pytest.raises(ArgumentError, match="not allowed"):
        held.advance(start, end)
    with pytest.raises(ArgumentError, match="not allowed"):
        held.advance(start, b)
    with pytest.raises(ArgumentError, match="not allowed"):
        held.advance(start, 10**6)
    first = held.advance(start, a)
    assert (held.is_final(start), held.is_final(first), held.is_complete(first)) == (False, True, False)
    full = held.advance(first, b)
    assert held.is_complete(full)
    assert set(np.flatnonzero(held.allowed(full))) == smollm().eos
    ended = held.advance(full, end)
    assert held.is_final(ended)
    assert set(np.flatnonzero(held.allowed(ended))) == smollm().eos
    with pytest.raises(ArgumentError, match="not allowed"):
        held.advance(ended, a)
    assert held.is_final(held.advance(first, end))  # a state is a value: what came after it has not changed it


def test_masks_choose_tokens_of_a_larger_vocabulary() -> None:
    held = grammar.json_schema({"type": "boolean"}, smollm())
    logits = np.random.default_rng(0).standard_normal((1, 49152 + 100)).astype(np.float32)
    for given in (held.allowed(held.start()), held.words(held.start(), logits.shape[1])):
        state, chosen = SamplingState(SamplingConfig(temperature=5)), set()
        for position in range(8):
            state.position = position
            chosen |= set(sample(logits, state, masks=[given]).tokens)
        assert chosen <= set(np.flatnonzero(held.allowed(held.start())).tolist())
