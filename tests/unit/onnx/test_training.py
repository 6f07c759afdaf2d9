"""Imported models train: gradients and steps are torch's, weights are written back, every device has the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import loom.onnx
from loom import tensor
from loom.core.errors import ArgumentError, LoomError
from loom.onnx import OnnxModel
from tests.unit.onnx.from_torch import exported

torch: Any = pytest.importorskip("torch")
nn: Any = torch.nn

SMALL = """
<ir_version: 8, opset_import: ["" : 17]> small (float[n, 3] x) => (float[n, 2] y)
<float[3, 4] w1 = {0.1, -0.2, 0.3, 0.4, 0.5, 0.6, -0.7, 0.8, 0.9, 0.1, 0.2, -0.3}, float[4] b1 = {0, 0.1, 0.2, 0.3},
 float[4, 2] w2 = {0.5, -0.5, 0.25, 0.75, -0.1, 0.3, 0.2, 0.6}, float[2] b2 = {0.0, 0.0}, float half = {0.5}>
{ h = MatMul (x, w1)  a = Add (h, b1)  t = Tanh (a)  s = Mul (t, half)  y = Gemm (s, w2, b2) }
"""


def small() -> Any:
    return onnx.parser.parse_model(SMALL)


def _sequence(kind: str) -> Any:
    """Return a recurrent module, and a layer of what its last step gives."""

    class Sequence(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.last = getattr(nn, kind)(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.last(self.cell(x)[0][:, -1])

    return Sequence()


MODULES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2)), (5, 3)),
    "lenet": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, stride=2), nn.BatchNorm2d(6),
            nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6, 2),
        ), (4, 1, 10, 10),
    ),
    "lstm": (lambda: _sequence("LSTM"), (3, 5, 3)),
    "gru": (lambda: _sequence("GRU"), (3, 5, 3)),
    "transformer": (
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0), nn.Flatten(), nn.Linear(32, 2)
        ), (2, 4, 8),
    ),
}  # fmt: skip


def _but_slow(*fast: str) -> list[Any]:
    """Return the names of all modules, others than these being left to ``make prove``."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in MODULES]


def _pair(name: str, *, training: bool = False) -> tuple[Any, OnnxModel, np.ndarray[Any, Any]]:
    torch.manual_seed(0)
    make, shape = MODULES[name]
    module = make()
    module.train(training)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return module, loom.onnx.load(exported(module, torch.from_numpy(x), training=training)), x


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", _but_slow())
def test_gradients_of_all_weights_are_those_of_torch(name: str) -> None:
    module, model, x = _pair(name)
    truth = np.arange(len(x)) % 2
    loss = nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(truth))
    loss.backward()
    y = model.record({"x": tensor.array(x)})["y"]
    mine = tensor.cross_entropy(y, tensor.array(truth.astype(np.int32)))
    assert abs(mine.item() - loss.item()) < 1e-6
    found = dict(zip(model.parameters, tensor.grad(mine, list(model.parameters.values())), strict=True))
    if name not in ("lstm", "gru"):  # whose weights the exporter puts in another order
        for key, held in module.named_parameters():
            assert np.abs(found[key].numpy() - held.grad.numpy()).max() < 1e-6, key
    total = np.sqrt(sum(float((g.numpy().astype(np.float64) ** 2).sum()) for g in found.values()))
    expected = np.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in module.parameters()))
    assert abs(total - expected) < 1e-5 * max(expected, 1)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", _but_slow("perceptron"))
def test_twenty_steps_have_the_losses_of_torch(name: str) -> None:
    module, model, x = _pair(name, training=True)
    truth = np.arange(len(x)) % 2
    made = torch.optim.SGD(module.parameters(), 0.05)
    losses: list[float] = []
    for _ in range(20):
        made.zero_grad()
        loss = nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(truth))
        loss.backward()
        made.step()
        losses.append(loss.item())
    history = model.train(x, truth, learning_rate=0.05, epochs=20, batch_size=len(x), shuffle=False)
    assert np.abs(np.array(history.loss) - losses).max() < 1e-5
    assert losses[-1] < losses[0]


def test_running_means_move_only_where_batches_are_normalised_by_themselves() -> None:
    norm = nn.BatchNorm1d(3)
    data = np.random.default_rng(1).normal(2, 3, (16, 3)).astype(np.float32)
    model = loom.onnx.load(exported(norm.eval(), torch.from_numpy(data)))
    assert sorted(model.parameters) == ["bias", "weight"]
    assert sorted(model.state) == ["running_mean", "running_var"]
    before = model.weights()
    model.train(data, data, epochs=1, batch_size=16)
    assert np.array_equal(model.weights()["running_mean"], before["running_mean"])
    assert not np.array_equal(model.weights()["weight"], before["weight"])
    model.load_weights(before)
    model.train(data, data, epochs=1, batch_size=16, learning_rate=0.0, batch_statistics=True)
    after = model.weights()
    assert np.abs(after["running_mean"] - 0.1 * data.mean(0)).max() < 1e-6
    assert np.abs(after["running_var"] - (0.9 + 0.1 * data.var(0))).max() < 1e-5  # ONNX's is of the batch, not unbiased


def test_a_step_that_drops_out_draws_anew_and_alike_for_a_seed() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 64] x) => (float[n, 64] y) <float[64] w = {'
        f"{', '.join(['1'] * 64)}}}, float half = {{0.5}}, bool yes = {{1}}>"
        "{ h = Mul (x, w)  y = Dropout (h, half, yes) }"
    )
    x = np.ones((4, 64), np.float32)
    with pytest.raises(ArgumentError, match="dropout in training draws"):
        loom.onnx.load(proto).run({"x": x})
    found: list[Any] = []
    for seed in (1, 1, 2):
        model = loom.onnx.load(proto)
        model.train(x, 5 * x, epochs=2, batch_size=4, learning_rate=1.0, seed=seed)
        found.append(model.weights()["w"])
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    history = loom.onnx.load(proto).train(x, x, validation=(x, x), epochs=1, learning_rate=0.0, progress=False)
    assert history.validation_loss == [0.0]  # samples held out are not dropped, nor scaled for it


def test_training_and_answers_have_the_same_bits_on_every_device(on: str) -> None:
    x = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    truth = (x.sum(1) > 0).astype(np.int64)
    held = {}
    for place in ("cpu", on):
        model = loom.onnx.load(small(), on=place)
        first = model.run({"x": x})["y"]
        history = model.train(x, truth, optimizer="adam", epochs=3, batch_size=4, learning_rate=0.05)
        held[place] = [first, model.run({"x": x})["y"], np.array(history.loss), *model.weights().values()]
        assert history.loss[-1] < history.loss[0]
    assert [a.tobytes() for a in held["cpu"]] == [a.tobytes() for a in held[on]]


def test_weights_are_trained_written_and_read_again(tmp_path: Path) -> None:
    model, x = loom.onnx.load(small()), np.eye(3, dtype=np.float32)
    constants = model.run({"x": x})["y"]
    assert list(model.parameters) == ["w1", "b1", "w2", "b2"]  # half has no axes: a constant of the graph
    assert model.run({"x": x})["y"].tobytes() == constants.tobytes()
    model.train(x, np.ones((3, 2), np.float32), epochs=5, learning_rate=0.1, frozen=["b1"])
    trained = model.run({"x": x})["y"]
    assert trained.tobytes() != constants.tobytes()
    assert np.array_equal(model.weights()["b1"], np.array([0, 0.1, 0.2, 0.3], np.float32))
    model.save(tmp_path / "trained.onnx")
    onnx.checker.check_model(str(tmp_path / "trained.onnx"))
    again = loom.onnx.load(tmp_path / "trained.onnx")
    assert again.run({"x": x})["y"].tobytes() == trained.tobytes()
    again.parameters["w1"].assign(np.zeros((3, 4), np.float32))
    assert not np.array_equal(again.run({"x": x})["y"], trained)
    chosen = loom.onnx.load(small(), trained=["half", "b2"])
    assert list(chosen.parameters) == ["half", "b2"]
    chosen.train(x, np.ones((3, 2), np.float32), epochs=1)
    assert chosen.weights()["half"] != np.float32(0.5)


def test_what_cannot_be_trained_is_told() -> None:
    model, x = loom.onnx.load(small()), np.eye(3, dtype=np.float32)
    for arguments in (
        {"y": np.zeros((3, 2), "f4"), "rate": 1}, {"y": np.zeros((3, 2), "f4"), "compute": "f16"},
        {"y": np.zeros((3, 2), "f4"), "workers": 2},
        {"y": np.zeros((3, 2), "f4"), "frozen": ["w9"]}, {"y": {"z": np.zeros((3, 2), "f4")}},
        {"y": np.zeros((3, 5), "f4")}, {"y": np.array([0, 1, 2])}, {"y": np.zeros((4, 2), "f4")},
    ):  # fmt: skip
        with pytest.raises(LoomError):
            model.train(x, **arguments)
    for bad in ({"trained": ["nobody"]}, {"trained": ["x"]}):
        with pytest.raises(ArgumentError):
            loom.onnx.load(small(), **bad)
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[n] y) <float[1] s = {2.0}>'
    scaled = loom.onnx.load(onnx.parser.parse_model(text + " { y = Resize (x, , s) }"), trained=["s"])
    with pytest.raises(ArgumentError, match="parameters decide"):
        scaled.run({"x": np.zeros(2, np.float32)})


def test_several_inputs_and_outputs_train_by_their_names() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 2] a, int64[n] b) => (float[n, 2] p, float[n, 3] q)'
        " <float[2, 2] w = {1, 2, 3, 4}, float[5, 3] table = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}>"
        " { m = MatMul (a, w)  p = Softmax (m)  q = Gather (table, b) }"
    )
    model = loom.onnx.load(proto)
    a, b = np.ones((4, 2), np.float32), np.array([0, 1, 1, 4])
    before = model.weights()
    history = model.train({"a": a, "b": b}, {"p": np.array([0, 0, 0, 0])}, epochs=2, learning_rate=0.5)
    assert abs(history.loss[0] - np.log(1 + np.exp(2.0))) < 1e-5  # cross-entropy of probabilities: w gives (4, 6)
    assert np.array_equal(model.weights()["table"], before["table"])
    model.train({"a": a, "b": b}, {"p": np.zeros(4, int), "q": np.zeros((4, 3), "f4")}, epochs=1, learning_rate=0.5)
    moved = model.weights()["table"] != before["table"]
    assert moved.all(1).tolist() == [True, True, False, False, True]


@pytest.mark.parametrize(("told", "text"), [
    ({"probabilities": True, "loss": "mse"}, r"train, probabilities\] has no effect: output 'y' is trained by 'mse'"),
    ({"probabilities": {"y": "independent"}, "loss": "huber"}, "has no effect.*got independent.*loss='cross_entropy'"),
    ({"probabilities": {"z": True}}, "train, probabilities] no output that is trained is called 'z'"),
    ({"loss": {"z": "mse"}}, "train, loss] no output that is trained is called 'z'"),
    ({"probabilities": "yes", "loss": "cross_entropy"}, "neither a truth nor 'independent'.*got 'yes'"),
])  # fmt: skip
def test_what_is_told_of_outputs_has_an_effect_or_is_refused(told: dict[str, Any], text: str) -> None:
    x, y = np.ones((4, 3), np.float32), np.full((4, 2), 0.5, np.float32)
    with pytest.raises(ArgumentError, match=text):
        loom.onnx.load(small()).train(x, y, **told)


def test_what_is_told_of_one_output_may_leave_others_alone() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 2] a) => (float[n, 2] p, float[n, 2] q)'
        " <float[2, 2] w = {1, 2, 3, 4}> { q = MatMul (a, w)  p = Abs (q) }"
    )
    x, y = np.ones((4, 2), np.float32), {"p": np.zeros(4, int), "q": np.ones((4, 2), np.float32)}
    losses = {name: loom.onnx.load(proto).train(x, y, probabilities=told).loss[0]
              for name, told in (("logits", None), ("both", True), ("one", {"p": True}))}  # fmt: skip
    assert losses["both"] == losses["one"] != losses["logits"]
    with pytest.raises(ArgumentError, match="has no effect: output 'q' is trained by 'mse'"):
        loom.onnx.load(proto).train(x, y, probabilities={"p": True, "q": True})
    soft = onnx.parser.parse_model(onnx.printer.to_text(proto).replace("Abs", "Softmax"))
    with pytest.raises(ArgumentError, match=r"the graph makes output 'p' probabilities.*got independent"):
        loom.onnx.load(soft).train(x, y, probabilities={"p": "independent"})
