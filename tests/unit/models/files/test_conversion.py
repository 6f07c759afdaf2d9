"""Any type to any type: what is written is read by the formats' own libraries, and has the errors that are told."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
import pytest
import safetensors

import loom
from loom.core.errors import ArgumentError, DTypeError, FileError, NotFinite
from loom.core.narrow import TYPES, store
from loom.models.files import convert_checkpoint, open_checkpoint
from loom.nn.files.tensorfile import read_tensors
from unit.models.files.test_folders import CONFIG, on_disk, sharded
from unit.models.files.written import facts
from unit.models.files.written import gguf as written

RNG = np.random.default_rng(19)
ARRAYS = {
    "w": RNG.standard_normal((5, 7)).astype(np.float32), "conv": RNG.standard_normal((3, 2, 2, 3)).astype(np.float32),
    "norm": RNG.standard_normal(7).astype(np.float32), "wide": RNG.standard_normal((2, 3)),
    "half": RNG.standard_normal((4, 4)).astype(np.float16), "ids": np.arange(6).reshape(2, 3),
    "mask": np.array([True, False]), "none": np.zeros((0, 4), np.float32),
}  # fmt: skip


def test_every_file_has_its_own_digest(tmp_path: Path) -> None:
    layers = [{"type": "dense", "output_size": 4}]
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [3]}, "layers": layers}, on="cpu")
    source, target = tmp_path / "net.safetensors", tmp_path / "small.safetensors"
    net.save(source)
    convert_checkpoint(source, target, dtype="bf16")  # with the metadata of the source, whose digest is another
    made = convert_checkpoint(source, dtype="bf16").data
    assert made == target.read_bytes()
    assert loom.Network.load(target, on="cpu").weights()["layers.0.weight"].shape == (3, 4)
    folder = on_disk(tmp_path / "a", sharded())
    files = convert_checkpoint(folder, tmp_path / "b", shard_nbytes=1 << 10).files
    shards = [path for path in files if path.suffix == ".safetensors"]
    for path in (target, *shards):
        data = path.read_bytes()
        assert read_tensors(data, "test")[0]
        with pytest.raises(FileError, match="damaged, or was changed"):
            read_tensors(data[:-1] + bytes([data[-1] ^ 1]), "test")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe with a name is POSIX's")
def test_a_pipe_gets_the_digest(tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe.safetensors", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    convert_checkpoint(ARRAYS, pipe)
    reader.join()
    assert found == [convert_checkpoint(ARRAYS).data]


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_is_written_and_read_again(dtype: str) -> None:
    made = convert_checkpoint(ARRAYS, dtype=dtype)
    assert made.data is not None
    theirs = dict(safetensors.deserialize(made.data))
    found = open_checkpoint(made.data)
    assert [*sorted(found.tensors)] == sorted(ARRAYS)
    errors = {e.name: e for e in made.errors}
    is_plain = dtype in ("f64", "f32", "f16", "bf16")
    for name, array in ARRAYS.items():
        got = found.tensors[name]
        assert got.shape == array.shape
        if array.dtype.kind != "f" or (array.ndim < 2 and not is_plain):
            assert got.raw() == array.tobytes() == bytes(theirs[name]["data"])
            assert name not in errors
            continue
        want = store(array, dtype, scales="none" if is_plain else "row").decode()
        assert (got.values() == want).all(), name
        away = np.abs(want - array.astype(np.float64))
        if name in errors:
            assert errors[name].max_abs == away.max(initial=0)
            assert errors[name].rms == pytest.approx(np.sqrt((away**2).mean()) if away.size else 0, rel=1e-12)
        else:
            assert not away.any()
    assert len(errors) + made.unchanged == len(ARRAYS)


@pytest.mark.parametrize("first", ["i8", "f4_e2m1", "u4", "bf16"])
def test_what_was_converted_converts_on(first: str) -> None:
    """Twice to one type is once, bit for bit; and from any type to f32 it is what that type holds."""
    once = convert_checkpoint(ARRAYS, dtype=first)
    again = convert_checkpoint(once.data, dtype=first)
    assert again.data == once.data
    assert convert_checkpoint(once.data).data == once.data
    wide = open_checkpoint(convert_checkpoint(once.data, dtype="f32").data)
    assert wide.tensors["w"].encoding == "F32"
    assert (wide.tensors["w"].read() == open_checkpoint(once.data).tensors["w"].read()).all()


def test_what_f32_lacks_is_told() -> None:
    made = convert_checkpoint({"w": np.array([[1e300, 1.0]])}, dtype="i8")
    found = open_checkpoint(made.data).tensors["w"]
    assert found.values()[0, 0] == pytest.approx(1e300)
    with pytest.raises(DTypeError, match=r"'w'\] a number that f32 does not have"):
        found.read()


def test_some_rows_at_a_time_are_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    big = {"w": RNG.standard_normal((50, 33)).astype(np.float32), "v": RNG.standard_normal(500).astype(np.float16)}
    for dtype in ("i4", "u2", "binary", "f8_e4m3", "bf16"):
        at_once = convert_checkpoint(big, dtype=dtype)
        monkeypatch.setattr("loom.models.files.storing._AT_A_TIME", 64)
        in_parts = convert_checkpoint(big, dtype=dtype)
        monkeypatch.undo()
        assert in_parts.data == at_once.data
        for one, other in zip(at_once.errors, in_parts.errors, strict=True):
            assert (one.name, one.max_abs, one.max_relative, one.clipped, one.nbytes, one.scale) == (
                other.name, other.max_abs, other.max_relative, other.clipped, other.nbytes, other.scale)  # fmt: skip
            assert one.rms == pytest.approx(other.rms, rel=1e-12)
            assert one.bits_lost == pytest.approx(other.bits_lost, rel=1e-9)


def test_a_network_is_written_with_its_document(tmp_path: Path) -> None:
    net = loom.Network.from_json({"layers": [{"type": "dense", "input_size": 4, "output_size": 3}]}, on="cpu")
    convert_checkpoint(net, tmp_path / "net.safetensors", dtype="i8")
    holder = SimpleNamespace(network=net)  # as a model of text has one
    assert convert_checkpoint(holder, dtype="i8").data == (tmp_path / "net.safetensors").read_bytes()
    again = loom.Network.load(tmp_path / "net.safetensors", on="cpu")
    for name, weight in net.weights().items():
        want = store(weight, "i8", scales="row").decode().astype(np.float32) if weight.ndim > 1 else weight
        assert (again.weights()[name] == want).all()


@pytest.mark.parametrize("shard_nbytes", [None, 1024])
def test_a_folder_comes_out_as_one(shard_nbytes: int | None, tmp_path: Path) -> None:
    big = {f"layer.{i}.weight": RNG.standard_normal((8, 24)).astype(np.float32) for i in range(5)}
    files = {"config.json": json.dumps({**CONFIG, "torch_dtype": "float32"}).encode(), "tokenizer.json": b"{}",
             "1_Pooling/config.json": b"{}", "pytorch_model.bin": b"\x80", "model.safetensors":
             convert_checkpoint(big).data, ".hidden": b"x", "spiece.model": b"\xff\x00"}  # fmt: skip
    source = on_disk(tmp_path / "in", files)
    made = convert_checkpoint(source, tmp_path / "out", dtype="bf16", shard_nbytes=shard_nbytes)
    found = open_checkpoint(tmp_path / "out")
    assert found.config == {**CONFIG, "torch_dtype": "bfloat16"}
    assert found.text("1_Pooling/config.json") == "{}"
    assert (tmp_path / "out/spiece.model").read_bytes() == b"\xff\x00"
    names = {str(p.relative_to(tmp_path / "out")) for p in made.files}
    assert names == {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    shards = {n for n in names if n.startswith("model-")}
    assert len(shards) == (0 if shard_nbytes is None else 3)  # 384 bytes each
    for name in shards:
        assert (tmp_path / "out" / name).stat().st_size < 1024 + 1024  # header
    for name, array in big.items():
        assert (found.tensors[name].values() == store(array, "bf16").decode()).all()
    narrow = convert_checkpoint(tmp_path / "out", tmp_path / "narrow", dtype="i4", shard_nbytes=1024)
    assert {t.encoding for t in open_checkpoint(tmp_path / "narrow").tensors.values()} == {"I4"}
    assert len(narrow.errors) == 5
    with pytest.raises(FileError, match="something is there already"):
        convert_checkpoint(source, tmp_path / "out")


GGUF = written(
    {"general.architecture": ("text", "llama"), "general.file_type": ("u32", 3), "words": ("list of text", ["a", "bé"]),
     "general.alignment": ("u32", 64), "eps": ("f32", 1e-5), "many": ("list of i32", [1, -2])},
    [facts("m", [64, 3], 0, 0), facts("n", [64], 0, 768), facts("odd", [3, 2], 0, 1024)],
    RNG.standard_normal(256).astype("<f4").tobytes() + RNG.standard_normal(6).astype("<f4").tobytes(), alignment=64,
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_gguf_is_written_as_gguf_reads_it(dtype: str, tmp_path: Path) -> None:
    source = open_checkpoint(GGUF)
    made = convert_checkpoint(GGUF, tmp_path / "out.gguf", dtype=dtype, keep=["n"])
    theirs = gguf.GGUFReader(tmp_path / "out.gguf")
    found = open_checkpoint(tmp_path / "out.gguf")
    kind = gguf.GGMLQuantizationType[dtype]
    for tensor in theirs.tensors:
        given = source.tensors[tensor.name].read()
        is_odd = tensor.name == "odd" and dtype.startswith("Q")
        wanted = gguf.GGMLQuantizationType.F32 if tensor.name == "n" or is_odd else kind
        assert tensor.tensor_type == wanted
        assert bytes(tensor.data.tobytes()) == gguf.quants.quantize(given, wanted).tobytes()
        assert found.tensors[tensor.name].raw() == tensor.data.tobytes()
    rounded = {"F32": set(), "F16": {"m", "odd"}, "BF16": {"m", "odd"}}.get(dtype, {"m"})
    assert {e.name for e in made.errors} == rounded
    kept = {k: v for k, v in source.metadata.items() if k != "general.alignment"}
    number = {"F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9}[dtype]
    assert dict(found.metadata) == {**kept, "general.file_type": number}


def test_a_gguf_in_safetensors_is_still_one() -> None:
    made = convert_checkpoint(GGUF, dtype="i8")
    source, found = open_checkpoint(GGUF), open_checkpoint(made.data)
    assert found.kind == "gguf"
    assert found.metadata.items() >= dict(source.metadata).items()
    assert {n: t.shape for n, t in found.tensors.items()} == {n: t.shape for n, t in source.tensors.items()}


def test_a_folder_in_one_file_keeps_its_config() -> None:
    found = open_checkpoint(convert_checkpoint(sharded()).data)
    assert (found.kind, found.config) == ("safetensors", CONFIG)
    assert [*found.tensors] == ["c", "a", "b"]


def test_what_cannot_be_converted_is_told(tmp_path: Path) -> None:
    for arguments, what, kind in (
        ({"dtype": "i7"}, "no type of storage", DTypeError),
        ({"keep": ["*norms*"]}, "no tensor is called", ArgumentError),
        ({"keep": "norm"}, "not names of tensors", ArgumentError), ({"scales": "rows"}, "is not known", ArgumentError),
        ({"shard_nbytes": 2048}, "one file has no shards", ArgumentError),
        ({"target": tmp_path / "x.bin"}, "not such a file", ArgumentError),
        ({"target": tmp_path / "folder"}, "has no config.json", ArgumentError),
        ({"target": tmp_path / "x.gguf"}, "only a GGUF file", ArgumentError),
    ):  # fmt: skip
        with pytest.raises(kind, match=what):
            convert_checkpoint(ARRAYS, **arguments)
    with pytest.raises(NotFinite, match=r"'w'\] an element is nan"):
        convert_checkpoint({"w": np.array([[1, np.nan]], np.float32)}, dtype="bf16")
    with pytest.raises(ArgumentError, match=r"two tensors would be called 'w_scale'"):
        convert_checkpoint({"w": ARRAYS["w"], "w_scale": ARRAYS["norm"]}, dtype="i8")
    with pytest.raises(ArgumentError, match="no encoding that Loom writes"):
        convert_checkpoint(GGUF, tmp_path / "x.gguf", dtype="Q4_K")
    assert not [*tmp_path.iterdir()]


def test_what_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    convert_checkpoint(ARRAYS, path)
    before = path.read_bytes()
    wrong = {**ARRAYS, "x": np.array([np.inf], np.float32)}
    with pytest.raises(NotFinite):
        convert_checkpoint(wrong, path, dtype="f16")
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_is_converted_in_its_place(tmp_path: Path) -> None:
    """What is read while it is written is the old file, which others may still have open."""
    path = tmp_path / "w.safetensors"
    convert_checkpoint(ARRAYS, path)
    held = open_checkpoint(path)
    convert_checkpoint(path, path, dtype="bf16")
    assert (held.tensors["w"].read() == ARRAYS["w"]).all()
    assert open_checkpoint(path).tensors["w"].encoding == "BF16"


@pytest.mark.parametrize("kept", [False, True], ids=["a new folder", "an empty one"])
@pytest.mark.parametrize("shard", [None, 1 << 10])
def test_a_folder_that_fails_leaves_nothing(tmp_path: Path, shard: int | None, kept: bool) -> None:
    """A second try finds the place free, as one after a full disk does."""
    w = np.ones((64, 64))
    bad = {"a": w, "b": w, "z": np.full((4, 4), np.nan)}
    source = {"model.safetensors": convert_checkpoint(bad).data, "config.json": b"{}", "sub/text.json": b"{}"}
    target = tmp_path / "out"
    if kept:
        target.mkdir()
    with pytest.raises(NotFinite):
        convert_checkpoint(source, target, dtype="f32", shard_nbytes=shard)
    assert sorted(tmp_path.rglob("*")) == ([target] if kept else [])
    convert_checkpoint(source, target, dtype="f32", keep=["z"], shard_nbytes=shard)
    assert open_checkpoint(target).tensors["z"].encoding == "F64"


@pytest.mark.parametrize("dtype", [None, "f16", "f64"])
def test_scales_that_nothing_gets_are_refused(dtype: str | None) -> None:
    with pytest.raises(ArgumentError, match="no tensor gets a scale"):
        convert_checkpoint(ARRAYS, dtype=dtype, scales="tensor")
