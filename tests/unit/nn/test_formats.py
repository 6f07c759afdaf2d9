"""Models from one format to another: the same bits forward, and what is changed, lost or refused by name.

Oracles: the older generations' own descriptions (sections 1, 12, 13 and 15 of design/dnvm.md), numbers that programs of
the second generation (0.80) wrote or computed, and networks that must compute the same bits in any form.
"""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, LoomError, SpecError
from loom.nn.formats import convert_model
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.older.numbers import STORED_TYPES, from_stored, to_stored
from loom.nn.spec.older.packed import KINDS, decode, encode

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
PLACE = Place(Reading())


def network(*layers: Any, shape: tuple[int, ...], **more: Any) -> loom.Network:
    document = {"format": "loom/1", "seed": 3, "input": {"shape": list(shape)}, "layers": list(layers)} | more
    return loom.Network.from_json(document, on="cpu")


def samples(net: loom.Network) -> np.ndarray[Any, Any]:
    shape = net.spec.inputs[0].shape
    if any(part.layer.kind == "embedding" for part in net.spec.walk()):
        return np.arange(2 * int(np.prod(shape)), dtype=np.float32).reshape(2, *shape) % 5
    return np.random.default_rng(1).standard_normal((2, *shape)).astype(np.float32)


def bits(net: loom.Network) -> bytes:
    return np.asarray(net.forward(samples(net))).tobytes()


def shaken(net: loom.Network) -> loom.Network:
    """Return the network with weights of its own everywhere, biases and gains too."""
    draw = np.random.default_rng(5)
    net.load_weights({n: (draw.standard_normal(a.shape) / 3).astype(a.dtype) for n, a in net.weights().items()})
    return net


SEEDS = [3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in [1, *range(4, 16)])]

# random networks of what a generation has


def _random_layers(draw: random.Random, second: bool) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """Return layers on rows of features, of types and functions that a generation has."""
    rows, width = draw.randint(2, 4), draw.choice([4, 8])
    shape, names = (rows, width), ["linear", "relu", "swish", "gelu_tanh", "leaky_relu_001"]
    names = names if second else ["scaled_relu", "softplus", "leaky_relu"]
    layers: list[dict[str, Any]] = []
    for _ in range(draw.randint(1, 3)):
        kind = draw.choice(["rnn", "lstm", "conv1d", "multi_head_attention", "layer_norm"])
        if kind in ("rnn", "lstm"):
            layers.append({"type": kind, "hidden_size": width})
        elif kind == "conv1d":
            layers.append({"type": kind, "filters": rows, "kernel_size": 3, "padding": 1, "activation": "tanh",
                           "bias": not second})  # fmt: skip
        elif kind == "layer_norm" and not layers:
            layers.append({"type": kind})
        elif second or not any(each["type"] == "multi_head_attention" for each in layers):
            layers.append({"type": "multi_head_attention", "num_heads": 2, "causal": True, "rope_freq_base": 10000.0})
    layers = layers or [{"type": "rnn", "hidden_size": width}]
    layers.append({"type": "flatten"})
    for _ in range(draw.randint(1, 2)):
        function = draw.choice([*names, "sigmoid"])
        layers.append({"type": "dense", "output_size": draw.randint(2, 6), "activation": function, "bias": not second})
    dense = {"type": "dense", "output_size": 3, "activation": "tanh", "bias": not second}
    branches = [dense, {"type": "sequential", "layers": [dense | {"output_size": 5}, dense]}]
    mode = draw.choice(["add", "avg", "concat"])
    layers.append({"type": "parallel", "combine_mode": mode, "branches": branches})
    layers.append(draw.choice([
        {"type": "softmax"}, {"type": "softmax", "variant": "entmax", "alpha": 1.3},
        {"type": "kmeans", "num_clusters": 3, "temperature": 2.0}, {"type": "dense", "output_size": 2, **_act(second)},
    ]))  # fmt: skip
    return layers, shape


def _act(second: bool) -> dict[str, Any]:
    return {"activation": "linear", "bias": False} if second else {"activation": "sigmoid"}


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks_of_the_first_generation(seed: int) -> None:
    layers, shape = _random_layers(random.Random(seed), second=False)
    net = shaken(network(*layers, shape=shape))
    made = convert_model(net.save(), to="gen1")
    again = loom.Network.load(made.data.decode(), on="cpu")
    assert made.losses == ()
    assert bits(again) == bits(net)
    back = convert_model(made.data, to="loom/1")
    assert bits(loom.Network.load(back.data, on="cpu")) == bits(net)
    assert json.loads(convert_model(back.data, to="gen1").data) == json.loads(made.data)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks_of_the_second_generation(seed: int) -> None:
    layers, shape = _random_layers(random.Random(seed), second=True)
    net = shaken(network(*layers, shape=shape))
    made = convert_model(net.save(), to="gen2")
    again = loom.Network.load(made.data.decode(), on="cpu")
    assert made.notes == ("'seed' is left out: no such key there",)
    assert bits(again) == bits(net)
    assert bits(loom.Network.from_json(made.data, on="cpu")) == bits(net)
    back = convert_model(made.data, to="loom/1")
    assert json.loads(convert_model(back.data, to="gen2").data) == json.loads(made.data)


MOVED: dict[str, Any] = {  # between generations: what both have
    "sums": lambda: network(
        {"type": "residual", "layers": [{"type": "dense", "output_size": 4, "activation": "tanh", "bias": False}]},
        {"type": "residual", "layers": [{"type": "rms_norm", "epsilon": 1e-6}, {"type": "swiglu", "inner_size": 6}]},
        shape=(4,)),
    "images": lambda: network(
        {"type": "conv2d", "filters": 2, "kernel_size": 3, "padding": 1, "activation": "sigmoid", "bias": False},
        {"type": "flatten"}, {"type": "dense", "output_size": 3, "activation": "tanh", "bias": False}, shape=(1, 4, 5)),
    "words": lambda: network({"type": "embedding", "vocab_size": 5, "embedding_dim": 4},
                             {"type": "lstm", "hidden_size": 3}, shape=(3,)),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVED)
def test_documents_from_one_generation_to_the_other(name: str) -> None:
    """loom/1 -> gen1 -> gen2 -> loom/1, as documents: the same layers, and of the same weights the same bits."""
    net = shaken(MOVED[name]())
    first = convert_model({**json.loads(loom.nn.spec.to_json(net.spec))}, to="gen1")
    one = loom.Network.from_json(first.data, on="cpu")
    held = iter(net.weights().values())
    one.load_weights({n: np.zeros_like(a) if n.endswith(".bias") else next(held) for n, a in one.weights().items()})
    assert bits(one) == bits(net)
    two = convert_model(one.save(), to="gen2")
    assert two.losses == ()
    assert bits(loom.Network.load(two.data, on="cpu")) == bits(net)


# what stands in the files


def test_the_second_generations_file_is_as_its_programs_write_it() -> None:
    """Keys and the order of weights of its version 0.80: matrices as (out, in), without biases."""
    net = network({"type": "dense", "output_size": 2, "activation": "relu", "bias": False}, shape=(3,))
    net.load_weights({"layers.0.weight": np.array([[1, 4], [2, 5], [3, 6]], np.float32)})
    said = json.loads(convert_model(net.save(id="n"), to="gen2").data)
    data = base64.b64encode(np.array([1, 2, 3, 4, 5, 6], "<f4").tobytes()).decode()
    assert said == {
        "id": "n", "depth": 1, "rows": 1, "cols": 1, "layers_per_cell": 1, "layers": [
            {"type": "Dense", "activation": "relu", "dtype": "float32", "input_height": 3, "output_height": 2,
             "weights": data, "native": True, "scale": 1.0, "z": 0, "y": 0, "x": 0, "l": 0},
        ],
    }  # fmt: skip


WRITTEN = np.array([0.5, -0.25, 1.0, -1.0, 0.1, 0.0])
BY_ITS_PROGRAMS = {  # bytes and scale that version 0.80 wrote of these weights
    "float64": ("000000000000e03f000000000000d0bf000000000000f03f"
                "000000000000f0bf000000a09999b93f0000000000000000", 1.0),
    "float16": ("003800b4003c00bc662e0000", 1.0), "bfloat16": ("003f80be803f80bfcc3d0000", 1.0),
    "int8": ("40e07f810d00", 1 / 127), "int4": ("3e7910", 1 / 7), "fp4": ("395d00", 1 / 3), "int2": ("4700", 1.0),
    "uint8": ("40207f7f0d00", 1 / 127), "ternary": ("4700", 1.0), "binary": ("ac", 0.475),
    "fp8e4m3": ("67df6fef5400", 1 / 127), "fp8e5m2": ("53cf57d74a00", 1 / 127),
}  # fmt: skip


@pytest.mark.parametrize("kind", BY_ITS_PROGRAMS)
def test_element_types_of_the_second_generation(kind: str) -> None:
    text, scale = BY_ITS_PROGRAMS[kind]
    held = decode(kind, bytes.fromhex(text), 6, scale, PLACE)
    assert held is not None
    step = {"float64": 1e-7, "float16": 1e-4, "bfloat16": 1e-3, "int8": 0.004, "int4": 0.072, "fp4": 0.34, "int2": 0.51,
            "uint8": 0.004, "ternary": 0.51, "binary": 0.6, "fp8e4m3": 0.06, "fp8e5m2": 0.12}[kind]  # fmt: skip
    wanted = np.abs(WRITTEN) if kind == "uint8" else WRITTEN
    assert np.abs(held - wanted).max() <= step
    data, ours = encode(kind, WRITTEN)
    assert ours == pytest.approx(scale)
    if "fp" not in kind and kind not in ("bfloat16", "float64"):  # which its programs cut, and we round
        assert data.hex() == text


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored_is_the_nearest(kind: str) -> None:
    values = np.random.default_rng(2).standard_normal(37)
    values = np.abs(values) if kind[0] == "u" else values
    data, scale = encode(kind, values)
    held = decode(kind, data, 37, scale, PLACE)
    assert held is not None
    if "fp8" not in kind:  # whose largest code is no number that 127 is
        again, same = encode(kind, held)
        assert decode(kind, again, 37, same, PLACE) == pytest.approx(held, rel=1e-6)
    if "int" in kind and kind[-1] not in "2":
        assert np.abs(held - values).max() <= scale / 2 * (1 + 1e-6) + np.abs(values).max() * 2.0**-24


@pytest.mark.parametrize("kind", STORED_TYPES)
def test_what_the_first_generation_stores_is_the_nearest(kind: str) -> None:
    values = np.clip(np.random.default_rng(2).standard_normal(41) / 2, -1, 1)
    data, most, is_cut = to_stored(kind, values)
    held = from_stored(kind, data, 41, PLACE)
    assert held is not None
    assert not is_cut
    assert most == np.abs(held.astype(np.float64) - values).max()
    step = {"float64": 0, "float32": 2.0**-24, "float16": 2.0**-12, "bfloat16": 2.0**-8, "float8": 2.0**-4,
            "float4": 1 / 15, "int8": 1 / 254, "int64": 1 / 254, "uint8": 1 / 255}.get(kind, 2e-5)  # fmt: skip
    assert most <= step + 2.0**-24
    if kind[-2:] not in ("32", "64") or kind in ("float32", "int64"):  # which float32 does not count exactly
        assert to_stored(kind, held.astype(np.float64))[0] == data
    assert to_stored(kind, np.array([1.5]))[2] == (kind not in ("float64", "float32", "float16", "bfloat16", "float8"))


def test_packed_bundles_of_the_first_generation() -> None:
    net = shaken(network({"type": "dense", "output_size": 3, "activation": "tanh"}, shape=(4,)))
    made = convert_model(net.save(), to="gen1", dtype="int16")
    weights = json.loads(made.data)["models"][0]["weights"]
    assert weights["fmt"] == "multiPrecisionB64"
    inner = json.loads(base64.b64decode(weights["data"]))
    assert (inner["dtype"], inner["scale"]) == ("int16", 32767.0)
    assert len(base64.b64decode(inner["layers"][0]["kernel"])) == 24
    again = loom.Network.load(made.data, on="cpu")
    for name, array in again.weights().items():
        assert np.abs(array - net.weights()[name.replace("layer0", "layers.0")]).max() <= 0.5 / 32767 + 2**-24
    assert [note.split(":")[0] for note in made.notes] == ["layers.0.weight", "layers.0.bias"]


def test_types_of_loom(tmp_path: Path) -> None:
    net = shaken(network({"type": "dense", "output_size": 3}, shape=(4,)))
    for dtype in ("f16", "bf16", "f64"):
        made = convert_model(net.save(), str(tmp_path / "a.json"), dtype=dtype)
        again = loom.Network.load(tmp_path / "a.json", on="cpu")
        assert str(again.spec.dtype) == dtype
        for name, array in again.weights().items():
            assert np.allclose(np.asarray(array, np.float64), net.weights()[name], atol=0.01)
        assert bool(made.notes) == (dtype != "f64")
    pytest.importorskip("safetensors")
    convert_model(net.save(), tmp_path / "a.safetensors")
    convert_model(tmp_path / "a.safetensors", tmp_path / "b.json", to="gen1", lossy=True)
    assert bits(loom.Network.load(convert_model(tmp_path / "a.safetensors").data, on="cpu")) == bits(net)


# what cannot be said

SIGMOID = {"type": "dense", "output_size": 2, "activation": "sigmoid"}
CANNOT: dict[str, tuple[Any, str, str]] = {  # network, format, what is lost
    "a function": (lambda: network(SIGMOID | {"activation": "mish"}, shape=(3,)), "gen1",
                   "makes relu of every activation"),
    "a function of the first": (lambda: network(SIGMOID | {"activation": "softplus", "bias": False}, shape=(3,)),
                                "gen2", "makes linear of every activation"),
    "biases": (lambda: shaken(network(SIGMOID, shape=(3,))), "gen2", "dense and convolutional layers have no bias"),
    "dropout": (lambda: network({"type": "dropout", "rate": 0.5}, SIGMOID, shape=(3,)), "gen1", "it has no dropout"),
    "a type": (lambda: network(SIGMOID, shape=(3,), dtype="f64"), "gen1", "hold weights of f32"),
    "an epsilon": (lambda: network({"type": "rms_norm"}, shape=(3,)), "gen2", "its epsilon is 1e-06"),
}  # fmt: skip


@pytest.mark.parametrize("name", CANNOT)
def test_what_is_lost_is_refused_by_name_unless_it_may_be(name: str, tmp_path: Path) -> None:
    make, to, wanted = CANNOT[name]
    text = make().save()
    with pytest.raises(ArgumentError, match="loom convert --lossy") as caught:
        convert_model(text, tmp_path / "m.json", to=to)
    assert wanted in str(caught.value)
    assert not (tmp_path / "m.json").exists()
    made = convert_model(text, to=to, lossy=True)
    assert any(wanted in loss for loss in made.losses)
    loom.Network.load(made.data, on="cpu")


NEVER: dict[str, tuple[Any, str, dict[str, Any], str]] = {
    "gru": (lambda: network({"type": "gru", "hidden_size": 2}, shape=(3, 2)), "gen2", {}, "has no such layer: got gru"),
    "a mask": (lambda: network({"type": "softmax", "variant": "masked", "mask": [True, False]}, shape=(2,)), "gen2", {},
               "keeps nothing of this softmax but its name: got masked"),
    "int4": (lambda: network(SIGMOID, shape=(3,)), "gen1", {"dtype": "int4"}, "stores no such type"),
    "an odd type": (lambda: network(SIGMOID, shape=(3,)), "gen2", {"dtype": "int9"}, "stores no such type"),
    "int8": (lambda: network(SIGMOID, shape=(3,)), "loom/1", {"dtype": "int8"}, "compute in no such type"),
    "a format": (lambda: network(SIGMOID, shape=(3,)), "gen3", {}, "no format is called 'gen3'"),
    "no type": (lambda: network(SIGMOID, shape=(3,)), "gen2", {"dtype": ""}, "stores no such type"),
    "no flag": (lambda: network(SIGMOID, shape=(3,)), "gen2", {"lossy": "x"}, "[loom.nn.formats, lossy]"),
    "a file": (lambda: network(SIGMOID, shape=(3,)), "safetensors", {}, "no format of such a file"),
}  # fmt: skip


@pytest.mark.parametrize("name", NEVER)
def test_what_cannot_be_said_at_all(name: str) -> None:
    make, to, more, wanted = NEVER[name]
    with pytest.raises(LoomError) as caught:
        convert_model(make().save(), to=to, **{"lossy": True, **more})
    assert wanted in str(caught.value)


def test_weights_that_an_integer_cuts() -> None:
    net = network(SIGMOID, shape=(3,))
    net.load_weights({"layers.0.weight": np.full((3, 2), 1.5, np.float32), "layers.0.bias": np.zeros(2, np.float32)})
    with pytest.raises(ArgumentError, match="int8 cuts some of its numbers: expected sizes of at most 1, got"):
        convert_model(net.save(), to="gen1", dtype="int8")
    assert "lost: cut" in convert_model(net.save(), to="gen1", dtype="int8", lossy=True).losses[0]


def test_second_generation_files_that_are_damaged() -> None:
    net = network({"type": "dense", "output_size": 2, "bias": False}, shape=(3,))
    whole = json.loads(convert_model(net.save(), to="gen2").data)
    short = json.loads(json.dumps(whole))
    short["layers"][0]["weights"] = short["layers"][0]["weights"][:8]
    with pytest.raises(SpecError, match=r"layers\[0\].weights\] the number of bytes does not match: expected 24"):
        loom.Network.load(short)
    huge = json.loads(json.dumps(whole))
    huge["layers"][0]["weights"] = base64.b64encode(np.full(6, np.inf, "<f4").tobytes()).decode()
    with pytest.raises(SpecError, match="a number is not finite in float32"):
        loom.Network.load(huge)
    del whole["layers"][0]["weights"]
    with pytest.raises(SpecError, match="holds no weights, or not all of them"):
        loom.Network.load(whole)
    assert loom.Network.from_json(whole).spec.parameters() == {"layer0.weight": (3, 2)}


@pytest.mark.parametrize(("to", "same"), [("gen1", ("int8", "i8", np.int8)), ("gen2", ("fp8e4m3", "f8", "e4m3")),
                                          ("gen2", ("float16", "f16", np.dtype("f2")))])  # fmt: skip
def test_types_by_whoevers_name(to: str, same: tuple[Any, ...]) -> None:
    net = network(SIGMOID, shape=(3,))
    net.load_weights({n: np.clip(a, -1, 1) for n, a in net.weights().items()})
    made = [convert_model(net.save(), to=to, dtype=dtype, lossy=True) for dtype in same]
    assert len({each.data for each in made}) == 1
    assert made[0].data != convert_model(net.save(), to=to, lossy=True).data
    for wrong in (3, np.float32(1.0), [1]):
        with pytest.raises(LoomError, match="not a type of storage"):
            convert_model(net.save(), to=to, dtype=wrong)  # type: ignore[arg-type]


def test_names_of_tensors_lose_what_bundles_lose(tmp_path: Path) -> None:
    net = network({"type": "dense", "output_size": 2, "activation": "mish"}, shape=(3,))
    path = tmp_path / "names.safetensors"
    with pytest.raises(ArgumentError, match="it makes relu of every activation"):
        convert_model(net.save(), path, to="gen1")
    made = convert_model(net.save(), path, to="gen1", lossy=True)
    assert len(made.losses) == 1
    assert "mish" in made.losses[0]
    assert path.read_bytes() == made.data


def test_storage_that_is_left_out_is_told() -> None:
    made = network(SIGMOID, shape=(3,)).convert("i4", scales=0.5)
    for told in ({"dtype": "f64"}, {"to": "gen1"}, {"to": "gen2"}):
        notes = convert_model(made.save(), lossy=True, **told).notes
        assert "that 2 weights are stored in i4 is left out" in notes
    assert convert_model(made.save()).notes == ()
