"""Weights of other programs: PyTorch's modules by their own names and layouts, element types, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from deferred import Later, functions_of, value_of
from loom.core.errors import ArgumentError, DTypeError, FileError, LoomError, NotFinite, ShapeError

torch = pytest.importorskip("torch")
save = functions_of(pytest.importorskip("safetensors.torch")).save
nn = torch.nn


def network(*layers: dict[str, Any], shape: tuple[int, ...], **more: Any) -> loom.Network:
    document = {"format": "loom/1", "input": {"shape": list(shape)}, "layers": list(layers)} | more
    return loom.Network.from_json(document, on="cpu")


def first_of(module: Any) -> Any:
    return lambda x: module(x)[0]


@cache
def cases() -> dict[str, tuple[Any, Any, dict[str, Any], tuple[int, ...]]]:
    """Return name -> module, its forward on (batch, *shape), our layer, shape of a sample."""
    torch.manual_seed(5)
    lstm, gru = nn.LSTM(4, 3, batch_first=True), nn.GRU(4, 3, batch_first=True)
    rnn, heads = nn.RNN(4, 3, batch_first=True, bias=False), nn.MultiheadAttention(8, 2, batch_first=True)
    batch = nn.BatchNorm2d(2)
    with torch.no_grad():
        batch.running_mean.uniform_(-1, 1)
        batch.running_var.uniform_(0.5, 2)
        batch.weight.uniform_(0.5, 2)
        heads.in_proj_bias.uniform_(-1, 1)
        heads.out_proj.bias.uniform_(-1, 1)
    linear, layer_norm = nn.Linear(4, 3), nn.LayerNorm(4)
    conv1, conv2 = nn.Conv1d(2, 3, 2), nn.Conv2d(2, 3, (2, 3), stride=2, padding=1)
    return {
        "dense": (linear, linear, {"type": "dense", "output_size": 3}, (4,)),
        "dense, no bias": (
            plain := nn.Linear(4, 3, bias=False), plain, {"type": "dense", "output_size": 3, "bias": False}, (4,),
        ),
        "conv1d": (conv1, conv1, {"type": "conv1d", "filters": 3, "kernel_size": 2}, (2, 5)),
        "conv2d": (
            conv2, conv2, {"type": "conv2d", "filters": 3, "kernel_size": [2, 3], "stride": 2, "padding": 1}, (2, 5, 6),
        ),
        "lstm": (lstm, first_of(lstm), {"type": "lstm", "hidden_size": 3}, (5, 4)),
        "gru": (gru, first_of(gru), {"type": "gru", "hidden_size": 3}, (5, 4)),
        "rnn": (rnn, first_of(rnn), {"type": "rnn", "hidden_size": 3}, (5, 4)),
        "layer_norm": (layer_norm, layer_norm, {"type": "layer_norm"}, (4,)),
        "batch_norm": (batch, batch.eval(), {"type": "batch_norm"}, (2, 3, 4)),
        "attention": (
            heads, lambda x: heads(x, x, x)[0], {"type": "multi_head_attention", "num_heads": 2}, (5, 8),
        ),
    }  # fmt: skip


CASES = ("dense", "dense, no bias", "conv1d", "conv2d", "lstm", "gru", "rnn", "layer_norm", "batch_norm", "attention")


def test_all_modules_are_compared() -> None:
    assert tuple(cases()) == CASES


@pytest.mark.parametrize("name", CASES)
def test_a_module_of_pytorch(name: str) -> None:
    module, forward, layer, shape = cases()[name]
    net = network(layer, shape=shape)
    data = save({f"net.{n}": t.contiguous() for n, t in module.state_dict().items()})
    net.load_weights(data, names={"net": "layers.0"}, layout="torch")
    x = torch.randn(3, *shape)
    with torch.no_grad():
        wanted = forward(x).numpy()
    np.testing.assert_allclose(net.forward(x.numpy()), wanted, rtol=1e-5, atol=2e-6)


def test_a_whole_module(tmp_path: Path) -> None:
    torch.manual_seed(6)
    module = nn.Sequential(nn.Embedding(11, 6), nn.Flatten(), nn.Linear(24, 8), nn.Tanh(), nn.Linear(8, 3, bias=True))
    net = network(
        {"type": "embedding", "vocab_size": 11, "embedding_dim": 6}, {"type": "flatten"},
        {"type": "dense", "output_size": 8, "activation": "tanh"}, {"type": "dense", "output_size": 3}, shape=(4,),
    )  # fmt: skip
    path = tmp_path / "torch.safetensors"
    path.write_bytes(save(module.state_dict()))
    net.load_weights(path, names={"0": "layers.0", "2": "layers.2", "4": "layers.3"}, layout="torch")
    ids = torch.randint(0, 11, (5, 4))
    with torch.no_grad():
        wanted = module(ids).numpy()
    np.testing.assert_allclose(net.forward(ids.numpy().astype(np.float32)), wanted, rtol=1e-5, atol=1e-6)
    other = network(
        {"type": "embedding", "vocab_size": 11, "embedding_dim": 6}, {"type": "flatten"},
        {"type": "dense", "output_size": 8, "activation": "tanh"}, {"type": "dense", "output_size": 3}, shape=(4,),
    )  # fmt: skip
    of_layers = {"0": "layers.0", "2": "layers.2", "4": "layers.3"}
    other.load_weights(
        module.state_dict(), names=lambda n: f"{of_layers[n.partition('.')[0]]}.{n.partition('.')[2]}", layout="torch"
    )
    assert other.digest() == net.digest()


DENSE = {"type": "dense", "output_size": 2}
W = np.array([[1.0, -2.5], [0.125, 3.0], [7.0, -1.0], [0.5, 4.0]], np.float32)
B = np.array([0.25, -8.0], np.float32)


def saved(change: Callable[[Any], Any] = lambda w: w) -> bytes:
    """Return a file of the two, the weight changed."""
    return save({"layers.0.weight": change(torch.tensor(W)), "layers.0.bias": torch.tensor(B)})


def test_bf16_files_and_bytes() -> None:
    net = network(DENSE, shape=(4,))
    net.load_weights(save({"layers.0.weight": torch.tensor(W).bfloat16(), "layers.0.bias": torch.tensor(B).bfloat16()}))
    assert net.weights()["layers.0.weight"].tolist() == W.tolist()  # all of them are numbers of bf16
    assert net.weights()["layers.0.bias"].tolist() == B.tolist()
    net.load_weights({"layers.0.weight": torch.tensor(2 * W).bfloat16(), "layers.0.bias": torch.tensor(B).half()})
    assert net.weights()["layers.0.weight"].tolist() == (2 * W).tolist()


def test_our_own_files_as_bytes(tmp_path: Path) -> None:
    net = network(DENSE, shape=(4,))
    net.save(tmp_path / "a.safetensors")
    again = loom.Network.load((tmp_path / "a.safetensors").read_bytes(), on="cpu")
    assert again.digest() == net.digest()
    bundle = network(DENSE, shape=(4,), seed=9)
    bundle.load_weights(net.save().encode())
    assert bundle.weights()["layers.0.weight"].tobytes() == net.weights()["layers.0.weight"].tobytes()


def replaced(**arrays: Any) -> Any:
    return {"layers.0.weight": W, "layers.0.bias": B} | {f"layers.0.{n}": a for n, a in arrays.items()}


REFUSED: dict[str, tuple[Any, dict[str, Any], type[LoomError], str]] = {
    "nan": (replaced(bias=np.array([1, np.nan])), {}, NotFinite, "'layers.0.bias'] a weight is nan: expected finite "
            "numbers, got 1 others, the first at (1,). The training it comes from diverged"),
    "infinity": (Later(lambda: saved(lambda w: w / 0)), {}, NotFinite, "got 8 others, the first at (0"),
    "too large": (replaced(bias=np.array([1, 1e300])), {}, ArgumentError, "a weight is too large for f32: expected at "
                  'most 3.40282e+38 in size, got 1e+300. Use a network of a wider type: {"dtype": "f64"}'),
    "int8": (Later(lambda: saved(lambda w: w.to(torch.int8))), {}, DTypeError, "'layers.0.weight'] "
             "weights of integers have no scale: expected floating point, got int8. Multiply them by their scale"),
    "float8": (Later(lambda: saved(lambda w: w.to(torch.float8_e8m0fnu))), {}, DTypeError, "an element "
               "type that Loom does not read: expected F64, F32, F16, I64"),
    "a name": (Later(lambda: replaced(bia=torch.tensor(B))), {}, ArgumentError, "the network has no weight "
               "'layers.0.bia'. Did you mean"),
    "no such name": (replaced(), {"names": {"fc": "layers.0"}}, ArgumentError, "load_weights, names] nothing is called "
                     "'fc'."),
    "one name for two": (replaced(), {"names": {"layers.0.bias": "layers.0.weight"}}, ArgumentError, "two arrays "
                         "become 'layers.0.weight': expected a name of its own for each"),
    "a function": (replaced(), {"names": lambda n: 3}, DTypeError, "what it gives for 'layers.0.weight' is no name"),
    "names": (replaced(), {"names": 3}, DTypeError, "neither a mapping nor a function: expected their name to ours"),
    "layout": (replaced(), {"layout": "keras"}, ArgumentError, "no such layout: expected 'loom' or 'torch' or "
               "'older', got 'keras'."),
    "a layer of torch's": (replaced(), {"layout": "torch", "names": {"layers.0": "fc"}}, ArgumentError, "an array of "
                           "this dense layer is missing: expected layers.0.weight, got none. Map its module: names"),
    "not transposed": (replaced(), {"layout": "torch"}, ShapeError, "weight 'layers.0.weight' has another shape: "
                       "expected (4, 2), got (2, 4)"),
    "strange": (replaced(gate=B), {"layout": "torch"}, ArgumentError, "a dense layer has no 'gate'. Map it to"),
    "bytes": (b"\x08\0\0\0\0\0\0\0{}}}", {}, ArgumentError, "not a safetensors file ("),
    "neither": (3, {}, DTypeError, "not weights: expected a mapping of arrays, a file's name or its bytes, got int."),
    "no file": ("/nonexistent/x.safetensors", {}, FileError, "the file cannot be read (No such file or directory): "
                "expected a file, got /nonexistent/x.safetensors. Check the path."),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_writes_nothing(name: str) -> None:
    source, how, kind, text = REFUSED[name]
    net = network(DENSE, shape=(4,))
    before = net.digest()
    with pytest.raises(kind) as caught:
        net.load_weights(value_of(source), **how)
    assert text in str(caught.value)
    assert net.digest() == before


def test_wide_numbers_fit_a_wide_network() -> None:
    net = network(DENSE, shape=(4,), dtype="f64")
    net.load_weights(replaced(bias=np.array([1, 1e300])))
    assert net.weights()["layers.0.bias"][1] == 1e300


def test_weights_of_bf16_networks_are_written_back() -> None:
    net = network(DENSE, shape=(4,), dtype="bf16")
    net.load_weights(network(DENSE, shape=(4,), dtype="bf16", seed=4).weights())
    assert net.digest() == network(DENSE, shape=(4,), dtype="bf16", seed=4).digest()


def test_files_that_are_none(tmp_path: Path) -> None:
    net = network(DENSE, shape=(4,))
    calls = {
        "no such": lambda: loom.Network.load(Path("/nonexistent")),
        "a folder": lambda: loom.Network.load(tmp_path),
        "a folder's name": lambda: loom.Network.load(str(tmp_path)),
        "no name": lambda: loom.Network.load("\0"),
        "a document": lambda: loom.Network.from_json(tmp_path / "x.json"),
        "weights": lambda: net.load_weights(tmp_path),
        "save as a folder": lambda: net.save(tmp_path),
        "save as .": lambda: net.save("."),
        "save as nothing": lambda: net.save("\0"),
        "save beneath a file": lambda: net.save("/dev/null/x.json"),
        "save as .safetensors": lambda: net.save("/dev/null/x.safetensors"),
        "save all": lambda: loom.Network.save_all({"a": net}, tmp_path),
    }
    for call in calls.values():
        with pytest.raises(FileError, match=r"the file cannot be (read|written) \(.*\): expected a (file|name)"):
            call()


def test_a_header_that_lies() -> None:
    data = bytearray(saved())
    data[:8] = struct.pack("<Q", 1 << 40)
    with pytest.raises(ArgumentError, match="not a safetensors file"):
        loom.Network.load(bytes(data))
