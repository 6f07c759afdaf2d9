"""Kernels of the library recalled from disk: the same facts, no translation, and nobody else's kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.dtype import f32, f64, i8, i32, i64, u8, u32
from loom.ir.frontend.capture import digest_of
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.fold.tiles import divide_rows, extreme_tiles, sum_tiles
from loom.runtime.port import known
from loom.runtime.port.known import KnownKernel, facts_of, recall
from loom.targets.base import hash_sources

TYPES = (u8, i8, u32, i32, i64, f32, f64)
FACTS = (
    "name", "hash", "workgroup", "trusted", "guarantee", "has_barrier", "talks", "statements",
)  # fmt: skip


def kernels() -> list[KernelFunction]:
    found = [sum_tiles(t, t, t) for t in TYPES]
    found += [extreme_tiles(t, largest=largest) for t in (u8, f32) for largest in (False, True)]
    found += [divide_rows(f32, f32, f32), divide_rows(f64, f64, f64)]
    return found


def test_equal_digests_mean_equal_kernels_and_others_differ() -> None:
    found = [(digest_of(k), k.verified.hash) for k in kernels()]
    assert all(digest is not None for digest, _ in found)
    digests, hashes = zip(*found, strict=True)
    assert len(set(digests)) == len(set(hashes)) == len(found)
    again = sum_tiles.__wrapped__(f32, f32, f32)  # type: ignore[attr-defined]
    assert again is not sum_tiles(f32, f32, f32)
    assert digest_of(again) == digest_of(sum_tiles(f32, f32, f32))


def test_what_is_recalled_tells_what_the_kernel_tells() -> None:
    for function in kernels()[::3]:
        whole = function.verified
        less = KnownKernel(function, json.loads(json.dumps(facts_of(whole))))
        for fact in FACTS:
            assert getattr(less, fact) == getattr(whole, fact), (function, fact)
        assert [(m.name, m.dtype, m.access) for m in less.buffers] == [
            (m.name, m.dtype, m.access) for m in whole.buffers
        ]
        assert [(p.name, p.dtype) for p in less.params] == [(p.name, p.dtype) for p in whole.params]
        assert [m in less.reads for m in less.buffers] == [m in whole.reads for m in whole.buffers]
        assert [m in less.writes for m in less.buffers] == [m in whole.writes for m in whole.buffers]
        assert less.trusted or less.is_apart == whole.is_apart
        assert less.kernel is whole.kernel


def test_what_was_recalled_stays_so_when_it_is_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_CACHE_DIR", str(tmp_path))
    make: Any = sum_tiles
    recall(make.__wrapped__(i64, i64, i64))  # which keeps what is known of it
    again = make.__wrapped__(i64, i64, i64)
    first = recall(again)
    assert isinstance(first, KnownKernel)
    assert first.kernel is again.verified.kernel  # as where its code was not kept
    assert recall(again) is first


def test_what_is_known_is_that_of_these_types() -> None:
    assert hash_sources("core") in known._fingerprint()
    with pytest.raises(FileNotFoundError):
        hash_sources("cores")


def test_a_kernel_that_reaches_code_of_others_has_no_digest() -> None:
    @loom.kernel
    def mine(x: loom.InOut[loom.f32]) -> None:
        x[0] = 1.0

    assert digest_of(mine) is None
    assert recall(mine) is mine.verified


def test_a_captured_value_is_part_of_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(number: float) -> KernelFunction:
        def store(x: loom.Out[loom.f32]) -> None:
            x[0] = number

        store.__module__ = "loom.kernels.somewhere"
        return loom.kernel(store)

    assert len({digest_of(made(v)) for v in (0.0, -0.0, 1.0, np.float32(1.0), 1, True)}) == 6
    assert digest_of(made(1.0)) == digest_of(made(1.0))
    assert digest_of(made(object())) is None  # type: ignore[arg-type]


SECOND = """
import sys, numpy as np, loom
from loom.ir.frontend import translation
if sys.argv[1] == "warm":
    def refuse(function):
        raise AssertionError(f"{function.name} is translated")
    translation.translate_kernel = refuse
x = np.arange(5000, dtype=np.float32)[::-1].copy()
a = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
db = loom.vectors.VectorStore(3, on="cpu")  # whose kernels are not trusted
db.capture_many(None, x[:6].reshape(2, 3))
print([hit.row for hit in db.search(x[:3], 2)])
print(loom.gpu_sort(x)[:3].tolist(), loom.gpu_matmul(a, a)[0, :2].tolist(), float(loom.gpu_sum(x)))
from loom import tensor
given, w = tensor.input("given", (64, 64)), tensor.parameter(a)
loss = tensor.mean(tensor.relu(given @ w))
(slope,) = tensor.grad(loss, [w])
step = tensor.compile([loss], [(w, w - slope * 0.125)])
for _ in range(2):
    step.run(given=a)
print(w.numpy()[0, :2].tolist())
"""


def test_a_warm_process_translates_no_kernel_of_the_library(tmp_path: Path) -> None:
    environment = {**os.environ, "LOOM_CACHE_DIR": str(tmp_path / "cache")}

    def run(state: str) -> str:
        command = [sys.executable, "-c", SECOND, state]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    cold = run("cold")
    assert run("warm") == cold
    for file in (tmp_path / "cache").glob("*.obj"):  # damaged files cost time, never a result
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert run("cold") == cold
