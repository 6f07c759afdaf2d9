"""What users do wrong with networks, and the whole text they get for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import loom
from loom.cli.main import app
from loom.core.errors import LoomError
from loom.flow import dnvm
from loom.flow.dnvm import current

DENSE = {"type": "dense", "output_size": 2}
X = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)
Y = np.array([0, 1, 0, 1, 0, 1])


def document(*layers: dict[str, Any], shape: tuple[int, ...] = (4,), **more: Any) -> dict[str, Any]:
    return {"format": "loom/1", "input": {"shape": list(shape)}, "layers": list(layers)} | more


def read(*layers: dict[str, Any], shape: tuple[int, ...] = (4,)) -> Callable[[], object]:
    return lambda: loom.Network.from_json(document(*layers, shape=shape), on="cpu")


@pytest.fixture(scope="module")
def net() -> loom.Network:
    return loom.Network.from_json(document(DENSE), on="cpu")


def text_of(call: Callable[[], object]) -> str:
    with pytest.raises(LoomError) as caught:
        call()
    return str(caught.value)


DOCUMENTS: dict[str, tuple[Callable[[], object], str]] = {
    "a file's name": (lambda: loom.Network.from_json("net.json"), "[loom.nn.convert $] malformed JSON at line 1, "
        "column 1: expecting value. To read a file, pass its pathlib.Path."),
    "malformed": (lambda: loom.Network.from_json('{"format": "loom/1", "layers": [}'), "[loom.nn.convert $] malformed "
        "JSON at line 1, column 33: expecting value."),
    "another format": (lambda: loom.Network.from_json(document(DENSE, format="loom/2")), "[loom.nn.convert $.format] "
        "unknown format: expected 'loom/1', got 'loom/2'. Did you mean 'loom/1'?"),
    "no weights": (lambda: loom.Network.load(json.dumps(document(DENSE))), "[loom.nn.read_bundle $.type] not a bundle: "
        "expected 'loom/bundle' or 'modelhost/bundle', got null. It is a network without weights: read it with "
        "from_json."),
    "type": (read({"type": "dens", "output_size": 2}), "[loom.nn.convert $.layers[0].type] unknown layer type 'dens'. "
        "Did you mean 'dense' or 'kmeans'?"),
    "activation": (read(DENSE | {"activation": "rellu"}), "[loom.nn.convert $.layers[0].activation] unknown name "
        "'rellu'. Did you mean 'relu' or 'relu2' or 'elu'?"),
    "a truth for a size": (read({"type": "dense", "output_size": True}), "[loom.nn.convert $.layers[0].output_size] "
        "unusable value: expected an integer from 1 to 2147483647, got true."),
    "two at once": (read({"type": "dense", "output_sise": 2}), "[loom.nn.convert] 2 problems in the network document.\n"
        "  $.layers[0].output_sise: unknown key 'output_sise'. Did you mean 'output_size' or 'input_size'?\n"
        "  $.layers[0]: key 'output_size' is missing: expected an integer from 1 to 2147483647. It is the number of "
        "output features."),
    "sizes of layers": (read(DENSE, {"type": "dense", "input_size": 3, "output_size": 1}), "[loom.nn.convert "
        "$.layers[1].input_size] input features do not match the layer before: expected 2, as the input has, got 3."),
    "no axis of tokens": (read({"type": "rnn", "hidden_size": 3}), "[loom.nn.convert $.layers[0]] the input has an "
        "unsuitable number of axes: expected (tokens, features), got shape (4,). Put a reshape or flatten layer before "
        "it."),
    "a window too long": (read({"type": "conv2d", "filters": 2, "kernel_size": 5}, shape=(1, 3, 3)), "[loom.nn.convert "
        "$.layers[0].kernel_size] the window is longer than the padded input: expected at most 3, got 5. Give it more "
        "padding or a smaller kernel."),
    "unequal branches": (read({"type": "parallel", "combine_mode": "add", "branches": [DENSE, {"type": "stitch",
        "output_size": 3}]}), "[loom.nn.convert $.layers[0]] the branches have unequal shapes: expected (2,) as of "
        "number 0, got (3,) of number 1. Bring them to one shape, for example with stitch."),
    "a gate of another size": (read({"type": "parallel", "combine_mode": "filter", "gate": {"type": "dense",
        "output_size": 3}, "branches": [DENSE, DENSE]}), "[loom.nn.convert $.layers[0].gate] the gate does not give "
        "one weight per branch: expected (2,), got (3,)."),
    "layers of an older grid": (lambda: loom.Network.from_json({"grid_rows": 1, "grid_cols": 1, "layers_per_cell": 2,
        "layers": [{"type": "dense", "width": 2, "height": 2}]}), "[loom.nn.convert $.layers] the number of layers "
        "does not match the grid: expected 2 layers (1 rows x 1 columns x 2 layers per cell), got 1."),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(name: str) -> None:
    call, text = DOCUMENTS[name]
    assert text_of(call) == text


def test_more_than_the_machine_has_is_told_before_anything_is_made() -> None:
    text = text_of(read({"type": "dense", "output_size": 2**28}, shape=(2**12,)))
    start = "[loom.Network] the weights need more memory than this machine has: expected at most "
    assert text.startswith(start)
    assert text.endswith(f"bytes, got {(2**12 + 1) * 2**30} bytes. Use smaller layers; nothing was allocated.")


_ROWS = (
    "the rows differ in length: expected numbers in a regular shape, got a ragged list. Pad them, or pass them apart."
)
CALLS: dict[str, tuple[Callable[[loom.Network], object], str]] = {
    "forward, size": (lambda n: n.forward(np.zeros((3, 5))), "[loom.nn.Model, input 'input'] the array has another "
        "shape: expected (batch, 4), got (3, 5). The first axis counts samples."),
    "forward, ragged": (lambda n: n.forward([[1, 2], [1]]), f"[loom.Network, x] {_ROWS}"),
    "forward, none": (lambda n: n.forward(None), "[loom.Network, x] not numbers: expected bools, ints or floats, got "
        "NoneType. Pass numbers."),
    "train, ragged": (lambda n: n.train([[1, 2], [1]], [0, 1]), f"[train, x] {_ROWS}"),
    "texts as classes": (lambda n: n.train(X, list("ababab")), "[train, y] not numbers: expected bools, ints or "
        "floats, got str. Pass numbers."),
    "floats as classes": (lambda n: n.train(X, Y * 1.0), "[train, y] targets do not fit the output: expected (n, 2), "
        "got (6,). Pass classes as integers, y.astype(int)."),
    "a table of classes": (lambda n: n.train(X, np.stack([Y, Y, Y], 1)), "[train, y] the classes do not fit "
        "the output (n, 2): expected (n,), got (6, 3). One class for each row of the output."),
    "a negative class": (lambda n: n.train(X, Y - 1), "[train, y] a class out of range: expected 0 to 1, got -1 to 0. "
        "Number classes from 0."),
    "no probability": (lambda n: n.train(X, np.full((6, 2), 3.0), loss="binary_cross_entropy"), "[train, y] a target "
        "out of range: expected 0 to 1, got 3 to 3. Scale them."),
    "fewer targets": (lambda n: n.train(X[:3], Y), "[train] x and y differ in samples: expected 3 targets, got 6. One "
        "target for each sample."),
    "infinite": (lambda n: n.train(X * np.inf, Y), "[train] an infinity in the data: x, sample 0: expected finite "
        "numbers. Remove or replace it; nothing was run."),
    "too large for f32": (lambda n: n.train(X.astype(float) * 1e300, Y), "[train, x] "
        f"{X[0, 0].item() * 1e300} does not fit f32: expected at most 3.4028234663852886e+38 in size, got "
        f"{X[0, 0].item() * 1e300}. Convert first, or use a type that holds it."),
    "optimizer's name": (lambda n: n.train(X, Y, optimizer="adma"), "[train, optimizer] no optimiser is called 'adma'. "
        "Did you mean 'adam' or 'adamw'?"),
    "no optimizer": (lambda n: n.train(X, Y, optimizer=3), "[train, optimizer] not usable: expected an optimiser, for "  # type: ignore[arg-type]
        "example Adam(), got 3. Correct it."),
    "schedule's name": (lambda n: n.train(X, Y, schedule="cos"), "[train, schedule] no schedule is called 'cos'. Did "
        "you mean 'cosine'?"),
    "no schedule": (lambda n: n.train(X, Y, schedule=0.5), "[train, schedule] not usable: expected a schedule, for "  # type: ignore[arg-type]
        "example Cosine(0.1, steps=100), got 0.5. Correct it."),
    "no rate": (lambda n: n.train(X, Y, learning_rate="0.1"), "[train, learning_rate] not usable: expected a number of "
        "at least 0, got '0.1'. Correct it."),
    "half an epoch": (lambda n: n.train(X, Y, epochs=1.5), "[train, epochs] not usable: expected an int of at least 1, "
        "got 1.5. Correct it."),
    "no budget": (lambda n: n.train(X, Y, budget_nbytes="1G"), "[train, budget_nbytes] not usable: expected an int of "
        "at least 1, got '1G'. Correct it."),
    "no folder": (lambda n: n.train(X, Y, checkpoint=3), "[train, checkpoint] not usable: expected the path of a "
        "folder, got 3. Correct it."),
    "no loss": (lambda n: n.train(X, Y, loss=3), "[train, loss] not usable: expected a name, or a function of output "
        "and target, got 3. Correct it."),
    "a class to evaluate": (lambda n: n.evaluate(X, Y + 5), "[evaluate, y] a class out of range: expected 0 to 1, got "
        "5 to 6. Number classes from 0."),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calls_change_nothing(name: str, net: loom.Network) -> None:
    call, text = CALLS[name]
    before = net.digest()
    assert text_of(lambda: call(net)) == text
    assert net.digest() == before


def test_files_of_weights(net: loom.Network, tmp_path: Path) -> None:
    path, other = tmp_path / "m.json", loom.Network.from_json(document(DENSE, seed=5), on="cpu")
    net.save(path)
    other.load_weights(path)
    assert other.digest() == net.digest()
    path.write_text(path.read_text()[:400])
    assert "malformed JSON at line" in text_of(lambda: other.load_weights(path))
    path = tmp_path / "m.safetensors"
    net.save(path)
    wide = loom.Network.from_json(document({"type": "dense", "output_size": 3}), on="cpu")
    assert text_of(lambda: wide.load_weights(path)) == (
        "[loom.Network.load_weights, m.safetensors] weight 'layers.0.weight' does not fit: expected shape (4, 3), got "
        "(4, 2). Check which network it is of."
    )
    for cut in (0, 7, 40, path.stat().st_size - 1):
        torn = tmp_path / f"{cut}.safetensors"
        torn.write_bytes(path.read_bytes()[:cut])
        text = text_of(lambda torn=torn: loom.Network.load(torn))
        assert text.startswith(f"[loom.Network.load, {cut}.safetensors] not a safetensors file (")


BATCH: list[dict[str, Any]] = [{"Input": [1, 2, 3, 4], "Target": [0, 1]}]
SEEDS: dict[str, tuple[Callable[[], object], str]] = {
    "texts": (lambda: dnvm.forward_simple(["a"]), "[forward_simple, the input] not numbers: expected bools, "  # type: ignore[list-item]
        "ints or floats, got str. Pass numbers."),
    "no batches": (lambda: dnvm.train_simple([]), "[train_simple, batches] no batches: expected at least 1, got none. "
        "Pass [{'Input': [...], 'Target': [...]}]."),
    "no batch": (lambda: dnvm.train_simple([[1, 2]]), "[train_simple, batches] not a mapping: expected keys and "  # type: ignore[list-item]
        "values, got list. Pass a dict."),
    "no config": (lambda: dnvm.train_simple(BATCH, [1]), "[train_simple, config] not a mapping: expected keys and "  # type: ignore[arg-type]
        "values, got list. Pass a dict."),
    "no epochs": (lambda: dnvm.train_simple(BATCH, {"Epochs": 0}), "[train, epochs] not usable: expected an int of at "
        "least 1, got 0. Correct it."),
    "another loss": (lambda: dnvm.train_simple(BATCH, {"LossType": "msee"}), "[train, loss] no loss is called 'msee'. "
        "Did you mean 'mse'?"),
    "a target too few": (lambda: dnvm.train_simple([BATCH[0] | {"Target": [0]}]), "[train_simple, Target] targets do "
        "not fit the output: expected (1, 2), got (1,). One number for each output of each sample."),
}  # fmt: skip


@pytest.mark.parametrize("name", SEEDS)
def test_the_seeds_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_DEVICE", "cpu")
    monkeypatch.setattr(current, "_latest", [])
    monkeypatch.setattr(current, "_own", threading.local())
    dnvm.create_network_from_json(document(DENSE))
    call, text = SEEDS[name]
    assert text_of(call) == text


def test_what_a_conversion_changes_is_shown(tmp_path: Path) -> None:
    layers = [{"type": "dense", "input_size": 4, "output_size": 3},
              {"type": "softmax", "softmax_variant": "masked"}]  # fmt: skip
    with pytest.warns(UserWarning, match="loom.Network: ") as seen:
        net = loom.Network.from_json({"layers": layers}, on="cpu")
    assert [str(w.message).removeprefix("loom.Network: ") for w in seen] == list(net.warnings)
    assert len(net.warnings) > 0
    assert seen[0].filename == __file__
    path = tmp_path / "net.json"
    path.write_text(json.dumps({"layers": layers}))
    (tmp_path / "d.csv").write_text("1,2,3,4,0\n4,5,6,7,1\n1,2,3,4,2\n")
    found = CliRunner().invoke(app, ["train", str(path), "--data", str(tmp_path / "d.csv"), "--epochs", "1"])
    assert found.exit_code == 0
    assert f"note: {net.warnings[0]}" in found.output
