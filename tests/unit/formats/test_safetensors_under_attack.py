"""Headers of safetensors that lie: each is refused by name, as the library of that format refuses it."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from loom.core.errors import FileError
from loom.models.files import open_checkpoint
from unit.formats.written import safetensors as written
from unit.formats.written import tensor

ONE = tensor("F32", [2], 0, 8)
BAD = {
    "nothing at all": (b"", "neither safetensors nor GGUF"),
    "too short for a length": (b"\x02\0\0\0\0\0\0", "neither"),
    "a length beyond the file": (written(b"{}", length=3), "longer than the file"),
    "a length of 0": (written(b"", length=0), "neither"),
    "a length of 2**63": (written(b"{}", length=1 << 63), "neither"),
    "a length of more than 100 MB": (written(b"{}", length=100_000_001), "no such header"),
    "no UTF-8": (written(b'{"\xff\xfe": 1}'), "not UTF-8"),
    "half a JSON": (written(b'{"a": '), "is no JSON"),
    "a list": (written(b"[1, 2]  "), "neither"),
    "brackets without end": (written(b'{"a":' + b"[" * 200_000), "is no JSON"),
    "numbers without end": (written(b'{"a":' + b"9" * 100_000 + b"}"), "is no JSON"),
    "a name twice": (written(b'{"a":%b,"a":%b}' % ((json.dumps(ONE).encode(),) * 2), bytes(8)), "'a' twice"),
    "a fact twice": (
        written(b'{"a":{"dtype":"F32","dtype":"I8","shape":[2],"data_offsets":[0,8]}}', bytes(8)), "twice"),
    "an end before the beginning": (written({"a": tensor("F32", [2], 8, 0)}, bytes(8)), "not in the file"),
    "an end beyond the file": (written({"a": tensor("F32", [2], 4, 12)}, bytes(8)), "not in the file"),
    "a negative beginning": (written({"a": tensor("F32", [2], -8, 0)}, bytes(8)), "unusable data_offsets"),
    "a beginning that is no whole number": (
        written({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0.0, 8]}}, bytes(8)), "unusable data_offsets"),
    "three places": (
        written({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}}, bytes(8)), "data_offsets"),
    "bytes that two tensors share": (written({"a": ONE, "b": tensor("F32", [2], 4, 12)}, bytes(12)), "share bytes"),
    "the same bytes twice": (written({"a": ONE, "b": ONE}, bytes(8)), "share bytes"),
    "a hole between two": (written({"a": ONE, "b": tensor("F32", [1], 12, 16)}, bytes(16)), "belong to none"),
    "a hole at the front": (written({"a": tensor("F32", [1], 4, 8)}, bytes(8)), "belong to none"),
    "bytes after the last": (written({"a": ONE}, bytes(9)), "after the last tensor"),
    "bytes, and no tensors": (written({}, bytes(1)), "after the last tensor"),
    "too few bytes for the shape": (written({"a": tensor("F32", [3], 0, 8)}, bytes(8)), "not those of its shape"),
    "too many bytes for the shape": (written({"a": tensor("F32", [1], 0, 8)}, bytes(8)), "not those of its shape"),
    "a shape that wraps around": (written({"a": tensor("F32", [1 << 32, 1 << 32], 0, 0)}), "unusable shape"),
    "no elements in a shape that no array has": (written({"a": tensor("F32", [0, 1 << 62], 0, 0)}), "unusable shape"),
    "a size of 2**64": (written({"a": tensor("F32", [1 << 64], 0, 0)}), "unusable shape"),
    "a negative size": (written({"a": tensor("F32", [-2], 0, 8)}, bytes(8)), "unusable shape"),
    "a size that is a truth": (
        written({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, bytes(4)), "shape"),
    "a shape of a text": (written({"a": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}}, bytes(8)), "shape"),
    "an unknown type": (written({"a": tensor("F31", [2], 0, 8)}, bytes(8)), "no element type is called so"),
    "a type that is a list": (
        written({"a": {"dtype": [], "shape": [2], "data_offsets": [0, 8]}}, bytes(8)), "no element"),
    "half a byte": (written({"a": tensor("F4", [3], 0, 2)}, bytes(2)), "whole bytes"),
    "no facts": (written({"a": {}}), "three facts"),
    "a tensor that is a list": (written({"a": []}), "three facts"),
    "metadata of numbers": (written({"__metadata__": {"a": 1}}), "not texts by name"),
    "metadata that is a text": (written({"__metadata__": "a"}), "not texts by name"),
    "a pickle in a zip": (b"PK\x03\x04" + bytes(40), "is a pickle"),
    "a pickle": (b"\x80\x02}q\x00." + bytes(40), "is a pickle"),
}  # fmt: skip

TAKEN = ("a name twice", "no elements in a shape that no array has")
"""What the library reads: of two tensors of a name the last."""


@pytest.mark.parametrize("attack", BAD)
def test_a_lie_is_refused_by_name(attack: str) -> None:
    data, what = BAD[attack]
    with pytest.raises(FileError, match=what):
        open_checkpoint(data)
    if attack not in TAKEN:
        with pytest.raises(Exception):  # noqa: B017, PT011 -- the library's own class
            safetensors.deserialize(data)


@pytest.mark.parametrize("length", [0, 1, 100_000_001, 1 << 63])
def test_a_file_called_so_is_told_what_its_header_lacks(length: int, tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(written(b"{}", length=length))
    with pytest.raises(FileError, match="no such header"):
        open_checkpoint(path)


def test_what_the_library_writes_is_read() -> None:
    rng = np.random.default_rng(1)
    arrays = {
        "wide": rng.standard_normal((3, 5)), "plain": rng.standard_normal((2, 3, 4)).astype(np.float32),
        "half": rng.standard_normal(7).astype(np.float16), "whole": rng.integers(-9, 9, (4, 4)), "one": np.float32(2.5),
        "none": np.zeros((0, 3), np.float32), "bytes": rng.integers(0, 255, 5, np.uint8),
        "truth": np.array([True, False]),
    }  # fmt: skip
    arrays = {n: np.asarray(a) for n, a in arrays.items()}
    found = open_checkpoint(safetensors.numpy.save(arrays, metadata={"format": "pt"}))
    assert found.kind == "safetensors"
    assert found.config is None
    assert found.text("tokenizer.json") is None
    assert dict(found.metadata) == {"format": "pt"}
    assert set(found.tensors) == set(arrays)
    for name, array in arrays.items():
        assert found.tensors[name].shape == array.shape
        assert found.tensors[name].raw() == array.tobytes()
        assert (found.tensors[name].values() == array).all()
        assert found.tensors[name].read().dtype == np.float32
        assert (found.tensors[name].read() == array.astype(np.float32)).all()


def test_narrow_floats_are_those_of_ml_dtypes() -> None:
    kinds = {"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
             "F8_E8M0": ml_dtypes.float8_e8m0fnu, "BF16": ml_dtypes.bfloat16}  # fmt: skip
    for name, kind in kinds.items():
        codes = np.arange(1 << 8 * np.dtype(kind).itemsize, dtype=f"u{np.dtype(kind).itemsize}")
        data = codes.tobytes()
        found = open_checkpoint(written({"a": tensor(name, [len(codes)], 0, len(data))}, data)).tensors["a"]
        want, got = codes.view(kind).astype(np.float32), found.read()
        assert found.encoding == name
        assert ((got == want) & (np.signbit(got) == np.signbit(want)) | (np.isnan(got) & np.isnan(want))).all(), name
