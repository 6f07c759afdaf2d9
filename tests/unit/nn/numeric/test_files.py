"""Weights in types of storage, saved and loaded: bundles, safetensors, and quantised files of others."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, NotFinite, SpecError
from loom.nn.numeric import TYPES, StoredArray, store

pytest.importorskip("safetensors")

LAYERS = [{"type": "dense", "output_size": 5, "activation": "tanh"}, {"type": "dense", "output_size": 3}]


def _network(dtype: str = "f32", seed: int = 1) -> loom.Network:
    document = {"format": "loom/1", "seed": seed, "dtype": dtype, "input": {"shape": [3]}, "layers": LAYERS}
    return loom.Network.from_json(document)


def _same(one: StoredArray, other: StoredArray) -> bool:
    parts = [(a, b) for a, b in ((one.scale, other.scale), (one.zero, other.zero))]
    return (one.dtype, one.shape, one.data) == (other.dtype, other.shape, other.data) and all(
        (a is None) == (b is None) and (a is None or b is None or (a.dtype, a.tobytes()) == (b.dtype, b.tobytes()))
        for a, b in parts
    )


@pytest.mark.parametrize("name", TYPES)
def test_what_is_saved_is_loaded(name: str, tmp_path: Path) -> None:
    made = _network().convert(name, scales="channel", keep=["layers.1.bias"])
    assert made.storage is not None
    for path in (tmp_path / "m.json", tmp_path / "m.safetensors"):
        made.save(path)
        again = loom.Network.load(path)
        assert again.digest() == made.digest()
        if name != "f32" or path.suffix != ".json":  # a bundle says no more than the network's own type
            assert again.storage is not None
            assert set(again.storage.arrays) == set(made.storage.arrays)
            assert all(_same(a, again.storage.arrays[n]) for n, a in made.storage.arrays.items())
            assert again.storage.nbytes == made.storage.nbytes
    other = _network(seed=5)
    other.load_weights(tmp_path / "m.safetensors")
    assert other.digest() == made.digest()


def test_files_are_small(tmp_path: Path) -> None:
    document = {"format": "loom/1", "input": {"shape": [256]}, "layers": [{"type": "dense", "output_size": 256}]}
    net = loom.Network.from_json(document)
    for name, bits in (("f32", 32), ("i8", 8), ("f4", 4), ("binary", 1)):
        net.convert(name, keep=["*.bias"]).save(tmp_path / "m.safetensors")
        assert (tmp_path / "m.safetensors").stat().st_size - 65536 * bits // 8 - 4 * 256 < 1000


@pytest.mark.parametrize("dtype", ["f64", "bf16", "f16"])
def test_networks_of_other_types_are_saved(dtype: str, tmp_path: Path) -> None:
    for name in ("i4", "u8", "f8"):
        made = _network(dtype).convert(name)
        made.save(tmp_path / "m.safetensors")
        for again in (
            loom.Network.load(made.save()),
            loom.Network.load(tmp_path / "m.safetensors"),
            copy.deepcopy(made),
        ):
            assert again.digest() == made.digest()
            assert again.storage is not None


def test_other_programs_read_the_file(tmp_path: Path) -> None:
    """PyTorch reads codes and scales; their product is the weight."""
    torch = pytest.importorskip("torch")
    load = pytest.importorskip("safetensors.torch").load_file
    for name, held in (("i8", torch.int8), ("f8_e4m3", torch.float8_e4m3fn), ("bf16", torch.bfloat16)):
        made = _network().convert(name, scales="row")
        made.save(tmp_path / "m.safetensors")
        found = load(tmp_path / "m.safetensors")
        weight = found["layers.0.weight"]
        assert weight.dtype == held
        scale = found.get("layers.0.weight_scale", torch.ones(()))
        assert np.array_equal((weight.double() * scale.double()).float().numpy(), made.weights()["layers.0.weight"])


def test_quantised_files_of_others(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    save = pytest.importorskip("safetensors.torch").save_file
    draw = torch.Generator().manual_seed(1)
    codes = torch.randint(-127, 128, (3, 5), generator=draw, dtype=torch.int8)
    narrow = torch.randn(5, 3, generator=draw).to(torch.float8_e4m3fn)
    tensors = {
        "layers.0.weight": codes, "layers.0.weight_scale": torch.tensor([[0.5], [0.25], [0.125]]),
        "layers.0.bias": torch.tensor([130, 128, 120, 128, 255], dtype=torch.uint8),
        "layers.0.bias_scale": torch.tensor([0.5]), "layers.0.bias_zero_point": torch.tensor([128], dtype=torch.uint8),
        "layers.1.weight": narrow, "layers.1.weight_scale": torch.tensor(2.0),
        "layers.1.bias": torch.tensor([1.0, -0.5, 0.25]).to(torch.float8_e5m2),
    }  # fmt: skip
    save(tensors, tmp_path / "theirs.safetensors")
    net = _network()
    net.load_weights(tmp_path / "theirs.safetensors")
    found = net.weights()
    assert np.array_equal(found["layers.0.weight"], codes.numpy() * np.array([[0.5], [0.25], [0.125]], np.float32))
    assert found["layers.0.bias"].tolist() == [1.0, 0.0, -4.0, 0.0, 63.5]
    assert np.array_equal(found["layers.1.weight"], narrow.float().numpy() * 2)
    assert found["layers.1.bias"].tolist() == [1.0, -0.5, 0.25]
    for wrong, error, text in (
        ({"layers.0.weight_scale": torch.ones(7)}, ArgumentError, "not one number, or one for each row"),
        ({"layers.0.weight_scale": torch.tensor(float("nan"))}, ArgumentError, "a scale is not finite"),
        ({"layers.1.bias": torch.full((3,), float("nan")).to(torch.float8_e4m3fn)}, NotFinite, "layers.1.bias"),
    ):
        save({**tensors, **wrong}, tmp_path / "wrong.safetensors")
        with pytest.raises(error) as caught:
            net.load_weights(tmp_path / "wrong.safetensors")
        assert text in str(caught.value)
    del tensors["layers.0.weight_scale"]
    save(tensors, tmp_path / "none.safetensors")
    with pytest.raises(DTypeError, match="weights of integers have no scale"):
        net.load_weights(tmp_path / "none.safetensors")


def _damaged(change: Any) -> str:
    document = json.loads(_network().convert("u4").save())
    change(document["models"][0]["weights"]["tensors"]["layers.0.weight"])
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.update(dtype="u5"), "u4"),
        (lambda t: t.update(shape=[5, 3]), "another shape"),
        (lambda t: t.update(data="AAAA"), "number of bytes"),
        (lambda t: t.pop("zero"), "codes of 0"),
        (lambda t: t.pop("scale"), "without a scale"),
        (lambda t: t.update(scales=1), "scales"),
        (lambda t: t.update(dtype="i4"), "zero"),
        (lambda t: t["scale"].update(data="AAAAAA=="), "an unusable scale"),
        (lambda t: t["scale"].update(data="AACAfw=="), "an unusable scale"),
        (lambda t: t["zero"].update(data="/w=="), "an unusable code of 0"),
        (lambda t: t.update(data=3), "base64"),
    ],
)
def test_damaged_bundles_are_told(change: Any, text: str) -> None:
    with pytest.raises(SpecError) as found:
        loom.Network.load(_damaged(change))
    assert text in str(found.value)


def test_damaged_safetensors_are_told(tmp_path: Path) -> None:
    from loom.nn.files.tensorfile import read_raw, write_raw

    _network().convert("i4").save(tmp_path / "m.safetensors")
    raw, told = read_raw((tmp_path / "m.safetensors").read_bytes(), "here")
    assert write_raw(raw, told)[8:].strip()
    for metadata, tensors in (
        ({**told, "loom.storage": "[]"}, raw),
        ({**told, "loom.storage": '{"layers.0.weight": {"dtype": "i5", "shape": [3, 5]}}'}, raw),
        ({**told, "loom.storage": '{"nothing": {"dtype": "i4", "shape": [3, 5]}}'}, raw),
        ({**told, "loom.storage": told["loom.storage"].replace("[3, 5]", "[3, 50]")}, raw),
        (told, {n: t for n, t in raw.items() if n != "layers.0.weight_scale"}),
    ):
        (tmp_path / "m.safetensors").write_bytes(write_raw(tensors, metadata))
        with pytest.raises(ArgumentError):
            loom.Network.load(tmp_path / "m.safetensors")


def test_what_is_written_is_what_the_library_writes() -> None:
    """Our writer and the library's give files of the same tensors."""
    from safetensors.numpy import load

    from loom.nn.files.storedfile import write_stored

    arrays = {"b": np.arange(3, dtype=np.float32), "a": np.ones((2, 2)), "c": np.zeros((), np.float16)}
    found = load(write_stored(arrays, {"b": store(arrays["b"], "i8", scales=1.0)}, {"x": "y"}))
    assert found["b"].tolist() == [0, 1, 2]
    assert found["b"].dtype == np.int8
    assert np.array_equal(found["a"], arrays["a"])
    assert found["c"].shape == ()
