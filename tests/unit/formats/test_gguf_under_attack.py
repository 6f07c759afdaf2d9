"""GGUF files that lie, and drawn damage of right ones: an error of the house, at once, in little memory."""

from __future__ import annotations

import struct
import time
import tracemalloc

import numpy as np
import pytest

from loom.core.errors import FileError, LoomError
from loom.models.files import open_checkpoint
from unit.formats.written import facts, gguf, safetensors, tensor, text, value

HUGE = 1 << 60
KEY = text("k")


def of(key: bytes) -> bytes:
    return gguf([key])


BAD = {
    "nothing but the mark": (b"GGUF", "beyond the end"),
    "half a version": (b"GGUF\3\0", "beyond the end"),
    "version 1": (gguf(version=1), "version 1 is not read"),
    "version 4": (gguf(version=4), "version 4 is not read"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "2**60 tensors": (gguf(counts=(HUGE, 0)), "more tensors than"),
    "2**64 - 1 tensors": (gguf(counts=((1 << 64) - 1, 0)), "more tensors than"),
    "2**60 keys": (gguf(counts=(0, HUGE)), "more keys than"),
    "one key too many": (gguf(counts=(0, 1)), "more keys than|beyond the end"),
    "a key of 2**60 bytes": (of(struct.pack("<Q", HUGE) + bytes(40)), "a key is too long"),
    "a key that is no UTF-8": (of(text(b"\xff") + value("u8", 1)), "a key is not UTF-8"),
    "a key twice": (gguf([KEY + value("u8", 1)] * 2), "is there twice"),
    "a value of no type": (of(KEY + struct.pack("<I", 13) + bytes(16)), "has no known type"),
    "a text of 2**60 bytes": (of(KEY + struct.pack("<IQ", 8, HUGE)), "beyond the end"),
    "a text of 2**64 - 1 bytes": (of(KEY + struct.pack("<IQ", 8, (1 << 64) - 1)), "beyond the end"),
    "2**60 numbers": (of(KEY + struct.pack("<IIQ", 9, 4, HUGE)), "more elements"),
    "2**60 texts": (of(KEY + struct.pack("<IIQ", 9, 8, HUGE)), "more elements"),
    "texts of which one is 2**60 bytes": (
        of(KEY + struct.pack("<IIQ", 9, 8, 2) + text("a") + struct.pack("<Q", HUGE)), "beyond the end"),
    "a list of lists": (of(KEY + struct.pack("<IIQ", 9, 9, 1) + bytes(40)), "list of lists"),
    "a list of no type": (of(KEY + struct.pack("<IIQ", 9, 77, 1) + bytes(40)), "has no known type"),
    "an alignment of 0": (gguf({"general.alignment": ("u32", 0)}), "power of two"),
    "an alignment of 33": (gguf({"general.alignment": ("u32", 33)}), "power of two"),
    "an alignment that is a text": (gguf({"general.alignment": ("text", "32")}), "power of two"),
    "an alignment of 64 bits": (gguf({"general.alignment": ("u64", 32)}), "power of two"),
    "a tensor twice": (gguf(tensors=[facts("a", [4], 0, 0), facts("a", [4], 0, 32)], body=bytes(64)), "there twice"),
    "a tensor of no name of UTF-8": (gguf(tensors=[facts(b"\xc3\x28", [4], 0, 0)], body=bytes(32)), "not UTF-8"),
    "2**31 axes": (gguf(tensors=[text("a") + struct.pack("<I", 1 << 31) + bytes(40)]), "too many axes"),
    "an unknown encoding": (gguf(tensors=[facts("a", [4], 99, 0)], body=bytes(32)), "its encoding is unknown"),
    "an encoding that was taken away": (gguf(tensors=[facts("a", [32], 4, 0)], body=bytes(32)), "encoding is unknown"),
    "a row of half a block": (gguf(tensors=[facts("a", [48, 2], 8, 0)], body=bytes(128)), "not whole blocks"),
    "a place beyond the file": (gguf(tensors=[facts("a", [4], 0, 64)], body=bytes(64)), "beyond the end"),
    "a place of 2**63": (gguf(tensors=[facts("a", [4], 0, 1 << 63)], body=bytes(64)), "beyond the end"),
    "a place between two": (gguf(tensors=[facts("a", [4], 0, 4)], body=bytes(64)), "not aligned"),
    "bytes that two tensors share": (
        gguf(tensors=[facts("a", [16], 0, 0), facts("b", [4], 0, 32)], body=bytes(64)), "share bytes"),
    "a shape that wraps around": (
        gguf(tensors=[facts("a", [1 << 32, 1 << 32], 0, 0)], body=bytes(64)), "unusable shape"),
    "a shape of 2**62 blocks": (gguf(tensors=[facts("a", [1 << 62], 8, 0)], body=bytes(64)), "unusable shape"),
    "a shape of 2**59": (gguf(tensors=[facts("a", [1 << 59], 8, 0)], body=bytes(64)), "beyond the end"),
    "no elements in a shape that no array has": (gguf(tensors=[facts("a", [0, 1 << 62], 0, 0)]), "unusable shape"),
    "not all of the last tensor": (gguf(tensors=[facts("a", [9], 0, 0)], body=bytes(32)), "beyond the end"),
}  # fmt: skip


@pytest.mark.parametrize("attack", BAD)
def test_a_lie_is_refused_by_name(attack: str) -> None:
    data, what = BAD[attack]
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(FileError, match=what):
        open_checkpoint(data)
    assert time.perf_counter() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_a_text_that_is_no_utf8_is_told_when_it_is_asked_for() -> None:
    found = open_checkpoint(gguf([text("good") + value("u8", 3), text("bad") + value("text", b"\xff")]))
    assert found.metadata["good"] == 3
    with pytest.raises(FileError, match=r"'bad'\] a text is not UTF-8"):
        found.metadata["bad"]


RIGHT = gguf(
    {"general.architecture": ("text", "llama"), "a": ("u32", 7), "b": ("list of text", ["x", "yy", ""]),
     "c": ("list of f32", [1.5, -2.0]), "d": ("bool", True), "e": ("i64", -5), "f": ("list of bool", [True, False])},
    [facts("w", [32, 2], 8, 0), facts("v", [3], 0, 96), facts("empty", [0, 4], 0, 128)],
    bytes(range(68)) + bytes(28) + np.array([1, 2, 3], "<f4").tobytes() + bytes(20),
)  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
def test_a_right_file_is_read(version: int) -> None:
    found = open_checkpoint(RIGHT[:4] + struct.pack("<I", version) + RIGHT[8:])
    assert dict(found.metadata) == {"general.architecture": "llama", "a": 7, "b": ["x", "yy", ""], "c": [1.5, -2.0],
                                    "d": True, "e": -5, "f": [True, False]}  # fmt: skip
    assert {n: t.shape for n, t in found.tensors.items()} == {"w": (2, 32), "v": (3,), "empty": (4, 0)}
    assert found.tensors["v"].read().tolist() == [1, 2, 3]
    assert found.tensors["w"].encoding == "Q8_0"
    assert found.tensors["w"].nbytes == len(found.tensors["w"].raw()) == 68
    assert found.nbytes == 80
    assert found.parameters == 67


def use(data: bytes) -> str:
    """Open bytes and read all that they hold; return what came of it."""
    try:
        found = open_checkpoint(data)
        for key in found.metadata:
            found.metadata[key]
        for each in found.tensors.values():
            each.read()
            each.values()
    except LoomError as error:
        return "refused" if str(error).startswith("[loom.models.files") else str(error)
    return "read"


PLAIN = safetensors(
    {"__metadata__": {"a": "b"}, "x": tensor("F32", [2, 2], 0, 16), "y": tensor("BF16", [3], 16, 22),
     "z": tensor("I64", [1], 22, 30), "f": tensor("F4", [2], 30, 31)}, bytes(range(22)) + bytes(9))  # fmt: skip


@pytest.mark.parametrize("right", [RIGHT, PLAIN], ids=["gguf", "safetensors"])
def test_drawn_damage_is_read_or_refused(right: bytes) -> None:
    """Every truncation, every flipped bit, and drawn bytes in drawn places."""
    rng = np.random.default_rng(7)
    assert use(right) == "read"
    came: set[str] = set()
    longest = 0.0
    drawn = [right[:n] for n in range(len(right))]
    for place in range(len(right)):
        drawn.append(right[:place] + bytes([right[place] ^ 1 << int(rng.integers(8))]) + right[place + 1 :])
    for _ in range(1000):
        made = bytearray(right)
        for place in rng.integers(0, len(right), rng.integers(1, 5)):
            made[place] = rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))])
        drawn.append(bytes(made))
    for data in drawn:
        start = time.perf_counter()
        came.add(use(data))
        longest = max(longest, time.perf_counter() - start)
    assert came == {"read", "refused"}
    assert longest < 1
