"""Crews: whoever computes the micro-batches, the bits are those of the definition, computed here by hand."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from loom import Network, tensor
from loom.core.errors import ArgumentError, StateError
from loom.nn.train import SGD, TrainConfig, Trainer
from loom.nn.train.parallel import Change, DeviceCrew, MicroBatches, Replica, TrainState, join

DRAW = np.random.default_rng(5)
X = DRAW.standard_normal((23, 5)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32) + (X[:, 1] > 0)


def network(*extra: dict[str, Any], on: str = "cpu") -> Network:
    layers = [{"type": "dense", "output_size": 6, "activation": "tanh"}, *extra, {"type": "dense", "output_size": 3}]
    return Network.from_json({"format": "loom/1", "seed": 3, "input": {"shape": [5]}, "layers": layers}, on=on)


def trained(net: Network, **settings: Any) -> str:
    net.train(X, Y, **{"epochs": 2, "batch_size": 9, "optimizer": "adam", "learning_rate": 0.02} | settings)
    return net.digest()


def by_hand(micro: int, batch: int, rate: float, steps: int) -> dict[str, Any]:
    """Plain descent by the definition: each micro-batch through ``tensor.grad``, weighted, added level by level."""
    net = network()
    weights = net.weights()
    for start in (np.arange(steps) * batch % len(X)).tolist():
        x, y = X[start : start + batch], Y[start : start + batch]
        level: list[dict[str, Any]] = []
        for at in range(0, len(x), micro):
            here = {n: tensor.parameter(w) for n, w in weights.items()}
            a, b, c, d = here.values()
            part = tensor.array(x[at : at + micro])
            loss = tensor.cross_entropy((part @ a + b).tanh() @ c + d, tensor.array(y[at : at + micro]))
            grads = tensor.grad(loss, list(here.values()))
            share = np.float32(len(x[at : at + micro]) / len(x))
            level.append({n: g.numpy() * share for n, g in zip(here, grads, strict=True)})
        while len(level) > 1:
            pairs = [
                {n: left[n] + right[n] for n in left} for left, right in zip(level[::2], level[1::2], strict=False)
            ]
            level = pairs + level[2 * len(pairs) :]
        weights = {n: w - np.float32(rate) * level[0][n] for n, w in weights.items()}
    return weights


@pytest.mark.parametrize("micro", [2, 5])
def test_one_device_does_what_the_definition_says(micro: int) -> None:
    net = network()
    net.train(X[:18], Y[:18], epochs=1, batch_size=9, micro_batch=micro, shuffle=False, learning_rate=0.5,
              optimizer=SGD(), loss="cross_entropy")  # fmt: skip
    wanted = by_hand(micro, 9, 0.5, 2)
    for name, a in net.weights().items():
        assert a.tobytes() == wanted[name].tobytes(), name


@pytest.mark.parametrize("micro", [9, 99])
def test_a_batch_that_is_one_micro_batch_is_as_if_there_were_none(micro: int) -> None:
    plain = trained(network())
    assert trained(network(), micro_batch=micro) == plain
    assert trained(network(), micro_batch=micro, devices=["cpu", "cpu"]) == plain


@pytest.mark.parametrize(("workers", "micro"), [
    (2, 4), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ((1, 4), (3, 2), (4, 3), (5, 2), (7, 1))),
])  # fmt: skip
def test_crews_of_any_size_make_the_same_bits(workers: int, micro: int) -> None:
    alone = trained(network(), micro_batch=micro)
    assert trained(network(), micro_batch=micro, devices=["cpu"] * workers) == alone


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_model_may_be_on_a_device_that_computes_nothing(workers: int) -> None:
    for micro in (3, 4, 9):
        alone = trained(network(), micro_batch=micro, epochs=1)
        assert trained(network(on="interp"), micro_batch=micro, epochs=1, devices=["cpu"] * workers) == alone


def test_other_devices_join_in(on: str) -> None:
    settings: dict[str, Any] = {"micro_batch": 3, "epochs": 1, "compute": "bf16"}
    alone = trained(network({"type": "dropout", "rate": 0.3}), **settings)
    assert trained(network({"type": "dropout", "rate": 0.3}), **settings, devices=["cpu", on]) == alone
    assert trained(network({"type": "dropout", "rate": 0.3}, on=on), **settings, devices=["cpu", "cpu"]) == alone


def test_workers_are_made_of_what_can_be_pickled_and_asked_again() -> None:
    """What a driver elsewhere does: replicas, lost answers, a late joiner."""
    config = TrainConfig(loss="cross_entropy", batch_size=10, micro_batch=2, optimizer=SGD(momentum=0.9))
    trainer = Trainer(network().model, config, crew=(crew := _Recorded()))
    trainer.fit(X, Y)
    recipe, state = pickle.loads(pickle.dumps((crew.recipe, crew.states[0])))
    workers = [Replica(recipe, state, "cpu") for _ in range(2)]
    for n, (batch, change) in enumerate(crew.asked):
        shares = [(0, 1), (1, batch.count)] if n else [(0, batch.count), (0, 0)]
        made = [s for w, (a, b) in zip(workers, shares, strict=True) for s in w.gradients(batch, a, b)]
        again = workers[0].gradients(batch, *shares[1])  # the other's answer was lost
        for one, other in zip(made[-len(again) :], again, strict=False):
            assert n == 0 or all(one.arrays[k].tobytes() == other.arrays[k].tobytes() for k in one.arrays)
        told = pickle.loads(pickle.dumps(Change(change.version, batch, tuple(join(made, batch.count)), change.rate)))
        for worker in workers:
            worker.change(told)
        if n == 1:
            workers[1] = Replica(recipe, TrainState(2, workers[0].arrays()), "cpu")
        with pytest.raises(StateError, match="the state is of another version"):
            workers[1].gradients(batch, 0, 1)
    for worker in workers:
        for name, a in trainer.arrays().items():
            assert worker.arrays()[name].tobytes() == a.tobytes(), name


class _Recorded(DeviceCrew):
    """Two workers, and what they were asked."""

    def __init__(self) -> None:
        super().__init__(["cpu", "cpu"], is_fair=True)
        self.asked: list[tuple[MicroBatches, Change]] = []
        self.states: list[TrainState] = []

    def start(self, home: Any, recipe: Any) -> None:
        self.recipe = recipe
        self.states.append(TrainState(home.version, home.arrays()))
        super().start(home, recipe)

    def change(self, change: Change) -> None:
        assert change.batch is not None
        self.asked.append((change.batch, change))
        super().change(change)


def test_sums_that_are_not_all_are_refused() -> None:
    crew = _Recorded()
    config = TrainConfig(loss="cross_entropy", batch_size=8, micro_batch=2)
    Trainer(network().model, config, crew=crew).fit(X[:8], Y[:8])
    worker = Replica(crew.recipe, crew.states[0], "cpu")
    batch = crew.asked[0][0]
    part = worker.gradients(batch, 0, 3)
    assert [s.node.span(4) for s in part] == [(0, 2), (2, 3)]
    for sums in (part[:1], part[1:], []):
        with pytest.raises(StateError, match="the sums are not those of all micro-batches"):
            worker.change(Change(0, batch, tuple(sums), rate=0.1))
    assert worker.version == 0


def test_devices_without_micro_batches_and_what_is_no_list_are_refused() -> None:
    with pytest.raises(ArgumentError, match="workers compute micro-batches, whose size makes the bits"):
        trained(network(), devices=["cpu"])
    for wrong in ("cpu", [], {}, 3):
        with pytest.raises(ArgumentError, match=r"\[train, devices\] not devices: expected a list of names"):
            trained(network(), devices=wrong, micro_batch=2)


@pytest.mark.slow
def test_another_size_of_batch_is_cut_anew() -> None:
    """Programs of the training before fit no other way of cutting."""
    net, other = network(), network()
    trained(net, micro_batch=4, batch_size=4)
    other.load_weights(net.weights())
    assert trained(net, micro_batch=4, batch_size=12) == trained(other, micro_batch=4, batch_size=12)


def test_models_without_a_document_are_refused(two_layers: Any) -> None:
    with pytest.raises(ArgumentError, match="only networks of documents are trained by micro-batches"):
        Trainer(two_layers(), TrainConfig(batch_size=8, micro_batch=4))
