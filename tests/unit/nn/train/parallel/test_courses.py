"""The course of a training by crews: stopped, resumed by others, refused, diverged, as of one device."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import loom.onnx
from loom import Network
from loom.core.errors import ArgumentError, CheckpointError, DeviceError, NotFinite, StateError
from loom.nn.integer import IntegerNetwork
from loom.nn.train import TrainConfig, Trainer
from loom.nn.train.parallel import DeviceCrew, MicroPrograms, root_of

DRAW = np.random.default_rng(2)
X = DRAW.standard_normal((26, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
DOCUMENT = {
    "format": "loom/1", "seed": 6, "input": {"shape": [4]},
    "layers": [{"type": "dense", "output_size": 5, "activation": "tanh"}, {"type": "dropout", "rate": 0.2},
               {"type": "dense", "output_size": 2}],
}  # fmt: skip
SETTINGS: dict[str, Any] = {"batch_size": 8, "micro_batch": 3, "optimizer": "adam", "learning_rate": 0.03}
CPU = ["cpu"]


def network() -> Network:
    return Network.from_json(DOCUMENT, on="cpu")


def test_a_checkpoint_goes_on_with_another_crew(tmp_path: Path) -> None:
    whole = network()
    whole.train(X, Y, epochs=2, **SETTINGS)
    for epochs, workers in ((1, 3), (2, 1)):
        part = network()
        part.train(X, Y, epochs=epochs, devices=CPU * workers, checkpoint=tmp_path, resume=True, **SETTINGS)
    assert part.digest() == whole.digest()
    for other in ({"micro_batch": 4}, {"micro_batch": None}):
        with pytest.raises(CheckpointError, match="the checkpoint was made with another micro_batch"):
            network().train(X, Y, epochs=4, checkpoint=tmp_path, resume=True, **{**SETTINGS, **other})


@pytest.mark.slow
def test_ctrl_c_in_an_epoch_and_on_with_others() -> None:
    whole = network()
    whole.train(X, Y, epochs=2, accumulate=3, **SETTINGS)
    net, config = network(), TrainConfig(loss="cross_entropy", epochs=2, accumulate=3, **_config())
    trainer = Trainer(net.model, config, crew=DeviceCrew(CPU * 3))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(
            X, Y, report=lambda p: os.kill(os.getpid(), signal.SIGINT) if (p.epoch, p.batch) == (1, 2) else None
        )
    assert trainer.kept is not None
    assert trainer.kept.facts["at"] == 2
    other = network()
    again = Trainer(other.model, config, crew=DeviceCrew(CPU * 2, is_fair=True))
    again.fit(X, Y, resume=trainer.kept)
    assert other.digest() == whole.digest()


def _config() -> dict[str, Any]:
    from loom.nn.train import Adam

    return {**SETTINGS, "optimizer": Adam(), "seed": 6}


def test_what_diverges_is_told_alike() -> None:
    told: list[tuple[str, dict[str, bytes]]] = []
    for devices in (None, CPU * 2, CPU * 3):
        net = network()
        with pytest.raises(NotFinite) as caught:
            net.train(X, X[:, :2], loss="mse", devices=devices, epochs=9, **{**SETTINGS, "learning_rate": 1e17,
                      "optimizer": "sgd"})  # fmt: skip
        told.append((str(caught.value), {n: a.tobytes() for n, a in net.weights().items()}))
    assert told[0] == told[1] == told[2]
    assert "the loss is" in told[0][0]


@pytest.mark.slow
def test_validation_and_patience_are_as_of_one_device() -> None:
    found = []
    for devices in (None, CPU * 2):
        net = network()
        history = net.train(X[:18], Y[:18], validation=(X[18:], 1 - Y[18:]), devices=devices, epochs=30, patience=2,
                            evaluate_every=2, **SETTINGS)  # fmt: skip
        found.append((net.digest(), history.to_dict()))
    assert found[0] == found[1]
    assert found[0][1]["stopped"] == "no gain for 3 epochs"


def test_one_batch_at_a_time() -> None:
    """Batches of other sizes, without ``fit``: cut by the same numbers; larger ones than a batch are refused."""
    nets = [network(), network()]
    trainers = [Trainer(net.model, TrainConfig(loss="cross_entropy", batch_size=8, micro_batch=m), crew=crew)
                for net, m, crew in zip(nets, (3, 3), (None, DeviceCrew(CPU * 2)), strict=True)]  # fmt: skip
    for size in (8, 5, 2, 8):
        losses = {trainer.train_batch(X[:size], Y[:size]) for trainer in trainers}
        assert len(losses) == 1
    assert nets[0].digest() == nets[1].digest() != network().digest()
    with pytest.raises(ArgumentError, match="more samples than a batch that is cut into micro-batches has"):
        trainers[0].train_batch(X[:9], Y[:9])
    history = trainers[1].fit(X, Y)  # whose crew takes what was trained since
    assert trainers[0].fit(X, Y).loss == history.loss


def test_observers_see_every_micro_batch_of_one_device_and_are_refused_of_crews() -> None:
    net = network()
    with net.observe(layers=["layers.0"]) as seen:
        net.train(X[:8], Y[:8], epochs=1, **SETTINGS)
        assert [e.step_count for e in seen.events] == [1] * 6  # as without micro-batches
        with pytest.raises(StateError, match="observers see what one device computes"):
            net.train(X, Y, devices=CPU * 2, **SETTINGS)
    assert [(e.type, len(e.output)) for e in seen.events] == [
        (kind, size) for size in (3, 3, 2) for kind in ("forward", "backward")
    ]
    plain = network()
    plain.train(X[:8], Y[:8], epochs=1, **SETTINGS)
    assert plain.digest() == net.digest()


@pytest.mark.slow
def test_programs_and_sums_are_few() -> None:
    """One program for each size of micro-batch, and sums of few levels, however many micro-batches there are."""
    programs = {}
    for count in (4, 26):
        trainer = Trainer(network().model, TrainConfig(loss="cross_entropy", batch_size=count, micro_batch=1))
        trainer.fit(X, Y)
        programs[count] = trainer.programs
        assert isinstance(trainer.programs, MicroPrograms)
        kinds = [key[0] for key in trainer.programs._made]
        assert kinds.count("leaf") == 1
        assert len(trainer.programs.levels) == max(1, root_of(count).level)
        assert len(kinds) == 2 + 2 * (root_of(count).level - 1)
    with pytest.raises(ArgumentError, match="the program needs more memory than it may have"):
        network().train(X, Y, budget_nbytes=4000, **SETTINGS)


def test_a_budget_is_of_each_device_and_told_before_anything_runs() -> None:
    trainer = Trainer(network().model, TrainConfig(loss="cross_entropy", budget_nbytes=1 << 20, **_config()))
    trainer.fit(X, Y)
    needed = trainer.programs.nbytes
    told: list[str] = []
    for devices, budget in ((None, needed), (CPU * 2, needed), (CPU * 2, 3 * needed)):
        net = network()
        before = net.digest()
        try:
            net.train(X, Y, budget_nbytes=budget, devices=devices, **SETTINGS)
        except ArgumentError as error:
            told.append(str(error))
            assert net.digest() == before
    assert len(told) == 1
    assert "need more than all of it" in told[0]
    assert "nothing was run" in told[0]


def test_a_device_that_computes_other_bits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = DeviceCrew(["cpu", "interp"], is_fair=True)
    net = network()
    change = DeviceCrew.change

    def wrong(self: DeviceCrew, told: Any) -> None:
        change(self, told)
        replica: Any = self._workers[1]
        bias = replica.net.parameters["layers.0.bias"]
        bits = bias.numpy()
        bits.view(np.uint32)[2] ^= 1
        bias.assign(bits)

    monkeypatch.setattr(DeviceCrew, "change", wrong)
    trainer = Trainer(net.model, TrainConfig(loss="cross_entropy", batch_size=8, micro_batch=4), crew=crew)
    with pytest.raises(DeviceError, match=r"'interp' has other bits of 'weights/layers.0.bias' than the model: "
                       r"expected those of cpu, got others. Leave this device out, and see loom verify"):  # fmt: skip
        trainer.fit(X[:8], Y[:8])


@pytest.mark.parametrize("told", [{"devices": CPU}, {"workers": 2}, {"address": "a:1"}, {"audit": 0.1}])
def test_others_that_train_refuse_several_by_name(told: dict[str, Any]) -> None:
    layers = [{"type": "dense", "output_size": 2}]
    document = {"format": "loom/1", "input": {"shape": [4]}, "layers": layers}
    integers = IntegerNetwork.from_json(document, "int16", calibration=X)
    name = next(iter(told))
    with pytest.raises(ArgumentError, match=rf"\[train, {name}\] only networks of documents are trained by several"):
        integers.train(X, Y, **told)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", 1, ["n", 4])],
        [helper.make_tensor_value_info("y", 1, ["n", 2])], [helper.make_tensor("w", 1, [4, 2], [0.5] * 8)],
    )  # fmt: skip
    model = loom.onnx.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    with pytest.raises(ArgumentError, match=rf"\[train, {name}\] only networks of documents are trained by several"):
        model.train(X, Y, **told)


@pytest.mark.parametrize("micro_batch", [None, 3])
@pytest.mark.parametrize("value", [1.0, None, np.float32(2)])
def test_a_loss_that_is_no_tensor_is_told(micro_batch: int | None, value: Any) -> None:
    net = network()
    with pytest.raises(ArgumentError, match=r"\[train, loss\] the function gives no tensor"):
        net.train(X, Y, loss=lambda _output, _target: value, **{**SETTINGS, "micro_batch": micro_batch})


def test_modes_of_one_device_refuse_lists_of_them() -> None:
    with pytest.raises(ArgumentError, match="the mode 'tween' is of one device"):
        network().train(X, Y, mode="tween", devices=CPU)
