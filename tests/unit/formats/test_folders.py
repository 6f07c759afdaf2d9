"""Folders of the HuggingFace hub: whole ones are read, and nothing outside them ever is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from loom.core.errors import DTypeError, FileError
from loom.models.files import open_checkpoint
from unit.formats.written import safetensors as written

CONFIG = {"model_type": "llama", "hidden_size": 2}
ONE = written(
    b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}',
    np.ones(4, "<f4").tobytes(),
)
TWO = written(
    b'{"c":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},"b":{"dtype":"F16","shape":[3],"data_offsets":[16,22]}}  ',
    np.arange(2, dtype="<i8").tobytes() + bytes(6),
)
"""What the format's library writes; to ask it here would load it wherever tests are collected."""
MAP = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"}


def sharded(weight_map: object = MAP, **more: bytes | None) -> dict[str, bytes]:
    files: dict[str, bytes | None] = {
        "config.json": json.dumps(CONFIG).encode(), "model-1.safetensors": ONE, "model-2.safetensors": TWO,
        "model.safetensors.index.json": json.dumps({"metadata": {}, "weight_map": weight_map}).encode(),
        "tokenizer.json": b"{}", "1_Pooling/config.json": b'{"pooling": 1}',
    }  # fmt: skip
    files |= {n.replace("__", "."): d for n, d in more.items()}
    return {n: d for n, d in files.items() if d is not None}


def on_disk(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_the_files_are_those_that_the_library_writes() -> None:
    assert safetensors.numpy.save({"a": np.ones((2, 2), np.float32)}, metadata={"format": "pt"}) == ONE
    assert safetensors.numpy.save({"b": np.zeros(3, np.float16), "c": np.arange(2, dtype=np.int64)}) == TWO


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "disk"])
def test_a_folder_of_shards_is_one_checkpoint(in_memory: bool, tmp_path: Path) -> None:
    found = open_checkpoint(sharded() if in_memory else on_disk(tmp_path, sharded()))
    assert found.kind == "huggingface"
    assert found.config == CONFIG
    assert [*found.tensors] == ["a", "c", "b"]  # the files' order: that library puts wide elements first
    assert found.tensors["a"].read().tolist() == [[1, 1], [1, 1]]
    assert found.metadata == {"format": "pt"}
    assert found.text("tokenizer.json") == "{}"
    assert found.text("1_Pooling/config.json") == '{"pooling": 1}'
    assert found.text("vocab.txt") is None
    assert open_checkpoint(found) is found


def test_a_folder_of_one_file(tmp_path: Path) -> None:
    found = open_checkpoint(str(on_disk(tmp_path, {"model.safetensors": ONE})))
    assert found.config is None
    assert [*found.tensors] == ["a"]


BAD = {
    "a shard is missing": (sharded(**{"model-2.safetensors": None}), "'model-2.safetensors' is missing"),
    "a shard lacks a tensor": (sharded({**MAP, "b": "model-1.safetensors"}), "tensor 'b' is missing"),
    "a tensor in two shards": (sharded(**{"model-2.safetensors": ONE}, weight_map={"a": "model-1.safetensors",
                               "x": "model-2.safetensors"}), "missing|two files"),
    "a shard above": (sharded({"a": "../model-1.safetensors"}), "none of the folder's weights"),
    "a shard of the root": (sharded({"a": "/etc/x.safetensors"}), "none of the folder's weights"),
    "a shard by backslashes": (sharded({"a": "..\\x.safetensors"}), "outside the folder"),
    "a shard of another kind": (sharded({"a": "/etc/passwd"}), "none of the folder's weights"),
    "a shard that is a number": (sharded({"a": 3}), "no 'weight_map'"),
    "no map": (sharded(None), "no 'weight_map'"),
    "an index that is no JSON": (sharded(model__safetensors__index__json=b"{"), "is no JSON"),
    "an index that is a list": (sharded(model__safetensors__index__json=b"[]"), "is no JSON object"),
    "a config that is a list": (sharded(config__json=b"[]"), "is no JSON object"),
    "a config of brackets": (sharded(config__json=b"[" * 100_000), "is no JSON"),
    "a config that is no text": (sharded(config__json=b"\xff"), "not UTF-8"),
    "pickles": ({"config.json": b"{}", "pytorch_model.bin": b"PK\x03\x04"}, "is a pickle"),
    "other names": ({"adapter.safetensors": ONE}, "Pass the file itself"),
    "no weights": ({"config.json": b"{}"}, "has no weights"),
    "nothing": ({}, "has no weights"),
    "a cut file": ({"model.safetensors": ONE[:-1]}, "not in the file"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "disk"])
def test_what_does_not_belong_together_is_named(fault: str, in_memory: bool, tmp_path: Path) -> None:
    files, what = BAD[fault]
    with pytest.raises(FileError, match=what):
        open_checkpoint(files if in_memory else on_disk(tmp_path, files))


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    both = safetensors.numpy.save({"a": np.ones((2, 2), np.float32), "b": np.zeros(1, np.float32)})
    with pytest.raises(FileError, match=r"'a' is in two files.*model-1.safetensors and model-2.safetensors"):
        open_checkpoint(
            sharded({"a": "model-1.safetensors", "b": "model-2.safetensors"}, **{"model-2.safetensors": both})
        )


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "..", "", "C:\\x", "a\\..\\b", "a\0b"])
def test_texts_outside_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    found = open_checkpoint(on_disk(tmp_path / "model", {"model.safetensors": ONE}))
    with pytest.raises(FileError, match="outside the folder"):
        found.text(name)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "w.safetensors").write_bytes(ONE)
    folder = on_disk(tmp_path / "model", {"config.json": b"{}"})
    (folder / "model.safetensors").symlink_to(tmp_path / "w.safetensors")
    with pytest.raises(FileError, match="a link that leaves the folder"):
        open_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    on_disk(folder, {"model.safetensors": ONE})
    (folder / "tokenizer.json").symlink_to("../secret.json")
    (folder / "inside").symlink_to("..")
    found = open_checkpoint(folder)
    for name in ("tokenizer.json", "inside/secret.json"):
        with pytest.raises(FileError, match="a link that leaves the folder"):
            found.text(name)


def test_the_cache_of_the_hub_is_read(tmp_path: Path) -> None:
    """``snapshots/REVISION/NAME`` -> ``../../blobs/HASH``, as huggingface_hub lays it out; and no other way out."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0f1e"
    on_disk(blobs, {"aa": ONE, "bb": b'{"model_type": "bert"}'})
    on_disk(tmp_path, {"refs/main": b"0f1e"})
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/aa")
    (snapshot / "config.json").symlink_to("../../blobs/bb")
    (snapshot / "vocab.txt").symlink_to("../../refs/main")
    found = open_checkpoint(snapshot)
    assert found.config == {"model_type": "bert"}
    assert found.tensors["a"].read().sum() == 4
    with pytest.raises(FileError, match="a link that leaves the folder"):
        found.text("vocab.txt")


def test_what_is_no_plain_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(FileError, match="not a plain file"):
            open_checkpoint(path)
    with pytest.raises(FileError, match="not a plain file"):
        open_checkpoint("/dev/zero")
    (tmp_path / "weights").symlink_to(tmp_path / "weights")
    with pytest.raises(FileError):
        open_checkpoint(tmp_path / "weights")


def test_what_is_no_source_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no such file or folder.*hf download"):
        open_checkpoint("HuggingFaceTB/SmolLM2-135M")
    for source in (3, None, "", "a\0b", {"model.safetensors": 3}):
        with pytest.raises(DTypeError):
            open_checkpoint(source)  # type: ignore[arg-type]
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(b"\x80\x02")
    with pytest.raises(FileError, match=r"'pytorch_model.bin' is a pickle.*save_pretrained"):
        open_checkpoint(path)
    path = tmp_path / "empty.gguf"
    path.write_bytes(b"")
    with pytest.raises(FileError, match="neither safetensors nor GGUF"):
        open_checkpoint(path)


def test_memory_of_any_kind_is_a_source() -> None:
    for source in (bytearray(ONE), memoryview(ONE), np.frombuffer(ONE, np.uint8).data):
        assert open_checkpoint(source).tensors["a"].read().sum() == 4
    with pytest.raises(DTypeError, match="gaps"):
        open_checkpoint(memoryview(ONE)[::2])
