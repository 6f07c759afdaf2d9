"""Networks of several inputs and outputs: trained, measured and run; each output with the loss of its meaning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import loom
from loom.cli.main import app
from loom.core.errors import ArgumentError, LoomError, NotFinite, ShapeError
from loom.flow import dnvm
from loom.nn.train import SGD, programs

DRAW = np.random.default_rng(0)
A, B = DRAW.standard_normal((60, 4)).astype(np.float32), DRAW.standard_normal((60, 3)).astype(np.float32)
CLASSES, VALUES = (A[:, 0] > 0).astype(int) + (B[:, 0] > 0), (A[:, 1] * B[:, 1])[:, None]


def dense(size: int, *inputs: str, **fields: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), "type": "dense", "output_size": size} | fields


def network(nodes: dict[str, Any], outputs: list[str], **fields: Any) -> loom.Network:
    inputs = {"a": {"shape": [4]}, "b": {"shape": [3]}}
    document = {"format": "loom/1", "seed": 2, "inputs": inputs, "nodes": nodes, "outputs": outputs} | fields
    return loom.Network.from_json(document, on="cpu")


def agent() -> loom.Network:
    """A policy and a value of two inputs."""
    nodes = {
        "h": dense(12, "a", activation="tanh"), "g": dense(12, "b", activation="tanh"),
        "m": {"inputs": ["h", "g"], "type": "merge"}, "policy": dense(3, "m", activation="softmax"),
        "value": dense(1, "m"),
    }  # fmt: skip
    return network(nodes, ["policy", "value"])


def alone(net: loom.Network, node: str, shape: int, **fields: Any) -> loom.Network:
    """The network of one node of another, with its weights."""
    layer = {"type": "dense"} | fields
    document = {"format": "loom/1", "seed": 2, "input": {"shape": [shape]}, "layers": [layer]}
    found = loom.Network.from_json(document, on="cpu")
    weights = net.weights()
    found.load_weights({f"layers.0.{k}": weights[f"{node}.{k}"] for k in ("weight", "bias")})
    return found


@pytest.mark.parametrize("held", [False, True])
def test_outputs_that_share_nothing_train_as_networks_of_their_own(held: bool, monkeypatch: Any) -> None:
    """Bit for bit: losses, weights, answers, whether the host or the device picks the samples."""
    if held:
        monkeypatch.setattr(programs, "_is_apart", lambda _where: True)
    both = network({"p": dense(3, "a"), "q": dense(1, "b", activation="sigmoid")}, ["p", "q"])
    one, other = alone(both, "p", 4, output_size=3), alone(both, "q", 3, output_size=1, activation="sigmoid")
    truths = (B[:, :1] > 0).astype(int)
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.05}
    history = both.train([A, B], [CLASSES, truths], validation=([A[:9], B[:9]], [CLASSES[:9], truths[:9]]), **settings)
    first = one.train(A, CLASSES, validation=(A[:9], CLASSES[:9]), **settings)
    second = other.train(B, truths, **settings)
    np.testing.assert_allclose(history.loss, np.add(first.loss, second.loss), rtol=1e-6)
    assert history.validation_accuracy == first.validation_accuracy
    weights = both.weights()
    for name, net in (("p", one), ("q", other)):
        for key, value in net.weights().items():
            assert (weights[name + key.removeprefix("layers.0")].view(np.uint32) == value.view(np.uint32)).all()
    made = both.predict({"b": B, "a": A})
    assert (made["p"] == one.predict(A)).all()
    assert (made["q"] == other.predict(B)).all()
    found = both.evaluate((A, B), {"q": truths, "p": CLASSES})
    parts = one.evaluate(A, CLASSES), other.evaluate(B, truths)
    assert found.loss == parts[0].loss + parts[1].loss
    assert [e.to_dict() for e in found.outputs.values()] == [e.to_dict() for e in parts]
    assert found.to_dict()["outputs"]["p"]["accuracy"] == parts[0].accuracy


def test_a_policy_and_a_value_learn_together_and_go_on_after_saving() -> None:
    settings: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.02, "clip_norm": 5.0, "accumulate": 2}
    net = agent()
    history = net.train({"a": A, "b": B}, [CLASSES, VALUES], epochs=60, **settings)
    found = net.evaluate([A, B], [CLASSES, VALUES])
    assert found.outputs["policy"].accuracy is not None
    assert found.outputs["policy"].accuracy > 0.9
    assert found.outputs["value"].loss < 0.5 * float((VALUES**2).mean())
    assert history.loss[-1] < 0.5 * history.loss[0]
    half = agent()
    half.train({"a": A, "b": B}, [CLASSES, VALUES], epochs=30, **settings)
    again = loom.Network.load(half.save(), on="cpu")
    again.train([A, B], {"value": VALUES, "policy": CLASSES}, epochs=60, resume=True, **settings)
    assert again.digest() == net.digest()


def test_a_loss_for_each_output() -> None:
    def losses(loss: Any, value: Any = VALUES) -> list[float]:
        found = agent().evaluate([A, B], [CLASSES, value], loss=loss)
        return [found.outputs[name].loss for name in ("policy", "value")]

    plain = losses(None)
    made = agent().predict([A, B])
    away = np.abs(made["value"].astype(np.float64) - VALUES)
    assert plain[1] == pytest.approx((away**2).mean(), rel=1e-5)
    assert losses({"value": "mae"}) == [plain[0], pytest.approx(away.mean(), rel=1e-5)]
    assert losses({"value": lambda x, y: abs(x - y).sum()})[1] == pytest.approx(away.sum(), rel=1e-5)
    trained = {agent().train([A, B], [CLASSES, VALUES], loss=loss).loss[0] for loss in (None, {"value": "huber"})}
    assert len(trained) == 2
    with pytest.raises(ArgumentError, match=r"\[train, loss\] the network has no output 'valu'.*Did you mean 'value'"):
        agent().train([A, B], [CLASSES, VALUES], loss={"valu": "mae"})


def test_twins_share_their_weights() -> None:
    """001:152: two inputs through one layer; one step against PyTorch in f64."""
    torch = pytest.importorskip("torch")
    inputs = {"a": {"shape": [3]}, "b": {"shape": [3]}}
    nodes = {"one": dense(5, "a", activation="tanh"), "two": {"inputs": ["b"], "$ref": "one"},
             "m": {"inputs": ["one", "two"], "type": "merge", "combine_mode": "multiply"},
             "out": dense(1, "m", activation="sigmoid")}  # fmt: skip
    net = network(nodes, ["out"], inputs=inputs, dtype="f64")
    w = {name: torch.tensor(value, requires_grad=True) for name, value in net.weights().items()}
    x = [torch.tensor(v.astype(np.float64)) for v in (A[:, :3], B)]
    hidden = [(v @ w["one.weight"] + w["one.bias"]).tanh() for v in x]
    out = torch.sigmoid(hidden[0] * hidden[1] @ w["out.weight"] + w["out.bias"])
    truths = (A[:, :1] * B[:, :1] > 0).astype(int)
    loss = torch.nn.functional.binary_cross_entropy(out, torch.tensor(truths.astype(np.float64)))
    loss.backward()
    found = net.train([A[:, :3], B], truths, batch_size=60, optimizer=SGD(), learning_rate=0.5, shuffle=False)
    assert found.loss[0] == pytest.approx(loss.item(), rel=1e-6)
    for name, value in net.weights().items():
        np.testing.assert_allclose(value, (w[name] - 0.5 * w[name].grad).detach().numpy(), rtol=1e-6, atol=1e-7)


def test_attention_with_padding_trains() -> None:
    """Tokens that the mask hides have no part: other numbers there give the same bits."""
    inputs = {"x": {"shape": [4, 6]}, "mask": {"shape": [4]}}
    attention = {"type": "multi_head_attention", "num_heads": 2, "padding_mask": "mask", "inputs": ["x"]}
    nodes = {"h": attention, "f": {"inputs": ["h"], "type": "flatten"}, "y": dense(2, "f")}
    x = DRAW.standard_normal((20, 4, 6)).astype(np.float32)
    there = np.ones((20, 4), np.float32)
    there[:, 2:] = 0
    other = x.copy()
    other[:, 2:] = 9.0
    y = (x[:, 0, 0] > 0).astype(int)
    made = []
    for given in (x, other):
        net = network(nodes, ["y"], inputs=inputs)
        before = net.evaluate([given, there], y).loss
        # queries of hidden tokens are seen by flatten, so that the weights of those alone would differ
        net.load_weights(net.weights() | {"y.weight": np.r_[np.ones((12, 2)), np.zeros((12, 2))]})
        net.model.frozen = frozenset({"y.weight"})
        net.train({"mask": there, "x": given}, y, epochs=3, learning_rate=0.1)
        assert np.isfinite(before)
        made.append({n: w.tobytes() for n, w in net.weights().items() if n.startswith(("h.k", "h.v", "h.o"))})
    assert made[0] == made[1]


WRONG: list[tuple[Any, type[LoomError], str]] = [
    (lambda n: n.predict(A), ArgumentError, "[loom.Network.predict, x] the network has several inputs: expected a "
     "dict of 'a', 'b', or a list of 2 arrays, got ndarray"),
    (lambda n: n.forward([A]), ArgumentError, "[loom.Network.forward, x] the network has several inputs: expected a "
     "dict of 'a', 'b', or a list of 2 arrays, got 1 things"),
    (lambda n: n.train([A, B], CLASSES), ArgumentError, "[train, y] the network has several outputs: expected a dict "
     "of 'policy', 'value', or a list of 2 arrays, got ndarray"),
    (lambda n: n.predict({"a": A, "c": B}), ArgumentError, "x does not name the network's inputs: expected a, b, got "
     "a, c"),
    (lambda n: n.evaluate([A, B], {"policy": CLASSES}), ArgumentError, "[evaluate, y] y does not name the network's "
     "outputs: expected policy, value, got policy"),
    (lambda n: n.predict([A, B[:5]]), ShapeError, "the inputs differ in samples: expected as many of each, got 'a': "
     "60, 'b': 5"),
    (lambda n: n.train([A, B[:4]], [CLASSES, VALUES]), ShapeError, "x and y differ in samples: x 'b': expected 60 "
     "samples, got 4"),
    (lambda n: n.train([A, B], [CLASSES, VALUES[:7]]), ShapeError, "x and y differ in samples: y 'value': expected 60 "
     "targets, got 7"),
    (lambda n: n.train([A, B * np.nan], [CLASSES, VALUES]), NotFinite, "NaN in the data: x 'b', sample 0"),
    (lambda n: n.train([A, B], [CLASSES + 5, VALUES]), ArgumentError, "[train, y 'policy'] a class out of range"),
    (lambda n: n.train([A, B], [CLASSES, VALUES], loss={"value": "nll"}), ArgumentError, "[train, loss 'value'] nll "
     "means nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "told"), WRONG, ids=range(len(WRONG)))
def test_what_is_missing_is_named(call: Any, error: type[LoomError], told: str) -> None:
    with pytest.raises(error, match=re.escape(told)):
        call(agent())


def test_one_input_may_be_named_too() -> None:
    document = {"format": "loom/1", "input": {"shape": [4]}, "layers": [{"type": "dense", "output_size": 3}]}
    net = loom.Network.from_json(document, on="cpu")
    assert (net.predict({"input": A}) == net.predict(A)).all()
    assert net.forward({"input": A[0]}).shape == (3,)
    net.train({"input": A}, {"layers.0": CLASSES}, loss={"layers.0": "cross_entropy"})
    assert net.evaluate({"input": A}, {"layers.0": CLASSES}).accuracy == net.evaluate(A, CLASSES).accuracy


def test_one_sample_of_several_inputs_needs_no_axis() -> None:
    net = agent()
    whole, one = net.predict([A, B]), net.forward([A[3], B[3]])
    assert {n: v.shape for n, v in one.items()} == {"policy": (3,), "value": (1,)}
    np.testing.assert_allclose(one["policy"], whole["policy"][3], rtol=1e-6)


def test_flat_doors_say_that_they_take_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_DEVICE", "cpu")
    dnvm.load_model_simple(agent().save())
    for call in (lambda: dnvm.forward_simple([1.0] * 7), lambda: dnvm.train_simple([{"Input": [1.0], "Target": [1]}])):
        with pytest.raises(ArgumentError, match=r"several inputs or outputs: expected one of each, got 2 and 2\."):
            call()
    agent().save(tmp_path / "m.json")
    (tmp_path / "d.csv").write_text("1,2,3,0\n4,5,6,1\n")
    found = CliRunner().invoke(app, ["eval", str(tmp_path / "m.json"), "--data", str(tmp_path / "d.csv")])
    assert found.exit_code != 0
    text = " ".join((found.output + str(found.exception or "")).split())
    assert "the network has several inputs or outputs" in text
