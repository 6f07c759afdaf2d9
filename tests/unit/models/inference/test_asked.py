"""Requests that ask wrongly, grammars that fail, forks, logits while pages are short: nobody else is harmed."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, LoomError, ShapeError, StateError
from loom.models.inference import InferenceEngine
from loom.models.sampling import SamplingConfig
from unit.models.inference.networks import VOCABULARY, network

_PAGE_NBYTES = 64 * 2 * 2 * (2 * 4) * 4
_TEXT = np.random.default_rng(2).integers(0, VOCABULARY, 150)
_WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (5, {}, "not tokens"), (None, {}, "not tokens"), ("ab", {}, "not tokens"), (b"ab", {}, "not tokens"),
    ({1, 2}, {}, "not tokens"), ({1: 2}, {}, "not tokens"), ([[1, 2]], {}, "one row of whole numbers"),
    ([], {}, "nothing to go on from"), ([True], {}, "one row of whole numbers"),
    ([1], {"config": {"temperature": 0}}, "no settings"), ([1], {"eos": 5}, "not tokens"),
    ([1], {"eos": None}, "not tokens"), ([1], {"eos": [VOCABULARY]}, "out of range"), ([1], {"eos": ["a"]}, "whole"),
    ([1], {"until": 5}, "cannot be called"), ([1], {"constraint": "a+"}, "no grammar"),
    ([1], {"config": SamplingConfig(logit_bias={VOCABULARY: 1.0})}, "there is no such token"),
]  # fmt: skip


class _Grammar:
    """A grammar that allows everything, except as it is told."""

    def __init__(self, words: Any = None, size: int = VOCABULARY) -> None:
        self.given, self.size = words, size

    def start(self) -> int:
        return 0

    def words(self, state: int, size: int) -> Any:
        if isinstance(self.given, Exception):
            raise self.given
        return np.full(-(-size // 32), 0xFFFFFFFF, np.uint32) if self.given is None else self.given

    def advance(self, state: int, token: int) -> int:
        return state + token

    def is_complete(self, state: int) -> bool:
        return False


@pytest.fixture(scope="module")
def engine() -> Iterator[InferenceEngine]:
    with InferenceEngine(network(8), context_length=256) as made:
        yield made


def test_what_is_asked_wrongly_is_told_at_once_and_to_nobody_else(engine: InferenceEngine) -> None:
    config = SamplingConfig(seed=1, max_tokens=40)
    alone = engine.submit([1, 2], config).result()
    beside = engine.submit([1, 2], config)
    for tokens, more, what in _WRONG:
        with pytest.raises(LoomError, match=what):
            engine.submit(tokens, **more)
    with pytest.raises(ArgumentError, match="another tokenizer's"):
        engine.submit([1], constraint=_Grammar(size=VOCABULARY + 1))
    assert beside.result() == alone
    with pytest.raises(ArgumentError, match="timeout"):
        beside.result(timeout="soon")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="prefix_reuse"):
        InferenceEngine(network(8), context_length=64, prefix_reuse="no")  # type: ignore[arg-type]


def test_grammars_that_fail_fail_alone(engine: InferenceEngine) -> None:
    config = SamplingConfig(seed=1, max_tokens=40)
    alone = engine.submit([1, 2], config).result()
    held = engine.submit([1, 2], config, constraint=_Grammar())
    raising = engine.submit([3], config, constraint=_Grammar(KeyError("of its own")))
    short = engine.submit([3], config, constraint=_Grammar(np.zeros(1, np.uint32)))
    nothing = engine.submit([3], config, constraint=_Grammar(np.zeros(-(-VOCABULARY // 32), np.uint32)))
    plain = engine.submit([1, 2], config)
    with pytest.raises(KeyError, match="of its own"):
        raising.result()
    with pytest.raises(ShapeError, match="not of this vocabulary"):
        short.result()
    with pytest.raises(ArgumentError, match="no token"):
        nothing.result()
    assert plain.result() == held.result() == alone


def test_tokens_of_every_kind(engine: InferenceEngine) -> None:
    torch = pytest.importorskip("torch")
    config = SamplingConfig(temperature=0, max_tokens=3)
    kinds: list[Any] = [
        [1, 2, 3], (1, 2, 3), range(1, 4), iter([1, 2, 3]), np.array([1, 2, 3], np.uint8), torch.tensor([1, 2, 3]),
        [np.int64(1), np.uint8(2), 3], np.array([1, 2, 3, 9])[:3], np.array([1, 9, 2, 9, 3])[::2],
    ]  # fmt: skip
    assert len({tuple(engine.submit(tokens, config).result()) for tokens in kinds}) == 1


def test_logits_are_whole_where_pages_are_short() -> None:
    net = network(100)
    expected = net.forward(_TEXT[None, :100].astype(np.int32))[0]
    settings: dict[str, Any] = {"cache_nbytes": 3 * _PAGE_NBYTES, "sequences": 2, "mixed_rows": 2}
    with InferenceEngine(net, context_length=192, **settings) as engine, ThreadPoolExecutor(1) as pool:
        begun, gate = threading.Event(), threading.Event()
        config = SamplingConfig(temperature=0, max_tokens=70)
        first = engine.submit(_TEXT[:60], config, until=lambda _: begun.set() or not gate.wait(60))
        assert begun.wait(60), "else the logits may begin beside it, and never wait"
        found = pool.submit(engine.logits, _TEXT[:100])
        while not engine.statistics.waiting:
            time.sleep(0.001)
        gate.set()  # the logits give up their pages to the text that came first, and are read again
        assert len(first.result()) == 70
        scores = found.result()
        assert engine.statistics.preempted > 0
    assert scores.shape == expected.shape
    assert (scores.view(np.uint32) == expected.view(np.uint32)).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_forks_while_texts_are_made(engine: InferenceEngine) -> None:
    config = SamplingConfig(seed=3, max_tokens=5)
    expected = engine.submit([4, 5], config).result()
    for _ in range(5):  # until a fork came before the text was whole: other processes may hold this one up
        under_way = engine.submit([1, 2], SamplingConfig(seed=1, max_tokens=150))
        next(iter(under_way))
        told = _fork(engine, under_way, config)
        assert len(under_way.result()) == 150
        if told != f"150 {expected}":
            break
    assert told == f"StateError {expected}"


def _fork(engine: InferenceEngine, under_way: Any, config: SamplingConfig) -> str:
    """Return the report of a child that is forked now."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _tell(writer, engine, under_way, config)
    try:
        return os.read(reader, 1000).decode() if select.select([reader], [], [], 60)[0] else "it hangs"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


def _tell(writer: int, engine: InferenceEngine, under_way: Any, config: SamplingConfig) -> None:
    """Write what a child sees of its parent's request and of its own, and end."""
    try:
        try:
            seen = str(len(under_way.result(timeout=20)))
        except StateError as error:
            seen = type(error).__name__
        os.write(writer, f"{seen} {engine.submit([4, 5], config).result(timeout=20)}".encode())
    finally:
        os._exit(0)
