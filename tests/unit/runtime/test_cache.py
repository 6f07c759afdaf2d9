"""The compile cache: whatever is wrong with it costs time, never a result."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import loom
from loom.runtime.drivers.cpu.device import CpuDevice
from loom.runtime.port import cache as module
from loom.runtime.port.cache import ArtifactCache
from loom.targets.base import Artifact, Site

SAMPLE = Artifact(
    "object", b"\x7fELF...", "entry", (Site("print", "k", "a.py", 3, ("a", "b"), ("u32",), "x"),), {"n": 4}
)


@loom.kernel(workgroup=4)
def triple(x: loom.InOut[loom.u32]) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * 3


def run_on_a_new_device() -> list[int]:
    x = np.arange(4, dtype=np.uint32)
    chain = loom.Chain(CpuDevice())
    chain.dispatch(triple, [x])
    chain.build().run()
    return x.tolist()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    loom.Chain("cpu").build()  # the walker is compiled for the whole process, and not into this folder
    monkeypatch.setenv("LOOM_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def kept(folder: Path) -> Path:
    (path,) = folder.glob("*.obj")
    return path


def test_an_artifact_comes_back_whole(tmp_path: Path) -> None:
    ArtifactCache(tmp_path).store("key", SAMPLE)
    assert ArtifactCache(tmp_path).load("key") == SAMPLE
    assert ArtifactCache(tmp_path).load("other") is None


def test_a_kernel_is_compiled_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_on_a_new_device() == [0, 3, 6, 9]
    written = kept(folder).stat().st_mtime_ns
    monkeypatch.setattr("loom.targets.llvm.target.LlvmTarget.compile", None)  # calling it would be an error
    assert run_on_a_new_device() == [0, 3, 6, 9]
    assert kept(folder).stat().st_mtime_ns == written


def resigned(data: bytes, body: bytes) -> bytes:
    """Return a file with a right checksum."""
    return data[:8] + module.hashlib.sha256(body).digest() + body


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda d: b"",
    "torn": lambda d: d[: len(d) // 2],
    "short of a byte": lambda d: d[:-1],
    "only the magic": lambda d: d[:8],
    "only the head": lambda d: d[:44],
    "one bit": lambda d: d[:-100] + bytes([d[-100] ^ 1]) + d[-99:],
    "garbage": lambda d: os.urandom(len(d)),
    "another version": lambda d: b"LOOMOBJ0" + d[8:],
    "more at the end": lambda d: d + b"x",
    "no JSON": lambda d: resigned(d, struct.pack("<I", 4) + b"{no}" + d[60:]),
    "other JSON": lambda d: resigned(d, struct.pack("<I", 2) + b"[]" + d[60:]),
    "fields missing": lambda d: resigned(d, struct.pack("<I", 2) + b"{}" + d[60:]),
    "no room for a length": lambda d: resigned(d, b"ab"),
    "of another kernel": lambda d: module._encode("another key", SAMPLE),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_bad_file_is_replaced(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    run_on_a_new_device()
    path = kept(folder)
    good = path.read_bytes()
    path.write_bytes(damage(good))
    assert run_on_a_new_device() == [0, 3, 6, 9]
    assert path.read_bytes() == good
    assert os.listdir(folder) == [path.name]


@pytest.mark.parametrize("place", ["/dev/null", "/proc/nowhere", "file/inside"])
def test_a_folder_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("LOOM_CACHE_DIR", str(tmp_path / place))
    assert run_on_a_new_device() == run_on_a_new_device() == [0, 3, 6, 9]
    assert (tmp_path / "file").read_bytes() == b""


def test_a_folder_in_the_place_of_a_file_is_left_alone(folder: Path) -> None:
    run_on_a_new_device()
    path = kept(folder)
    path.unlink()
    path.mkdir()
    assert run_on_a_new_device() == [0, 3, 6, 9]
    assert os.listdir(folder) == [path.name]


def test_processes_that_compile_at_once_agree(start: Callable[..., object], folder: Path) -> None:
    script = "steps(x, 3, 7).run()\nprint(x[0])"
    processes = [start(script, LOOM_CACHE_DIR=str(folder)) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=60)  # type: ignore[attr-defined]
        assert (out, err) == ("21\n", "")
    assert len(list(folder.glob("*.obj"))) == 2  # the kernel and the walker
    assert not list(folder.glob("*.partial"))


def test_the_oldest_files_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_FILES", 3)
    for age, name in enumerate("abcde"):
        path = tmp_path / f"{name}.obj"
        path.write_bytes(b"")
        os.utime(path, (time.time() - 100 - age,) * 2)
    (tmp_path / "stale.partial").write_bytes(b"")
    os.utime(tmp_path / "stale.partial", (1, 1))
    ArtifactCache(tmp_path).store("new", SAMPLE)
    assert sorted(os.listdir(tmp_path)) == ["a.obj", "b.obj", "new.obj"]
