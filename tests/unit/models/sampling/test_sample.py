from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from loom.core.errors import ArgumentError, NotFinite
from loom.models.sampling import SamplingConfig, SamplingState, pack_mask, sample
from tests.unit.models.sampling import oracle

SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0}, {}, {"temperature": 0.3}, {"temperature": 3.0}, {"top_k": 1}, {"top_k": 5}, {"top_k": 300},
    {"top_p": 0.5}, {"top_p": 0.95}, {"top_p": 0.0}, {"min_p": 0.05}, {"min_p": 1.0}, {"top_k": 40, "top_p": 0.9},
    {"top_k": 40, "top_p": 0.9, "min_p": 0.1, "temperature": 0.7}, {"top_k": 1000, "top_p": 0.99, "temperature": 2.0},
    {"temperature": 50.0, "top_p": 0.9}, {"temperature": 1e-5}, {"top_k": 7, "seed": 2**64 - 1, "stream": 3},
]  # fmt: skip


def _states(position: int) -> list[SamplingState]:
    found = []
    for n, settings in enumerate(SETTINGS):
        state = SamplingState(SamplingConfig(**{"seed": n, **settings}))
        state.position = position
        found.append(state)
    return found


@pytest.mark.parametrize("size", [1, 3, 64, 1000, 9001])
def test_tokens_are_those_of_sorting(size: int) -> None:
    draw = np.random.default_rng(size)
    for position in range(12):
        logits = (draw.standard_normal((len(SETTINGS), size)) * draw.choice([0.1, 1, 4])).astype(np.float32)
        states = _states(position)
        found = sample(logits, states).tokens
        for row, state in enumerate(states):
            assert found[row] == oracle.token(logits[row], state.config, position), (SETTINGS[row], position)


def test_every_device_chooses_the_same(on: str) -> None:
    logits = (np.random.default_rng(3).standard_normal((len(SETTINGS), 5001)) * 3).astype(np.float32)
    mask = np.arange(5001) % 3 != 0
    states = _states(5)
    for state in states[::2]:
        state.config = SamplingConfig()
    states[3] = SamplingState(
        SamplingConfig(repetition_penalty=1.7, frequency_penalty=0.3, logit_bias={9: 2.5}), range(50)
    )
    states[3].push(8)
    masks = [mask if n % 4 == 1 else None for n in range(len(states))]
    expected = sample(logits, states, masks=masks, logprobs=3, on="interp")
    found = sample(logits, states, masks=masks, logprobs=3, on=on)
    assert found.tokens == expected.tokens
    assert np.array_equal(np.float32(found.logprobs).view(np.uint32), np.float32(expected.logprobs).view(np.uint32))
    assert found.top == expected.top


@pytest.mark.parametrize(("threads", "simd"), [("1", "4"), ("2", "8"), ("2", "16")])
def test_threads_and_widths_are_not_seen(threads: str, simd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = (np.random.default_rng(4).standard_normal((len(SETTINGS), 9001)) * 2).astype(np.float32)
    expected = sample(logits, _states(2)).tokens
    monkeypatch.setenv("LOOM_THREADS", threads)
    monkeypatch.setenv("LOOM_SIMD", simd)
    assert sample(logits, _states(2)).tokens == expected


def test_neighbours_are_not_seen() -> None:
    logits = (np.random.default_rng(5).standard_normal((len(SETTINGS), 700)) * 2).astype(np.float32)
    together = sample(logits, _states(9)).tokens
    alone = [sample(logits[n : n + 1], state).tokens[0] for n, state in enumerate(_states(9))]
    assert together == alone
    assert sample(logits[::-1].copy(), _states(9)[::-1]).tokens == together[::-1]


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 1.7}, {"top_k": 6}, {"top_p": 0.8}, {"min_p": 0.1, "top_k": 9}]
)
def test_chances_are_those_of_the_settings(settings: dict[str, Any]) -> None:
    config = SamplingConfig(seed=11, **settings)
    logits = np.random.default_rng(6).standard_normal(20).astype(np.float32)
    order, chances = oracle.kept(logits, config)
    counts = np.zeros(20, np.int64)
    for start in range(0, 6000, 1500):
        states = [SamplingState(config) for _ in range(1500)]
        for n, state in enumerate(states):
            state.position = start + n
        found = sample(np.tile(logits, (1500, 1)), states).tokens
        counts += np.bincount(found, minlength=20)
    assert set(np.flatnonzero(counts)) <= set(order)
    assert stats.chisquare(counts[order], chances * 6000).pvalue > 0.01


def test_ties_are_decided_by_the_lower_index() -> None:
    logits = np.zeros((1, 500), np.float32)
    logits[0, 300:] = 1.0
    for k in (1, 3, 64, 199):
        seen = {sample(logits, _at(SamplingConfig(top_k=k), n)).tokens[0] for n in range(60)}
        assert max(seen) < 300 + k
        assert min(seen) >= 300
    assert sample(logits, SamplingState(SamplingConfig(temperature=0))).tokens == [300]
    assert sample(np.array([[0.0, -0.0]], np.float32), SamplingState(SamplingConfig(temperature=0))).tokens == [0]
    logits[0, 450] = 2.0
    states = [_at(SamplingConfig(top_k=3), n) for n in range(60)]
    assert set(sample(np.tile(logits, (60, 1)), states).tokens) == {300, 301, 450}  # of three, one is above
    half = {sample(np.zeros((1, 8), np.float32), _at(SamplingConfig(top_p=0.5), n)).tokens[0] for n in range(80)}
    assert half == {0, 1, 2, 3}


def _at(config: SamplingConfig, position: int) -> SamplingState:
    state = SamplingState(config)
    state.position = position
    return state


def test_penalties_and_biases_are_those_of_one_after_the_other() -> None:
    draw = np.random.default_rng(8)
    for n in range(40):
        config = SamplingConfig(
            temperature=0 if n % 2 else 0.8, repetition_penalty=[1.0, 1.3, 0.7][n % 3], seed=n,
            frequency_penalty=[0.0, 0.5, -0.4][n % 3], presence_penalty=[0.9, 0.0][n % 2],
            logit_bias=dict(zip(draw.integers(0, 5000, 5).tolist(), (draw.normal(size=5) * 3).tolist(), strict=True)),
        )  # fmt: skip
        logits = draw.standard_normal(5000).astype(np.float32) * 2
        prompt, said = draw.integers(0, 5000, 40).tolist(), draw.integers(0, 30, 100).tolist()
        state = SamplingState(config, prompt)
        for each in said:
            state.push(each)
        expected = oracle.token(oracle.adjusted(logits, config, prompt, said), config, 140)
        assert sample(logits[None], state).tokens == [expected]


def test_masks_allow_what_they_say() -> None:
    logits = np.random.default_rng(9).standard_normal((1, 100)).astype(np.float32)
    mask = np.zeros(100, bool)
    mask[[13, 77]] = True
    for given in (mask, pack_mask(mask)):
        seen = {sample(logits, _at(SamplingConfig(), n), masks=[given]).tokens[0] for n in range(30)}
        assert seen == {13, 77}
    short = np.ones(10, bool)  # a tokenizer's vocabulary may be shorter than the model's
    assert sample(logits, _at(SamplingConfig(temperature=9), 1), masks=[short]).tokens[0] < 10
    with pytest.raises(ArgumentError, match="no token of row 0 is allowed"):
        sample(logits, SamplingState(SamplingConfig()), masks=[np.zeros(100, bool)])
    with pytest.raises(ArgumentError, match="not of this vocabulary"):
        sample(logits, SamplingState(SamplingConfig()), masks=[np.zeros(101, bool)])


@pytest.mark.parametrize("settings", [{}, {"temperature": 0}, {"top_k": 3}, {"logit_bias": {1: 1.0}}])
def test_what_is_no_number_is_an_error_and_never_a_token(settings: dict[str, Any]) -> None:
    state = SamplingState(SamplingConfig(**settings))
    for wrong, said in ((np.nan, "NaN"), (np.inf, "infinite")):
        logits = np.zeros((1, 5000), np.float32)
        logits[0, 4321] = wrong
        with pytest.raises(NotFinite, match=said):
            sample(logits, state)
        if said == "NaN":
            with pytest.raises(NotFinite, match=said):
                sample(logits, state, masks=[np.arange(5000) < 7])
    lone = np.full((1, 5000), -np.inf, np.float32)
    lone[0, 3] = -3e38
    assert sample(lone, state).tokens == [3]


def test_log_probabilities_are_of_the_logits_themselves() -> None:
    logits = np.random.default_rng(10).standard_normal((2, 300)).astype(np.float32) * 3
    found = sample(
        logits, [SamplingState(SamplingConfig(temperature=4, logit_bias={5: 3.0}, seed=n)) for n in (1, 2)], logprobs=4
    )
    exact = logits - np.log(np.exp(logits.astype(np.float64)).sum(axis=1, keepdims=True))
    assert found.logprobs is not None
    assert found.top is not None
    for row, token in enumerate(found.tokens):
        assert abs(found.logprobs[row] - exact[row, token]) < 1e-5
        assert [t for t, _ in found.top[row]] == np.argsort(-exact[row])[:4].tolist()
        assert np.allclose([p for _, p in found.top[row]], np.sort(exact[row])[::-1][:4], atol=1e-5)
    assert sample(logits[:1], SamplingState(SamplingConfig()), logprobs=0).top == [[]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": -1}, "temperature"), ({"temperature": 1e-9}, "too small"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": -1}, "top_k"), ({"top_k": 1.5}, "top_k"), ({"top_p": 1.1}, "top_p"), ({"min_p": -0.1}, "min_p"),
        ({"repetition_penalty": 0}, "repetition"), ({"frequency_penalty": float("inf")}, "frequency"),
        ({"logit_bias": [1]}, "logit_bias"), ({"logit_bias": {-1: 0.0}}, "logit_bias"), ({"seed": -1}, "seed"),
        ({"seed": 1 << 64}, "seed"),
        ({"max_tokens": -1}, "max_tokens"), ({"stop": [""]}, "stop"), ({"stop": 3}, "stop"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises((ArgumentError, TypeError), match=said):
        SamplingConfig(**settings)


def test_what_is_asked_wrongly_is_refused() -> None:
    state = SamplingState(SamplingConfig(logit_bias={70: 1.0}))
    with pytest.raises(ArgumentError, match="no such token"):
        sample(np.zeros((1, 70), np.float32), state)
    for logits, states in (
        (np.zeros(5, np.float32), state),
        (np.zeros((2, 5), np.float32), state),
        (np.zeros((1, 0)), state),
    ):
        with pytest.raises(ArgumentError, match="logits"):
            sample(logits, states)
    with pytest.raises(ArgumentError, match="not states"):
        sample(np.zeros((1, 5)), [None])  # type: ignore[list-item]
