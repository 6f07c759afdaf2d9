"""The loss follows what the output means, whatever layers it comes from; what means nothing is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, ShapeError
from loom.flow import dnvm
from loom.nn.spec import LAYERS, Layer, NumberKind, parse

OUT = {"type": "dense", "output_size": 3}
SOFT, CHANCES = OUT | {"activation": "softmax"}, OUT | {"activation": "sigmoid"}
FIVE = {"type": "dense", "output_size": 5, "activation": "softmax"}
GATE = {"type": "dense", "output_size": 2}
HIDDEN = {"type": "dense", "output_size": 16, "activation": "tanh"}


def function(name: str) -> dict[str, Any]:
    return {"type": "activation", "function": name}


def both(mode: str, *branches: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "parallel", "combine_mode": mode, "branches": list(branches)} | fields


DISTRIBUTIONS: dict[str, list[dict[str, Any]]] = {
    "dense": [SOFT],
    "softmax": [OUT, {"type": "softmax", "temperature": 0.5}],
    "activation": [OUT, function("softmax")],
    "kmeans": [{"type": "kmeans", "num_clusters": 3, "temperature": 0.5}],
    "avg": [both("avg", SOFT, SOFT)],
    "filter": [both("filter", SOFT, [{"type": "sequential", "layers": [OUT, function("softmax")]}][0], gate=GATE)],
    "flatten": [OUT, {"type": "softmax"}, {"type": "flatten"}],
    "reshape": [SOFT, {"type": "reshape", "shape": [1, 3]}, {"type": "reshape", "shape": [3]}],
    "relu": [SOFT, function("relu")],
    "sequential": [{"type": "sequential", "layers": [OUT, {"type": "sequential", "layers": [{"type": "softmax"}]}]}],
    "one branch": [both("add", SOFT)],
}

CASES: list[tuple[str, list[dict[str, Any]]]] = [
    *((NumberKind.PROBABILITIES.value, tail) for tail in DISTRIBUTIONS.values()),
    ("probabilities", [both("concat", SOFT, SOFT)]),
    ("probabilities", [{"type": "dense", "output_size": 6}, {"type": "softmax", "variant": "grid", "rows": 2,
                                                              "cols": 3}]),
    ("probabilities", [both("filter", SOFT, FIVE)]),
    ("probabilities", [{"type": "softmax", "variant": "mixture", "weights": [0.25, 0.75]}]),
    ("probabilities", [{"type": "softmax", "variant": "hierarchical", "levels": [2, 2]}]),
    ("probabilities", [{"type": "reshape", "shape": [2, 2]}, {"type": "conv1d", "filters": 3, "kernel_size": 1,
                                                              "activation": "softmax"}]),
    ("independent probabilities", [CHANCES]),
    ("independent probabilities", [OUT, function("sigmoid"), {"type": "reshape", "shape": [3, 1]}]),
    ("independent probabilities", [both("multiply", CHANCES, CHANCES)]),
    ("independent probabilities", [both("avg", CHANCES, SOFT)]),
    ("independent probabilities", [both("concat", CHANCES, CHANCES)]),
    ("independent probabilities", [both("grid_scatter", CHANCES, CHANCES, grid={"rows": 1, "cols": 2},
                                        grid_positions=[{"col": 1}, {"col": 0}])]),
    ("independent probabilities", [{"type": "reshape", "shape": [1, 2, 2]}, function("sigmoid"),
                                   {"type": "max_pool", "pool_size": 2}]),
    ("independent probabilities", [{"type": "reshape", "shape": [2, 2]}, function("sigmoid"),
                                   {"type": "permute", "axes": [1, 0]}, {"type": "token_pool"}]),
    ("numbers made of probabilities", [SOFT, {"type": "normalize"}]),
    ("numbers made of probabilities", [both("add", SOFT, SOFT)]),
    ("numbers made of probabilities", [both("concat", SOFT, FIVE)]),
    ("numbers made of probabilities", [both("multiply", SOFT, SOFT)]),
    ("numbers made of probabilities", [SOFT, function("tanh")]),
    ("numbers made of probabilities", [CHANCES, {"type": "dropout", "rate": 0.5}]),
    ("numbers made of probabilities", [SOFT, {"type": "residual", "layers": [SOFT]}]),
    ("numbers", [OUT]),
    ("numbers", [OUT, function("tanh")]),
    ("numbers", [SOFT, OUT]),
    ("numbers", [both("avg", SOFT, OUT)]),
    ("numbers", [{"type": "residual", "layers": [{"type": "dense", "output_size": 4, "activation": "softmax"}]}]),
    ("numbers", [{"type": "kmeans", "num_clusters": 3, "output_mode": "features"}]),
    ("numbers", [SOFT, {"type": "layer_norm"}]),
]  # fmt: skip


def network(*layers: dict[str, Any], seed: int = 1, shape: tuple[int, ...] = (4,)) -> loom.Network:
    document = {"format": "loom/1", "seed": seed, "input": {"shape": list(shape)}, "layers": list(layers)}
    return loom.Network.from_json(document, on="cpu")


@pytest.fixture(scope="module")
def groups() -> tuple[Any, Any]:
    """Three groups of points far apart, the first of half of all."""
    draw = np.random.default_rng(5)
    y = np.repeat([0, 1, 2], [60, 30, 30]).astype(np.int64)
    return draw.standard_normal((120, 4)) * 0.3 + np.eye(4)[y] * 4, y


def test_what_is_called_probabilities_is_such() -> None:
    """The outputs of each case, for inputs near and far, are what is said of them; and no layer is forgotten."""
    x = np.concatenate([np.random.default_rng(2).standard_normal((30, 4)) * s for s in (1, 20)])
    for kind, layers in CASES:
        net = network(*layers)
        output = net.predict(x).astype(np.float64)
        meaning = net.outputs[net.spec.outputs[0]].meaning
        assert meaning.kind.value == kind, layers
        if meaning.kind in (NumberKind.PROBABILITIES, NumberKind.INDEPENDENT):
            assert output.min() >= 0, layers
            assert output.max() <= 1 + 1e-6, layers
        if meaning.kind is NumberKind.PROBABILITIES:
            np.testing.assert_allclose(output.reshape(-1, meaning.width).sum(1), 1, atol=1e-6)
    text = str(CASES)
    telling = {kind for kind, config in LAYERS.items() if config.means is not Layer.means}
    unmet = {kind for kind in telling if f"'{kind}'" not in text}
    assert unmet == {"conv2d", "average_pool"}


def test_merge_and_shared_layers_mean_what_their_parts_do() -> None:
    nodes = {
        "a": {"inputs": ["input"]} | SOFT,
        "b": {"inputs": ["input"], "$ref": "a"},
        "c": {"inputs": ["a", "b"], "type": "merge", "combine_mode": "avg"},
        "d": {"inputs": ["a", "b"], "type": "merge", "combine_mode": "add"},
        "e": {"inputs": ["a", "b"], "type": "merge", "combine_mode": "concat"},
    }
    found = parse({"format": "loom/1", "input": {"shape": [4]}, "nodes": nodes, "outputs": ["c", "d", "e"]}).meanings()
    assert [str(found[n]) for n in "abcde"] == ["probabilities of sum 1 for each 3"] * 3 + [
        "numbers made of probabilities", "probabilities of sum 1 for each 3"]  # fmt: skip
    assert str(found["input"]) == "numbers"


@pytest.mark.parametrize("tail", DISTRIBUTIONS)
def test_cross_entropy_of_distributions_is_that_of_their_probabilities(tail: str, groups: Any) -> None:
    x, y = groups
    net = network(HIDDEN, *DISTRIBUTIONS[tail])
    history = net.train(x, y, epochs=40, batch_size=12, optimizer="adam", learning_rate=0.02)
    found = net.evaluate(x, y)
    right = net.predict(x).astype(np.float64)[np.arange(120), y]
    assert found.loss == pytest.approx(-np.log(right).mean(), rel=1e-5, abs=1e-6)
    assert history.loss[-1] < 0.1  # taken for logits it cannot fall below log(1 + 2 / e) = 0.551
    assert found.accuracy == 1.0  # the largest class has half of the samples


def test_the_seeds_network_of_a_sigmoid_learns_classes() -> None:
    """001 and 004: 4-8-2 with sigmoid at the end. All outputs going to 1 had the loss 0 and said nothing."""
    torch = pytest.importorskip("torch")
    layers = [{"type": "dense", "input_size": 4, "output_size": 8, "activation": "relu"},
              {"type": "dense", "input_size": 8, "output_size": 2, "activation": "sigmoid"}]  # fmt: skip
    net = loom.Network.from_json({"layers": layers}, on="cpu")
    x = np.random.default_rng(0).standard_normal((300, 4))
    y = ((x[:, 0] > 0).astype(int) + (x[:, 1] > 0) > 0).astype(int)
    majority = max(np.bincount(y)) / 300
    history = net.train(x, y, epochs=100, optimizer="adam", learning_rate=0.01)
    found = net.evaluate(x, y)
    assert found.accuracy is not None
    assert found.accuracy > 0.95 > majority
    given = torch.tensor(net.predict(x).astype(np.float64))
    wanted = torch.nn.functional.binary_cross_entropy(given, torch.eye(2, dtype=torch.float64)[torch.tensor(y)]).item()
    assert found.loss == pytest.approx(wanted, rel=1e-5)
    assert history.loss[-1] == pytest.approx(wanted, rel=0.2)  # as the samples were met, before the last updates


def test_one_hot_rows_classes_and_binary_cross_entropy_agree_bit_for_bit(groups: Any) -> None:
    x, y = groups
    rows = np.eye(3)[y]
    for layers, ways in (
        ([HIDDEN, CHANCES], [(y, None), (rows.astype(int), None), (rows.astype(bool), None), (y, "cross_entropy"),
                             (rows, "cross_entropy"), (rows, "binary_cross_entropy"), (y, "binary_cross_entropy"),
                             (rows.astype(int), "binary_cross_entropy")]),
        ([HIDDEN, OUT], [(y, None), (rows.astype(int), None), (rows.astype(int), "cross_entropy")]),
        ([HIDDEN, SOFT], [(y, None), (rows.astype(bool), None), (y.astype(np.uint8), "cross_entropy")]),
    ):  # fmt: skip
        found = set()
        for targets, loss in ways:
            net = network(*layers)
            history = net.train(x, targets, epochs=2, loss=loss, validation=(x, targets))
            found.add(
                (net.digest(), history.loss[-1], history.validation_loss[-1], net.evaluate(x, targets, loss=loss).loss)
            )
        assert len(found) == 1, layers


def test_several_truths_at_once_are_independent() -> None:
    x = np.random.default_rng(3).standard_normal((200, 4))
    y = (x[:, :3] > 0).astype(int)  # rows of no, one and several truths
    net = network(HIDDEN, CHANCES)
    history = net.train(x, y, epochs=60, optimizer="adam", learning_rate=0.03)
    assert history.loss[-1] < 0.15 < history.loss[0]
    assert ((net.predict(x) > 0.5) == y).mean() > 0.95
    one = network(HIDDEN, {"type": "dense", "output_size": 1, "activation": "sigmoid"})
    assert one.train(x, y[:, :1], epochs=60, optimizer="adam", learning_rate=0.03).loss[-1] < 0.15


def test_whole_numbers_that_are_no_truths_stay_numbers() -> None:
    net = network({"type": "dense", "output_size": 2})
    x, y = np.ones((2, 4)), np.array([[3, 0], [1, 2]])
    assert net.evaluate(x, y).loss == pytest.approx(((net.predict(x) - y) ** 2).mean(), rel=1e-6)


REFUSED = [
    ([both("add", SOFT, SOFT)], "cross_entropy", "expected logits or probabilities, got numbers made of probabilities",
     [both("avg", SOFT, SOFT)], None),
    ([SOFT, {"type": "dropout"}], "cross_entropy", "got numbers made of probabilities. Let the last layer be", [SOFT],
     None),
    ([SOFT, function("tanh")], "binary_cross_entropy", "or use loss='mse'", [SOFT, function("tanh")], "mse"),
    ([both("concat", SOFT, SOFT)], "cross_entropy", "expected probabilities of sum 1 along the last axis, of 6, got "
     "probabilities of sum 1 for each 3. Add a reshape layer whose last size is 3",
     [both("concat", SOFT, SOFT), {"type": "reshape", "shape": [2, 3]}], None),
    ([SOFT], "nll", "expected logarithms of probabilities, got probabilities of sum 1 for each 3. Use "
     "loss='cross_entropy'", [SOFT], "cross_entropy"),
    ([OUT], "nll", "got numbers. Use loss='cross_entropy'", [OUT], "cross_entropy"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "loss", "told", "mended", "other"), REFUSED, ids=range(len(REFUSED)))
def test_what_means_nothing_is_refused_and_the_remedy_works(
    layers: Any, loss: str, told: str, mended: Any, other: Any
) -> None:
    x, y = np.ones((4, 4)), np.array([0, 1, 2, 1])
    for call, where in ((network(*layers).train, "train"), (network(*layers).evaluate, "evaluate")):
        with pytest.raises(ArgumentError, match=rf"\[{where}, loss\] {loss} means nothing.*{re.escape(told)}"):
            call(x, y, loss=loss)
    net = network(*mended)
    shape = net.outputs[net.spec.outputs[0]].shape
    targets = np.eye(3)[y] if other == "mse" else np.repeat(y[:, None], 2, 1) if len(shape) > 1 else y
    net.train(x, targets, loss=other)


def test_targets_that_do_not_fit_are_told_what_would() -> None:
    x, y = np.ones((3, 4)), np.array([0, 1, 2])
    flat = network({"type": "reshape", "shape": [2, 2]}, {"type": "dense", "output_size": 3})
    with pytest.raises(ShapeError, match=r"\[train, y\] the classes do not fit the output \(n, 2, 3\): expected \(n, 2"
                       r"\), got \(3,\). Put a flatten layer before the last dense layer"):  # fmt: skip
        flat.train(x, y)
    with pytest.raises(ShapeError, match=r"expected \(n, 3\), got \(3,\). Pass classes as integers, y.astype\(int\)"):
        network(OUT).train(x, y.astype(float), loss="cross_entropy")
    with pytest.raises(ArgumentError, match=r"the rows are not one-hot: expected one 1 in each row, else 0"):
        network(OUT).train(x, np.ones((3, 3), int), loss="cross_entropy")
    with pytest.raises(ArgumentError, match=r"a target out of range: expected 0 to 1, got -1 to 2"):
        network(OUT).train(x, np.array([[-1.0, 2.0, 0.0]] * 3), loss="cross_entropy")
    with pytest.raises(ArgumentError, match=r"\[train, validation y\] a class out of range: expected 0 to 2"):
        network(OUT).train(x, y, validation=(x, np.array([0, 9, 1])))
    with pytest.raises(ArgumentError, match=r"\[train, validation\] not samples and their targets: expected a pair "
                       r"\(x, y\), got float"):  # fmt: skip
        network(OUT).train(x, y, validation=0.2)
    with pytest.raises(ArgumentError, match=r"\[train, probabilities\] not what the network's output means: expected "
                       r"True, got False. Leave it out"):  # fmt: skip
        network(SOFT).train(x, y, probabilities=False)


def test_train_simple_takes_cross_entropy_of_what_the_output_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """004:1057's network, one-hot targets as its examples have them; the loss is the true one."""
    monkeypatch.setenv("LOOM_DEVICE", "cpu")
    for activation, of in (("sigmoid", 2), ("softmax", 1)):
        dnvm.create_network_from_json(
            {"layers": [{"type": "dense", "input_size": 4, "output_size": 8, "activation": "tanh"},
                        {"type": "dense", "input_size": 8, "output_size": 2, "activation": activation}]})  # fmt: skip
        x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
        y = (x[:, 0] > 0).astype(int)
        batch = {"Input": x.reshape(-1).tolist(), "Target": np.eye(2)[y].reshape(-1).tolist()}
        told = {"Epochs": 300, "LearningRate": 1.0, "LossType": "cross_entropy"}
        result = dnvm.train_simple([batch], told)
        assert result["FinalLoss"] < 0.1
        out = np.array(dnvm.forward_simple(batch["Input"])).reshape(60, 2)
        assert (out.argmax(1) == y).mean() > 0.95
        chances = out[np.arange(60), y], 1 - out[np.arange(60), 1 - y]
        true = -np.log(np.stack(chances[:of])).mean()
        assert dnvm.train_simple([batch], told | {"Epochs": 1, "LearningRate": 0.0})["FinalLoss"] == pytest.approx(
            true, rel=1e-4)  # fmt: skip
