"""Networks exported to WebAssembly, in node: outputs, losses, digests and files are Loom's own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.export import export_npm, export_wasm, freeze
from loom.export.c.source import CODES

DENSE = [{"type": "dense", "output_size": 16, "activation": "relu"}, {"type": "dense", "output_size": 3}]
BLOCK = [
    {"type": "multi_head_attention", "num_heads": 2}, {"type": "layer_norm"},
    {"type": "swiglu", "inner_size": 12}, {"type": "flatten"}, {"type": "dense", "output_size": 3},
]  # fmt: skip
NETS: dict[str, tuple[tuple[int, ...], list[dict[str, Any]]]] = {
    "dense": ((4,), DENSE),
    "lstm": ((6, 5), [
        {"type": "lstm", "hidden_size": 8}, {"type": "flatten"}, {"type": "dense", "output_size": 3}]),
    "transformer": ((6, 8), BLOCK),
    "mixture": ((8,), [
        {"type": "parallel", "combine_mode": "filter", "gate": {"type": "dense", "output_size": 3},
         "branches": [{"type": "dense", "output_size": n, "activation": "tanh"} for n in (6, 6, 4)]},
        {"type": "dense", "output_size": 3}]),
    "convolution": ((1, 8, 8), [
        {"type": "conv2d", "filters": 8, "kernel_size": 3, "activation": "relu", "padding": 1},
        {"type": "max_pool", "pool_size": 2}, {"type": "flatten"}, {"type": "dense", "output_size": 3}]),
    "noise": ((8,), [
        {"type": "dense", "output_size": 16, "activation": "gelu"}, {"type": "dropout", "rate": 0.25},
        {"type": "batch_norm"}, {"type": "dense", "output_size": 3}]),
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "optimizer": "adamw", "learning_rate": 0.01, "schedule": "cosine", "batch_size": 32, "seed": 5, "epochs": 3,
}  # fmt: skip
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node, which runs WebAssembly, is not installed")


def samples(shape: tuple[int, ...], n: int = 70) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.normal(size=(n, *shape)).astype(np.float32), random.integers(0, 3, n).astype(np.int32)


def network(kind: str) -> loom.Network:
    shape, layers = NETS[kind]
    return loom.Network.from_json({"format": "loom/1", "input": {"shape": list(shape)}, "layers": layers}, on="cpu")


def run_node(script: str, folder: Path, x: Any, y: Any, **asked: Any) -> Any:
    (folder / "x").write_bytes(x.tobytes())
    (folder / "y").write_bytes(y.tobytes())
    (folder / "asked.json").write_text(json.dumps(asked))
    if not (folder / "package.json").exists():
        (folder / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(
        [str(NODE), str(Path(__file__).with_name(script)), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def require_alike(told: Any, net: loom.Network, x: Any, y: Any) -> None:
    assert told["first"] == net.digest()
    assert told["before"] == net.predict(x).tobytes().hex()
    history = net.train(x, y, progress=False, **SETTINGS)
    assert told["losses"] == list(history.loss)
    assert told["digest"] == net.digest()
    assert told["after"] == net.predict(x).tobytes().hex()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k for k in NETS if k != "dense"])
def test_it_computes_and_trains_to_the_bits_of_loom(kind: str, tmp_path: Path) -> None:
    net, (x, y) = network(kind), samples(NETS[kind][0])
    export_wasm(freeze(net, batch=(1, 32), train=SETTINGS, data=(x, y)), tmp_path)
    require_alike(run_node("training.mjs", tmp_path, x, y, epochs=3), net, x, y)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense network as a package, of which net.js and net.wasm are what ``--to wasm`` writes."""
    folder = tmp_path_factory.mktemp("npm")
    export_npm(freeze(network("dense"), name="Dense_3", batch=(1, 32), train=SETTINGS, data=samples((4,))), folder)
    return folder


def test_a_dense_network_does_all_that_there_is(package: Path) -> None:
    net, (x, y) = network("dense"), samples((4,))
    first, weights = net.digest(), net.digest
    told = run_node("training.mjs", package, x, y, epochs=3, more=True)
    require_alike(told, net, x, y)
    trained = weights()
    assert (told["imports"], told["cloned"], told["unchanged"]) == (0, trained, trained)
    assert (told["reset"], told["of_bytes"], told["of_path"]) == (first, first, first)
    assert told["score"] == pytest.approx(net.evaluate(x, y).loss, rel=1e-6)
    found = net.evaluate(x, y)
    assert told["evaluation"] == {"loss": told["score"], "accuracy": found.accuracy}
    assert told["nested"] == net.predict(x[:2]).tobytes().hex()
    assert told["of_name"] == net.predict(x[:1]).tobytes().hex()
    assert (told["written"], told["cut"], told["stopped"]) == ([0.5, 0.5], "WASM", 1)
    assert told["manifest"]["training"]["targets"] == [{"name": "layers.1", "dtype": "i32", "shape": [], "classes": 3}]
    assert (told["realm"], told["empty"]) == (told["here"], 0)
    assert told["open"] == "ARGUMENT: there is no option of open wams, but wasm"
    codes = {
        "short": "ARGUMENT", "fewer": "ARGUMENT", "batch": "BATCH", "fraction": "ARGUMENT", "wide": "ARGUMENT",
        "text": "ARGUMENT", "no_array": "ARGUMENT", "name": "ARGUMENT", "tensor": "NO_TENSOR", "size": "SIZE",
        "half": "SIZE", "foreign": "FOREIGN", "over": "SCHEDULE_OVER", "nan": "NOT_FINITE", "module": "ARGUMENT",
        "validation": "ARGUMENT", "epochs": "ARGUMENT", "option": "ARGUMENT",
    }  # fmt: skip
    assert {name: told[name][0] for name in codes} == codes
    assert told["batch"][1] == f"BATCH: {CODES['BATCH']}"
    assert told["short"][1] == "ARGUMENT: input has 279 numbers, and a sample 4 (4)"


def test_a_package_reads_like_tensorflow_js(package: Path) -> None:
    net, (x, y) = network("dense"), samples((4,))
    told = run_node("npm.mjs", package, x, y)
    require_alike(told, net, x, y)
    assert (told["backend"], told["loaded"], told["stopped"], told["epochs"]) == (
        ["wasm", []], net.digest(), 1, [0, 1, 2])  # fmt: skip
    each = [0, "loss,val_loss,val_acc", 1, "loss,val_loss,val_acc", 2, "loss,val_loss,val_acc"]
    assert told["calls"] == ["begin", *each, "end"]
    assert told["unchanged"]
    assert told["nested"] == np.ascontiguousarray(net.predict(x[:2])).tobytes().hex()
    found = net.evaluate(x, y)
    assert told["evaluation"] == {"loss": pytest.approx(found.loss, rel=1e-6), "acc": pytest.approx(found.accuracy)}
    assert told["classes"] == net.predict(x).argmax(-1).tolist()
    for name, text in {
        "twice": "it is training already: await the other fit first",
        "over": "the schedule of the learning rate is over: export more epochs",
        "batch_size": "batchSize is 16, and that of the export 32: export it with --batch-size 16",
        "shuffle": "shuffle is false, and that of the export true: leave it out",
        "option": "there is no option of fit epoch, but epochs, batchSize, shuffle, validationData, callbacks",
        "callback": "there is no callback onBatchEnd, but onTrainBegin, onTrainEnd, onEpochBegin, onEpochEnd",
        "no_epochs": "epochs is 0, not a whole number of them",
        "backend_name": "there is no backend cuda, but webgpu, wasm",
        "open_option": "there is no option of open backends, but backend, wasm",
        "ragged": "input has rows of 3 and of 5 numbers",
        "columns": "input is 4 x 2, and a sample 4",
        "too_large": "input holds 1e+300, which f32 cannot hold",
        "no_callbacks": "callbacks are an object of onTrainBegin, onTrainEnd, onEpochBegin, onEpochEnd",
        "no_function": "callback onEpochEnd is no function",
        "no_targets": "validationData is not [x, y]",
        "object": "validationData is not [x, y]",
        "other_rows": "there are 70 samples and targets of 69",
        "module": "pass the one that was exported with this file",
        "blown": "the net is as before the call, step or epoch",
        "nan": "NaN or infinite; the net is as before the call, step or epoch",
        "class": "see the manifest; classes count from 0",
        "damaged": "its SHA-256 is another; the net is as it was",
        "no_gpu": "BACKEND: webgpu: there is no WebGPU here",
        "disposed": "the net was disposed of: open another one",
    }.items():  # fmt: skip
        assert told[name].endswith(text), name


def test_a_package_tests_itself(package: Path) -> None:
    done = subprocess.run([str(NODE), "--test"], cwd=package, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "# pass 4" in done.stdout
    about = json.loads((package / "package.json").read_text())
    assert (about["name"], about["type"]) == ("dense-3", "module")
    named = [p for e in about["exports"].values() for p in (e.values() if isinstance(e, dict) else [e])]
    assert all((package / path).is_file() for path in named)


def test_another_platform_is_told_by_the_packages_own_test(package: Path, tmp_path: Path) -> None:
    """The package's test fails where a bit differs: here in a weight of the module."""
    shutil.copytree(package, tmp_path, dirs_exist_ok=True)
    module = (tmp_path / "net.wasm").read_bytes()
    weight = network("dense").weights()["layers.0.weight"].tobytes()
    assert module.count(weight) == 1
    changed = bytes([weight[0] ^ 1]) + weight[1:]
    (tmp_path / "net.wasm").write_bytes(module.replace(weight, changed))
    done = subprocess.run([str(NODE), "--test"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "# fail 3" in done.stdout


@pytest.mark.slow
def test_patience_and_accumulated_batches_are_those_of_loom(tmp_path: Path) -> None:
    (x, y), (hx, hy) = samples((4,)), samples((4,), 25)
    settings = SETTINGS | {"epochs": 40, "learning_rate": 0.05, "patience": 2, "accumulate": 2, "batch_size": 16}
    net = network("dense")
    export_npm(freeze(net, name="net", train=settings, data=(x, y), validation=(hx[::-1], hy)), tmp_path)
    for name, array in (("hx", hx[::-1]), ("hy", hy)):
        (tmp_path / name).write_bytes(np.ascontiguousarray(array).tobytes())
    told = run_node("patience.mjs", tmp_path, x, y)
    history = net.train(x, y, validation=(hx[::-1], hy), progress=False, **settings)
    assert 2 < len(history.loss) < 40  # it was ended by patience
    assert told["plain"] == told["fitted"] == [list(history.loss), list(history.validation_loss), net.digest()]
    assert told["over"].startswith("OVER: ")
    assert (
        told["missing"]
        == "ARGUMENT: the patience of the export watches 25 samples that it holds out: pass validationData"
    )
    assert told["fewer"] == "ARGUMENT: validation has 24 samples, and that of the export 25"


def test_an_export_that_does_not_train_is_smaller(tmp_path: Path) -> None:
    made = export_wasm(freeze(network("dense")), tmp_path)
    assert [path.name for path in made.files] == ["net.wasm", "net.js", "net.d.ts"]
    assert (tmp_path / "net.wasm").stat().st_size < 30_000
    assert "train(" not in (tmp_path / "net.d.ts").read_text()
