"""One network, many threads: each gets the answer to its own question, of one state of the weights."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import StateError
from loom.flow import dnvm

_THREADS = 8
_LAYERS = [{"type": "dense", "output_size": 6, "activation": "tanh"}, {"type": "dense", "output_size": 3}]


def _network(**fields: Any) -> loom.Network:
    return loom.Network.from_json({"format": "loom/1", "input": {"shape": [4]}, "layers": _LAYERS} | fields, on="cpu")


def _together(work: Callable[[int], int]) -> list[int]:
    """Return what the threads found wrong, all of them started at once."""
    gate = threading.Barrier(_THREADS)

    def run(i: int) -> int:
        gate.wait()
        return work(i)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(run, range(_THREADS)))


@pytest.fixture
def questions() -> tuple[loom.Network, Any, Any]:
    net, x = _network(), np.random.default_rng(0).standard_normal((_THREADS, 8, 4)).astype(np.float32)
    return net, x, np.stack([net.forward(each) for each in x])


def test_each_thread_gets_its_own_forwards(questions: Any) -> None:
    net, x, wanted = questions

    def work(i: int) -> int:
        return sum(bool((net.forward(x[i]) != wanted[i]).any()) for _ in range(1000))

    assert _together(work) == [0] * _THREADS


def test_each_thread_gets_its_own_predictions_of_any_size(questions: Any) -> None:
    """Sizes are more than programs are kept, so that threads compile and forget them under one another."""
    net, x, wanted = questions
    flat, answers = x.reshape(-1, 4), wanted.reshape(-1, 3)

    def work(i: int) -> int:
        sizes = [(i * 5 + k) % 13 + 1 for k in range(40)]
        return sum(bool((net.predict(flat[i : i + n]) != answers[i : i + n]).any()) for n in sizes)

    assert _together(work) == [0] * _THREADS


def test_each_thread_gets_its_own_evaluation(questions: Any) -> None:
    net, x, wanted = questions
    classes = wanted.argmax(-1)
    losses = [net.evaluate(each, c).loss for each, c in zip(x, classes, strict=True)]

    def work(i: int) -> int:
        found = [net.evaluate(x[i], classes[i]) for _ in range(20)]
        return sum((f.loss, f.accuracy) != (losses[i], 1.0) for f in found)

    assert _together(work) == [0] * _THREADS


def test_answers_during_a_training_are_of_one_state_of_the_weights() -> None:
    """Every output is the same linear unit of the same input and is trained alike: a half-written state would show."""
    layers = [{"type": "dense", "output_size": 64}, {"type": "dense", "output_size": 64}]
    net = _network(layers=layers)
    same = {n: np.full(w.shape, 0.01, np.float32) for n, w in net.weights().items()}
    net.load_weights(same)
    x, y = np.ones((64, 4), np.float32), np.full((64, 64), 3.0, np.float32)
    over, seen = threading.Event(), list[Any]()

    def read() -> None:
        while not over.is_set():
            seen.append(net.predict(x[:8]))
            weights = net.weights()
            assert all(np.unique(w).size == 1 for w in weights.values())

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        history = net.train(x, y, epochs=60, batch_size=16, learning_rate=0.002)
        over.set()
        for reader in readers:
            reader.result()
    assert len({float(out[0, 0]) for out in seen}) > 1  # they saw it learn
    assert all(np.unique(out).size == 1 for out in seen)
    alone = _network(layers=layers)
    alone.load_weights(same)
    assert alone.train(x, y, epochs=60, batch_size=16, learning_rate=0.002).loss == history.loss
    assert alone.digest() == net.digest()


def test_a_second_training_and_other_weights_are_refused_meanwhile() -> None:
    net = _network()
    x, y = np.ones((4, 4), np.float32), np.zeros((4, 3), np.float32)
    told = (
        r" the network is being trained: expected one training at a time, got another under way. Wait for its end, or"
    )
    with net.model.alone("another"):
        with pytest.raises(StateError, match=r"\[loom.Network.train\]" + told):
            net.train(x, y)
        with pytest.raises(StateError, match=r"\[loom.Network.load_weights\]" + told):
            net.load_weights(net.weights())
        assert net.forward(x).shape == (4, 3)
    net.train(x, y)


def test_each_thread_has_its_current_network() -> None:
    def work(i: int) -> int:
        document = {"format": "loom/1", "input": {"shape": [1]}, "layers": [{"type": "dense", "output_size": 1}]}
        dnvm.create_network_from_json(document).load_weights({"layers.0.weight": [[i]], "layers.0.bias": [0]})
        wrong = 0
        for _ in range(20):
            wrong += dnvm.forward_simple([1.0]) != [i]
        dnvm.train_simple([{"Input": [1.0], "Target": [i + 1.0]}], {"Epochs": 1, "LearningRate": 0.5})
        return wrong + (dnvm.forward_simple([1.0]) != [i + 1.0])

    assert _together(work) == [0] * _THREADS


def test_a_thread_that_made_none_has_the_one_made_last() -> None:
    document = {"format": "loom/1", "input": {"shape": [1]}, "layers": [{"type": "dense", "output_size": 5}]}
    dnvm.create_network_from_json(document)
    with ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(dnvm.forward_simple, [1.0]).result()) == 5
