"""Receipts: canonical JSON by its standard, digests that hold what they say, audits that name what differs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loom.core.errors import ArgumentError
from loom.models.receipts import ModelIdentity, Receipt, canonical_json, embedding_receipt, text_receipt
from loom.models.tasks import TextConstraint, TextTask, TextWriter, TokenStep
from loom.models.tasks.audit import audit
from loom.models.tasks.claims import receipt_of, task_of_receipt
from unit.serve.standin import IDENTITY, StandIn

SETTINGS: dict[str, Any] = {
    "temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "frequency_penalty": 0.0,
    "presence_penalty": 0.0, "logit_bias": {5: 1.5}, "seed": (1 << 64) - 1, "stream": 0, "max_tokens": 20,
    "stop": ("END",),
}  # fmt: skip


@pytest.mark.parametrize(
    ("bits", "text"),
    [  # RFC 8785, appendix B
        ("0000000000000000", "0"), ("8000000000000000", "0"), ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"), ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"), ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"), ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"), ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"), ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"), ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"), ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"), ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"), ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"), ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_the_standard_says(bits: str, text: str) -> None:
    assert canonical_json(float(np.frombuffer(bytes.fromhex(bits), ">f8")[0])).decode() == text


def test_objects_are_written_as_the_standard_says() -> None:
    """The examples of RFC 8785, sections 3.2.2 and 3.2.3."""
    numbers = [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001]
    text = '\u20ac$\u000f\nA\'B"\\\\"/'
    found = canonical_json({"numbers": numbers, "string": text, "literals": [None, True, False]})
    wanted = ('{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
              '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}')  # fmt: skip
    assert found.decode() == wanted
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    found = canonical_json(dict.fromkeys(names, 0)).decode()
    assert list(json.loads(found)) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@settings(deadline=None, max_examples=60)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_read_back_to_their_bits(value: float) -> None:
    found = float(json.loads(canonical_json(value)))
    assert found == value
    assert canonical_json(found) == canonical_json(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1 << 54, b"x", {1: 2}, object()])
def test_what_json_has_not_is_refused(value: Any) -> None:
    with pytest.raises((ArgumentError, AttributeError)):
        canonical_json(value)


def made() -> Receipt:
    return text_receipt(IDENTITY, [1, 2, 3], {"seed": "5"}, [7, 8], [-0.5, -0.25], "ab", "stop", {"device": "cpu"})


def test_a_receipt_says_what_it_is_of() -> None:
    receipt = made()
    claims = receipt.claims
    assert claims["prompt"] == {"count": 3, "sha256": hashlib.sha256(np.array([1, 2, 3], "<u4").tobytes()).hexdigest()}
    assert claims["output"]["logprobs"] == hashlib.sha256(np.array([-0.5, -0.25], "<f4").tobytes()).hexdigest()
    assert claims["output"]["text"] == hashlib.sha256(b"ab").hexdigest()
    assert receipt.disclosed["logprobs"] == ["bf000000", "be800000"]
    assert receipt.id == hashlib.sha256(canonical_json(claims)).hexdigest()
    again = Receipt.from_json(receipt.to_json())
    assert again.to_json() == receipt.to_json()
    elsewhere = Receipt(claims, receipt.disclosed, {"device": "gpu", "user": "anna"})
    assert elsewhere.id == receipt.id
    kept = Receipt.from_json(receipt.redacted().to_json())
    assert (kept.id, kept.disclosed) == (receipt.id, {})


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["claims"]["output"].update(count=3),
        lambda r: r["claims"]["model"].update(weights="0" * 64),
        lambda r: r["disclosed"]["output"].append(9),
        lambda r: r["disclosed"]["prompt"].reverse(),
        lambda r: r["disclosed"]["logprobs"].__setitem__(0, "bf000001"),
        lambda r: r["disclosed"]["logprobs"].__setitem__(0, "zz"),
        lambda r: r["disclosed"].update(text="b"),
        lambda r: r["disclosed"].update(text=5),
        lambda r: r["disclosed"].update(prompt="x"),
        lambda r: r["disclosed"].update(prompt=[-1]),
        lambda r: r["disclosed"].update(prompt=[1 << 40]),
        lambda r: r.update(id="0" * 64),
        lambda r: r.update(more=1),
        lambda r: r.pop("about"),
        lambda r: r["claims"].pop("prompt"),
        lambda r: r["claims"].update(prompt=[]),
        lambda r: r["claims"].update(format="loom-receipt/2"),
        lambda r: r.update(claims=[]),
        lambda r: r["claims"].update(kind="picture"),
        lambda r: r["claims"]["model"].pop("compute"),
        lambda r: r["claims"]["output"].pop("finish_reason"),
        lambda r: r["claims"]["output"].update(more=1),
        lambda r: r["claims"]["settings"].update(stop=["\ud800"]),
        lambda r: r["claims"].update(settings=[]),
        lambda r: r["disclosed"].update(more=1),
    ],
)
def test_a_receipt_that_was_changed_is_refused(change: Any) -> None:
    plain = json.loads(made().to_json())
    change(plain)
    with pytest.raises(ArgumentError, match="not a sound receipt"):
        Receipt.from_json(json.dumps(plain))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000, b"{}", b'{"claims": 1}',
                                  b'{"claims": {}, "claims": {}}'])  # fmt: skip
def test_what_is_no_receipt_is_refused(data: bytes) -> None:
    with pytest.raises(ArgumentError, match="not a sound receipt"):
        Receipt.from_json(data)


def written(model: StandIn, task: TextTask) -> Receipt:
    writer = TextWriter(model, task)
    for _ in writer:
        pass
    writer.flush()
    return writer.receipt()


def test_a_task_is_read_back_from_its_receipt() -> None:
    task = TextTask((1, 2), SETTINGS, TextConstraint("json_schema", '{"type":"object"}'))
    receipt = Receipt.from_json(written(StandIn(), task).to_json())
    found = task_of_receipt(receipt, [1, 2])
    assert found == task
    broken = dict(receipt.claims) | {"settings": {"seed": "x"}}
    with pytest.raises(ArgumentError, match="settings cannot be read"):
        task_of_receipt(Receipt(broken), [1])


def test_audits_compute_again() -> None:
    model = StandIn()
    receipt = Receipt.from_json(written(model, TextTask(tuple(b"hello"), SETTINGS)).to_json())
    found = audit(receipt, model)
    assert found.same
    assert found.found is not None
    assert found.found.id == receipt.id
    hidden = receipt.redacted()
    with pytest.raises(ArgumentError, match="does not disclose"):
        audit(hidden, model)
    assert audit(hidden, model, list(b"hello")).same
    with pytest.raises(ArgumentError, match="not a sound receipt"):
        audit(hidden, model, list(b"other"))


class Other(StandIn):
    """A model whose numbers, or tokens, are others from some position on."""

    def __init__(self, at: int, *, token: int = 0, ulps: int = 0) -> None:
        super().__init__()
        self.at, self.token, self.ulps = at, token, ulps

    def write(self, task: TextTask) -> Any:
        inner = super().write(task)
        at, token, ulps = self.at, self.token, self.ulps

        class Changed:
            finish_reason = "stop"
            cancel = staticmethod(inner.cancel)

            def __iter__(self) -> Any:
                for n, step in enumerate(inner):
                    if n == at:
                        bits = np.float32(step.logprob).view(np.uint32) + np.uint32(ulps)
                        step = TokenStep(step.token + token, float(bits.view(np.float32)))
                    yield step

        return Changed()


def test_audits_name_what_differs() -> None:
    model = StandIn()
    receipt = written(model, TextTask(tuple(b"hello"), SETTINGS))
    assert audit(receipt, Other(4, token=1)).differences[0].startswith("token 4: ")
    one = audit(receipt, Other(3, ulps=1))  # the words are the same, a number is not
    assert not one.same
    assert one.differences[0].startswith("the number of token 3: ")
    other = StandIn()
    other.identity = ModelIdentity("99" * 32, IDENTITY.tokenizer, IDENTITY.document, compute="q8")
    assert [d.partition(":")[0] for d in audit(receipt, other).differences] == ["weights", "compute"]
    old = Receipt(dict(receipt.claims) | {"numerics": "loom-numerics/0"}, receipt.disclosed)
    assert "loom-numerics/0 claimed" in audit(old, model).differences[0]
    lying = dict(receipt.claims) | {"output": {**receipt.claims["output"], "finish_reason": "stop"}}
    found = audit(Receipt(lying, receipt.disclosed, receipt.about), model)
    assert found.differences == ("output, finish_reason: stop claimed, length here",)
    quoted = dict(receipt.claims) | {"settings": {**receipt.claims["settings"], "min_p": "0"}}
    found = audit(Receipt(quoted, receipt.disclosed, receipt.about), model)
    assert found.differences == ('settings, min_p: "0" claimed, 0 here',)
    assert found.notes == ()
    older = Receipt(receipt.claims, receipt.disclosed, {"loom": "0.0.1"})
    assert "of Loom 0.0.1" in audit(older, Other(4, token=1)).differences[-1]


HOSTILE = (None, True, 0, -1, 1.5, "x", "", [], {}, [[]], {"a": 1}, "\ud800", 1 << 53, 1e308, "9" * 5000, ...)
"""What takes the place of a part; ``...``: it is removed."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all parts, the first two of lists."""
    if path:
        yield path
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*path, name))
    elif isinstance(value, list):
        for at in range(min(len(value), 2)):
            yield from places(value[at], (*path, at))


def changed(plain: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy with another value at a path."""
    found = dict(plain) if isinstance(plain, dict) else list(plain)
    name, rest = path[0], path[1:]
    if rest:
        found[name] = changed(found[name], rest, value)
    elif value is ...:
        del found[name]
    else:
        found[name] = value
    return found


NO_EFFECT = ("stop", "max_tokens", "logit_bias", "stream", "top_k")
"""Of settings: the stand-in writes the same with others, or the default is there as if it were written."""


@pytest.mark.parametrize("kind", ["text", "embedding"])
def test_no_part_of_a_receipt_is_edited_unseen(kind: str) -> None:
    """Every part of claims and of what is disclosed, made another, is refused or named, whatever the id says."""
    model, rows = StandIn(), [list(b"one"), list(b"two")]
    if kind == "text":
        plain = json.loads(written(model, TextTask(tuple(b"hello"), SETTINGS)).to_json())
    else:
        plain = json.loads(embedding_receipt(IDENTITY, rows, model.embed(rows)).to_json())
    tried = 0
    for path in places({name: plain[name] for name in ("claims", "disclosed")}):
        if path[:2] == ("claims", "settings") and path[2:3] and path[2] in NO_EFFECT:
            continue
        for value in HOSTILE:
            edited = changed(plain, path, value)
            if edited == plain or (path[0] == "disclosed" and len(path) < 3 and value in (..., {})):
                continue  # redacted
            with contextlib.suppress(ArgumentError, AttributeError, KeyError, UnicodeEncodeError):
                edited["id"] = Receipt(edited["claims"]).id
            tried += 1
            try:
                told = audit(Receipt.from_json(json.dumps(edited)), model).differences
            except ArgumentError:
                continue
            assert told, (path, value)
            assert not told[0].startswith("claims: "), (path, value)
    assert tried > 200


def test_audits_of_vectors_and_of_texts_cut_short() -> None:
    model = StandIn()
    rows = [list(b"one"), list(b"two")]
    receipt = Receipt.from_json(embedding_receipt(IDENTITY, rows, model.embed(rows)).to_json())
    assert audit(receipt, model).same
    with pytest.raises(ArgumentError, match=r"its digest alone\. Pass its tokens, in Python: loom.models.tasks.audit"):
        audit(receipt.redacted(), model)
    assert audit(receipt.redacted(), model, rows).same
    wrong = embedding_receipt(IDENTITY, rows, model.embed(rows) * np.array([[1], [2]], np.float32))
    assert audit(wrong, model).differences[0].startswith("the vector of text 1: ")
    task = TextTask(tuple(b"!long hello"), SETTINGS)
    steps = list(model.write(task))[:5]
    text = bytes(step.token for step in steps).decode()
    for whole in (False, True):  # a reader may go away behind the last token, too
        task = TextTask(tuple(b"!long hello"), SETTINGS | {"max_tokens": 5 if whole else 20})
        found = audit(receipt_of(model, task, steps, text, "cancelled"), model)
        assert found.same
        assert found.notes == ("cancelled: any beginning of the text would agree",)
        assert found.to_dict()["notes"] == list(found.notes)
    nothing = audit(receipt_of(model, task, [], "", "cancelled"), model)
    assert (nothing.same, nothing.found is not None) == (True, True)
