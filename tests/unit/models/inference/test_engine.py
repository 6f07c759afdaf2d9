"""Engines: the bits of ``network.forward``, whatever is computed beside a text, and requests of many threads."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, StateError
from loom.kernels.attention.cached import PAGE
from loom.models.inference import FinishReason, InferenceEngine
from loom.models.sampling import SamplingConfig
from unit.models.inference.networks import VOCABULARY, document, network

_NEVER = np.random.default_rng(5).integers(0, VOCABULARY, 150)
_PAGE_NBYTES = PAGE * 2 * 2 * (2 * 4) * 4


def greedy(most: int) -> SamplingConfig:
    """Return settings that take the likeliest token, ``most`` times."""
    return SamplingConfig(temperature=0, max_tokens=most)


def bits(x: Any) -> Any:
    """Return the bits of f32 numbers."""
    return np.ascontiguousarray(x, np.float32).view(np.uint32)


def test_chunks_have_the_bits_of_the_whole(on: str) -> None:
    tokens = _NEVER[: 150 if on == "cpu" else 70]
    net = network(len(tokens), on)
    whole = net.forward(tokens[None].astype(np.int32))[0]
    for rows in (512, 32):
        with InferenceEngine(net, context_length=256, prefill_rows=rows, sequences=2) as engine:
            found = engine.logits(tokens)
        assert (bits(found) == bits(whole)).all()


@pytest.mark.parametrize("settings", [
    {"heads": 3, "kv_heads": 1, "head_dim": 6}, {"kv_heads": 4, "rope_freq_base": None},
    {"head_dim": 136, "bias": True, "rope_dims": 16, "rope_interleaved": True}, {"window": 20, "qk_norm_epsilon": 1e-6},
])  # fmt: skip
def test_heads_of_any_kind(settings: dict[str, Any]) -> None:
    tokens = _NEVER[:70]
    net = network(70, **settings)
    with InferenceEngine(net, context_length=100, prefill_rows=64) as engine:
        assert (bits(engine.logits(tokens)) == bits(net.forward(tokens[None].astype(np.int32))[0])).all()


def test_steps_have_the_bits_of_the_whole() -> None:
    net = network(30)
    with InferenceEngine(net, context_length=64) as engine:
        request = engine.submit(_NEVER[:9], greedy(21))
        made = request.result()
        assert request.finish_reason is FinishReason.LENGTH
        assert list(request) == made == request.tokens
    z = net.forward(np.array([[*_NEVER[:9], *made]], np.int32))[0, 8:29]
    assert z.argmax(-1).tolist() == made
    wide = z.astype(np.float64)
    chances = wide.max(-1) - np.log(np.exp(wide - wide.max(-1, keepdims=True)).sum(-1)) - wide.max(-1)
    np.testing.assert_allclose(request.logprobs, chances, rtol=1e-5)


@cache
def _alone() -> tuple[loom.Network, list[Any], list[int], list[list[int]]]:
    """Return a network, prompts, how many tokens of each are asked for, and these, each computed alone."""
    rng = np.random.default_rng(1)
    prompts = [rng.integers(0, VOCABULARY, rng.integers(1, 150)).tolist() for _ in range(32)]
    for i in range(0, 32, 4):
        prompts[i] = (_NEVER[:100].tolist() + prompts[i])[:200]
    lengths = rng.integers(1, 40, 32).tolist()
    net = network(8)
    with InferenceEngine(net, context_length=256, prefix_reuse=False, sequences=1) as engine:
        return net, prompts, lengths, [
            engine.submit(p, greedy(n)).result() for p, n in zip(prompts, lengths, strict=True)
        ]  # fmt: skip


@pytest.mark.parametrize("settings", [
    {}, {"cache_nbytes": 9 * _PAGE_NBYTES, "sequences": 8}, {"prefill_rows": 16, "mixed_rows": 8, "sequences": 8},
], ids=["wide", "short of pages", "small passes"])  # fmt: skip
def test_texts_do_not_depend_on_their_neighbours(settings: dict[str, Any]) -> None:
    net, prompts, lengths, alone = _alone()
    found: list[Any] = [None] * 32
    with InferenceEngine(net, context_length=256, **settings) as engine:

        def ask(i: int) -> None:
            gone = engine.submit(prompts[i], greedy(200)) if i % 5 == 4 else None
            request = engine.submit(prompts[i], greedy(lengths[i]))
            if gone is not None:
                next(iter(gone))
                gone.cancel()
                gone.result(timeout=60)
                assert gone.finish_reason in (FinishReason.CANCELLED, FinishReason.LENGTH)
            found[i] = request.result(timeout=60)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = engine.statistics
    assert found == alone
    assert told.pages_used == told.running == told.waiting == 0
    assert told.reused > 0
    if "cache_nbytes" in settings:
        assert told.preempted > 0


def test_kept_beginnings_are_found() -> None:
    net = network(8)
    with InferenceEngine(net, context_length=256) as engine:
        first = engine.submit(_NEVER[:130], greedy(3))
        first.result()
        again = engine.submit(_NEVER[:130], greedy(3))
        assert again.result() == first.tokens
        assert (first.reused, again.reused) == (0, 128)
        exact = engine.submit(_NEVER[:128], greedy(1))
        exact.result()
        assert exact.reused == 64  # the last token is computed, or nothing would follow
        weights = net.model.weights()
        net.model.load({n: w * np.float32(1.5) for n, w in weights.items()})
        other = engine.submit(_NEVER[:130], greedy(3))
        changed = other.result()
        assert other.reused == 0
    with InferenceEngine(net, context_length=256) as engine:
        assert engine.submit(_NEVER[:130], greedy(3)).result() == changed


def test_ends() -> None:
    net = network(8)
    with InferenceEngine(net, context_length=128) as engine:
        text = engine.submit(_NEVER[:9], greedy(20)).result()
        ended = engine.submit(_NEVER[:9], greedy(20), eos=[text[5]])
        assert ended.result() == text[: text.index(text[5])]
        assert ended.finish_reason is FinishReason.STOP
        told: list[int] = []
        until = engine.submit(_NEVER[:9], greedy(20), until=lambda t: bool(told.append(t)) or len(told) == 4)
        assert until.result() == text[:4] == told
        assert until.finish_reason is FinishReason.STOP
        full = engine.submit(_NEVER[:120], greedy(20))
        assert len(full.result()) == 8
        assert full.finish_reason is FinishReason.LENGTH
        assert engine.submit(_NEVER[:128], greedy(20)).result() == []


def test_memory_that_is_too_small_ends_a_text() -> None:
    net = network(8)
    with InferenceEngine(net, context_length=256, cache_nbytes=2 * _PAGE_NBYTES) as engine:
        assert engine.statistics.pages == 2
        request = engine.submit(_NEVER[:100], greedy(100))
        assert len(request.result()) == 28
        with pytest.raises(ArgumentError, match="longer than the memory for keys and values: expected at most 128"):
            engine.submit(_NEVER[:129], greedy(1))
    with pytest.raises(ArgumentError, match="not one page"):
        InferenceEngine(net, context_length=256, cache_nbytes=100)


def test_rounded_keys_and_values_say_so() -> None:
    net = network(70)
    whole = net.forward(_NEVER[None, :70].astype(np.int32))[0]
    found: dict[str, Any] = {}
    for held in ("f16", "bf16"):
        with InferenceEngine(net, context_length=128, held=held, prefill_rows=32) as engine:
            found[held] = engine.logits(_NEVER[:70])
        with InferenceEngine(net, context_length=128, held=held) as engine:
            assert (bits(engine.logits(_NEVER[:70])) == bits(found[held])).all()
    errors = {held: np.abs(z - whole).max() for held, z in found.items()}
    assert 0 < errors["f16"] < errors["bf16"] < 0.1


def test_bad_requests() -> None:
    net = network(8)
    with InferenceEngine(net, context_length=64) as engine:
        for tokens, what in (
            ([], "no tokens"), ([0.5], "no tokens"), ([VOCABULARY], "not in the vocabulary"),
            ([-1], "not in the vocabulary"), ([1] * 65, "longer than the context"),
        ):  # fmt: skip
            with pytest.raises(ArgumentError, match=what):
                engine.submit(tokens, greedy(1))


def test_what_cannot_be_computed_token_by_token_is_refused() -> None:
    def refuse(layer: dict[str, Any], what: str) -> None:
        given = document(8)
        given["layers"].insert(1, layer)
        with pytest.raises(ArgumentError, match=what):
            InferenceEngine(loom.Network.from_json(given), context_length=8)

    refuse({"type": "multi_head_attention", "num_heads": 2}, "lets a token look at later ones")
    refuse({"type": "conv1d", "filters": 16, "kernel_size": 3, "padding": 1}, "may look at several tokens")


def test_closing_and_failing_tell_everybody() -> None:
    net = network(8)
    engine = InferenceEngine(net, context_length=4096, sequences=1)
    requests = [engine.submit([1, 2, 3], greedy(4000)) for _ in range(3)]
    next(iter(requests[0]))
    engine.close()
    for request in requests:
        with pytest.raises(StateError, match="the engine was closed"):
            request.result(timeout=10)
        assert request.is_done
    with pytest.raises(StateError, match="the engine was closed"):
        engine.submit([1], greedy(1))
    with InferenceEngine(net, context_length=128) as other:

        def fail(token: int) -> bool:
            raise RuntimeError(f"at {token}")

        bad, good = other.submit([1, 2], greedy(5), until=fail), other.submit([1, 2, 3], greedy(5))
        with pytest.raises(RuntimeError, match="at "):
            bad.result(timeout=10)
        assert len(good.result(timeout=10)) == 5
        with net.model.alone("a test"), pytest.raises(StateError, match="being trained"):
            other.submit([1], greedy(5)).result(timeout=10)
        assert len(other.submit([1], greedy(5)).result(timeout=10)) == 5
