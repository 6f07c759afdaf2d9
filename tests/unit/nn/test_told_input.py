"""Bundles and documents of the older generations that do not tell the size of their input: who loads them tells it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import loom
from loom.cli.main import app
from loom.core.errors import ArgumentError, LoomError, SpecError
from loom.nn.formats import convert_model

REMEDY = (
    "the size of the network's input cannot be told: expected the first layer's input size. Give input_size in the "
    "first layer, or pass the shape of a sample: input=(12,), on the command line loom convert --input 12."
)
X = np.linspace(-1, 2, 12, dtype=np.float32)
LAYERS: dict[str, dict[str, Any]] = {
    "softmax": {"type": "softmax"},
    "mixture": {"type": "softmax", "softmax_variant": "mixture", "mixture_weights": [0.25, 0.75]},
    "kmeans": {"type": "kmeans", "num_clusters": 2},
    "conv2d": {"type": "conv2d", "filters": 2, "kernel_size": 1, "input_channels": 1},
}


def document(layer: dict[str, Any]) -> dict[str, Any]:
    return {"id": "m", "batch_size": 1, "grid_rows": 1, "grid_cols": 1, "layers_per_cell": 1, "layers": [layer]}


def bundle(layer: dict[str, Any]) -> str:
    data = "eyJ0eXBlIjogImZsb2F0MzIiLCAiZHR5cGUiOiAiIiwgImxheWVycyI6IFt7fV19"
    weights = {"fmt": "jsonModelB64", "data": data}
    models = [{"id": "m", "cfg": document(layer), "weights": weights}]
    return json.dumps({"type": "modelhost/bundle", "version": 1, "models": models})


def _softmax(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    e = np.exp(np.float64(x) - np.float64(x).max())
    return e / e.sum()


LOADS: dict[str, Callable[..., loom.Network]] = {
    "load": lambda **told: loom.Network.load(bundle(LAYERS["softmax"]), on="interp", **told),
    "load_all": lambda **told: loom.Network.load_all(bundle(LAYERS["softmax"]), on="interp", **told)["m"],
    "from_json": lambda **told: loom.Network.from_json(document(LAYERS["softmax"]), on="interp", **told),
    "convert": lambda **told: loom.Network.load(
        convert_model(bundle(LAYERS["softmax"]), **told).data.decode(), on="interp"
    ),
}


@pytest.mark.parametrize("way", LOADS)
def test_what_the_message_names_loads_it(way: str) -> None:
    with pytest.raises(SpecError, match=re.escape(REMEDY)):
        LOADS[way]()
    for told in (12, (12,), [12], (3, 4)):
        net = LOADS[way](input=told)
        shape = net.spec.inputs[0].shape
        assert shape == ((12,) if told == 12 else tuple(told))
        made = net.forward(X.reshape(shape))
        assert np.allclose(made.sum(), 1.0 if shape == (12,) else made.sum())
    assert np.allclose(LOADS[way](input=12).forward(X), _softmax(X), atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_the_size_alone_is_the_problem(name: str) -> None:
    """What else would not fit follows from a size that nobody told."""
    with pytest.raises(SpecError) as raised:
        loom.Network.from_json(document(LAYERS[name]), on="interp")
    assert "cannot be told" in str(raised.value)
    assert "problems in" not in str(raised.value)


@pytest.mark.parametrize(("name", "told", "out"), [
    ("mixture", 12, (6,)), ("kmeans", 6, (2,)), ("conv2d", (1, 3, 3), (2, 3, 3)),
])  # fmt: skip
def test_any_first_layer_takes_the_size(name: str, told: Any, out: tuple[int, ...]) -> None:
    net = loom.Network.from_json(document(LAYERS[name]), input=told, on="interp")
    assert net.forward(np.ones(net.spec.inputs[0].shape, np.float32)).size == np.prod(out)


def test_a_size_that_does_not_fit_is_told() -> None:
    with pytest.raises(SpecError, match="multiple of 2 elements, got 11"):
        loom.Network.from_json(document(LAYERS["mixture"]), input=11)
    for wrong in (0, -1, "12", 1.5):
        with pytest.raises(LoomError):
            loom.Network.from_json(document(LAYERS["softmax"]), input=wrong)


TOLD = {"format": "loom/1", "input": {"shape": [12]}, "layers": [{"type": "softmax"}]}


def test_a_size_that_the_document_tells_is_not_told_again(tmp_path: Path) -> None:
    for call in (
        lambda: loom.Network.from_json(TOLD, input=12),
        lambda: loom.Network.from_json(document({"type": "dense", "input_size": 3, "output_size": 2}), input=3),
        lambda: loom.Network.load(loom.Network.from_json(TOLD).save(), input=12),
    ):
        with pytest.raises(
            ArgumentError, match="has no effect: the document tells the size of its input: expected input left out"
        ):
            call()
    loom.Network.from_json(TOLD).save(tmp_path / "a.safetensors")
    with pytest.raises(ArgumentError, match="has no effect"):
        loom.Network.load(tmp_path / "a.safetensors", input=12)


def test_the_command_line_takes_it(tmp_path: Path) -> None:
    source, out = tmp_path / "old.json", tmp_path / "new.json"
    source.write_text(bundle(LAYERS["softmax"]))
    runner = CliRunner()
    refused = runner.invoke(app, ["convert", str(source), str(out)])
    assert refused.exit_code != 0
    done = runner.invoke(app, ["convert", str(source), str(out), "--input", "12"])
    assert done.exit_code == 0, done.output
    assert np.allclose(loom.Network.load(out, on="interp").forward(X), _softmax(X), atol=1e-6)
    wrong = runner.invoke(app, ["convert", str(source), str(out), "--input", "twelve"])
    assert wrong.exit_code != 0
