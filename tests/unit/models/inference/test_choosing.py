"""Requests with settings of their own in one pass: each gets what it gets alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, NotFinite
from loom.models.inference import FinishReason, InferenceEngine
from loom.models.sampling import SamplingConfig
from loom.models.tokens import grammar
from unit.models.inference.networks import VOCABULARY, network
from unit.models.tokens.made import smollm

_SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0}, {"seed": 1}, {"seed": 2, "temperature": 0.7, "top_p": 0.9}, {"seed": 1, "top_k": 5},
    {"seed": 3, "repetition_penalty": 1.3}, {"temperature": 0, "frequency_penalty": 0.5},
    {"temperature": 0, "logit_bias": {7: 100.0}}, {"seed": 4, "min_p": 0.2},
]  # fmt: skip


def test_settings_do_not_meet() -> None:
    net = network(8)
    prompts = [[i, i + 1, i + 2] for i in range(len(_SETTINGS))]
    configs = [SamplingConfig(max_tokens=12, **settings) for settings in _SETTINGS]
    with InferenceEngine(net, context_length=64, sequences=1) as engine:
        alone = [engine.submit(p, c) for p, c in zip(prompts, configs, strict=True)]
        texts = [r.result() for r in alone]
        again = engine.submit(prompts[1], configs[1])
        assert again.result() == texts[1]
        assert again.logprobs == alone[1].logprobs
    with InferenceEngine(net, context_length=64) as engine:
        beside = [engine.submit(p, c) for p, c in zip(prompts, configs, strict=True)]
        assert [r.result() for r in beside] == texts
        assert [r.logprobs for r in beside] == [r.logprobs for r in alone]
    assert texts[6] == [7] * 12
    assert len({tuple(t) for t in texts}) == len(texts)


def test_likeliest_tokens_are_those_of_the_logits() -> None:
    net = network(7)
    with InferenceEngine(net, context_length=64) as engine:
        request = engine.submit([1, 2, 3], SamplingConfig(temperature=0, max_tokens=4), top=3)
        made = request.result()
        plain = engine.submit([1, 2, 3], SamplingConfig(temperature=0, max_tokens=4))
        assert plain.result() == made
        np.testing.assert_array_equal(request.logprobs, plain.logprobs)
    z = net.forward(np.array([[1, 2, 3, *made]], np.int32))[0, 2:6].astype(np.float64)
    chances = z - z.max(-1, keepdims=True) - np.log(np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True))
    for row, (told, token) in enumerate(zip(request.likeliest, made, strict=True)):
        order = np.argsort(-chances[row], kind="stable")[:3]
        assert [t for t, _ in told] == order.tolist()
        assert told[0][0] == token
        np.testing.assert_allclose([p for _, p in told], chances[row][order], rtol=1e-4)


def test_texts_that_are_held_to_a_grammar() -> None:
    tokenizer = smollm()
    net = network(8, vocabulary=tokenizer.size)
    held = grammar.regex("(red|green|blue), [0-9]{3}", tokenizer)
    with InferenceEngine(net, context_length=64) as engine:
        free = engine.submit([5, 6], SamplingConfig(seed=2, max_tokens=6))
        requests = [
            engine.submit([5, 6], SamplingConfig(seed=seed, max_tokens=30), constraint=held, eos=tokenizer.eos)
            for seed in range(4)
        ]
        texts = [tokenizer.decode(r.result()) for r in requests]
        assert engine.submit([5, 6], SamplingConfig(seed=2, max_tokens=6)).result() == free.result()
    for text, request in zip(texts, requests, strict=True):
        colour, number = text.split(", ")
        assert colour in ("red", "green", "blue")
        assert len(number) == 3
        assert number.isdigit()
        assert request.finish_reason is FinishReason.STOP
    assert len(set(texts)) > 1


def test_bad_numbers_are_told_to_their_request() -> None:
    net = network(8)
    weights = net.model.weights()
    weights["layers.0.weight"][9] = np.nan
    net.model.load(weights)
    with InferenceEngine(net, context_length=64) as engine:
        for config in (SamplingConfig(temperature=0, max_tokens=3), SamplingConfig(seed=1, max_tokens=3)):
            bad, good = engine.submit([1, 9], config), engine.submit([1, 2], config)
            with pytest.raises(NotFinite, match="NaN"):
                bad.result(timeout=30)
            assert len(good.result(timeout=30)) == 3
        with pytest.raises(ArgumentError, match="top"):
            engine.submit([1], top=VOCABULARY + 1)
