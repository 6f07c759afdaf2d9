"""Programs of tensors and chains exported to C: the same bits, run after run; the example builds with its own line."""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, i32, tensor, u32
from loom.core.errors import ArgumentError, RaceDetected
from loom.export import FrozenFunction, export_c, freeze_chain, freeze_program


class Program:
    """An exported program as C sees it."""

    def __init__(self, frozen: FrozenFunction, folder: Path) -> None:
        self.made = export_c(frozen, folder, optimize="size")
        self.name = frozen.name
        self.library = ctypes.CDLL(str(folder / "x86_64-linux" / f"lib{frozen.name}.so"))
        self("size").restype = ctypes.c_size_t
        self("manifest").restype = ctypes.c_char_p
        self.memory = ctypes.create_string_buffer(self("size")())
        self.at = ctypes.c_void_p()
        assert self("open")(self.memory, ctypes.c_size_t(len(self.memory)), ctypes.byref(self.at)) == 0

    def __call__(self, function: str) -> Any:
        return getattr(self.library, f"{self.name}_{function}")

    def run(self, *arrays: Any) -> int:
        return self("run")(self.at, *(a if a is None else a.ctypes.data_as(ctypes.c_void_p) for a in arrays))

    def digest(self) -> str:
        found = (ctypes.c_uint8 * 32)()
        assert self("digest")(self.at, found) == 0
        return bytes(found).hex()

    def save(self) -> bytes:
        size = ctypes.c_size_t()
        assert self("save")(self.at, None, ctypes.c_size_t(0), ctypes.byref(size)) == 0
        data = ctypes.create_string_buffer(size.value)
        assert self("save")(self.at, data, size, ctypes.byref(size)) == 0
        return data.raw


def test_a_program_of_tensors_runs_to_the_same_bits(tmp_path: Path) -> None:
    w = tensor.parameter(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), name="w", on="cpu")
    x, n = tensor.input("x", (5, 4)), tensor.input("n", (3,), loom.i32)
    made = tensor.tanh(x @ w)
    outputs = {"made": made, "order": tensor.argsort(made.sum(axis=0)), "next": n * 2 + 1}
    updates = [(w, w - 0.1 * tensor.random.normal((4, 3), generator=tensor.random.Generator(3)) * made.sum())]
    frozen = freeze_program(outputs, updates, name="step")
    begun = frozen.weights()
    found = Program(frozen, tmp_path)
    compiled = tensor.compile(list(outputs.values()), updates)
    given, whole = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32), np.arange(3, dtype=np.int32)
    kept = found.save()
    for _ in range(3):
        compiled.run(x=given, n=whole)
        expected = compiled.read()
        results = [np.zeros_like(e) for e in expected]
        assert found.run(given, whole, *results) == 0
        assert [r.tobytes() for r in results] == [e.tobytes() for e in expected]
    told = json.loads(found("manifest")())
    assert [t["name"] for t in told["tensors"]] == list(begun)
    values = np.zeros((4, 3), np.float32)
    assert found("read")(found.at, b"w", values.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(48)) == 0
    assert values.tobytes() == w.numpy().tobytes()
    assert found("load")(found.at, kept, ctypes.c_size_t(len(kept))) == 0
    assert found.digest() == told["digest"]
    assert found.run(given, whole, None, None, None) == 1
    line = next(t for t in (tmp_path / "main.c").read_text().splitlines() if t.startswith(" *   "))
    subprocess.run(f"{line[5:]} -std=c99 -Wall -Wextra -Werror", shell=True, cwd=tmp_path, check=True)
    done = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "next_[1] = 3" in done.stdout.splitlines()


@loom.kernel
def shift(x: InOut[f32], seen: InOut[u32], table: In[f32], by: i32):
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * table[i] + f32(by)
    if i == 0:
        seen[0] = seen[0] + 1


def test_a_chain_runs_to_the_same_bits(tmp_path: Path) -> None:
    x, seen = np.linspace(0, 1, 100, dtype=np.float32), np.array([7], np.uint32)
    table = np.linspace(0.5, 1.5, 100, dtype=np.float32)
    chain = loom.Chain("cpu")
    chain.dispatch(shift, [x, seen, table], [3])
    with chain.repeat(4, np.arange(4, dtype=np.int32).reshape(4, 1)) as turn:
        chain.dispatch(shift, [x, seen, table], [turn.params[0]])
    found = Program(freeze_chain(chain, {"x": x}, name="shifts"), tmp_path)
    mine = x.copy()
    program = chain.build()
    for _ in range(2):
        program.run()
        assert found.run(mine) == 0
        assert mine.tobytes() == x.tobytes()
    count = np.zeros(1, np.uint32)
    assert found("read")(found.at, b"m0", count.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(4)) == 0
    assert count.tolist() == seen.tolist() == [17]
    found("reset")(found.at)
    assert found.digest() == json.loads(found("manifest")())["digest"]


def test_names_that_the_runtime_has_can_be_arguments(tmp_path: Path) -> None:
    words = ["forward", "program", "INDEX", "a0", "uint8_t", "enter"]
    x = [tensor.input(word, (2,)) for word in words]
    frozen = freeze_program({"level_of": sum(x[1:], x[0]), "given": x[0] * 2}, name="p")
    found = Program(frozen, tmp_path)
    arrays = [np.full(2, n, np.float32) for n in range(6)]
    total, twice = np.zeros(2, np.float32), np.zeros(2, np.float32)
    by_name = dict(zip(words, arrays, strict=True))
    assert found.run(*(by_name[a.name] for a in frozen.inputs), total, twice) == 0
    assert total.tolist() == [15, 15]
    assert twice.tolist() == [0, 0]


FILE = """
from loom import tensor
x = tensor.input("x", (3,))
twice = tensor.compile([x * 2])
"""


@pytest.mark.slow
def test_the_command_line_finds_a_program_in_a_file(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from loom.cli.main import app

    (tmp_path / "file.py").write_text(FILE)
    words = ["export", f"{tmp_path}/file.py:twice", "--out", str(tmp_path), "--optimize", "size", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert {Path(p).name for p in json.loads(done.stdout)["files"]} >= {"twice.h", "main.c", "libtwice.a"}
    assert CliRunner().invoke(app, [*words, "--to", "rust"]).exit_code != 0


@loom.kernel(order="any")
def last(x: InOut[u32]):
    loom.atomic_exchange(x, 0, loom.global_id())


def test_a_manifest_tells_that_nothing_is_promised(tmp_path: Path) -> None:
    x = np.zeros(64, np.uint32)
    for name, dispatches in (("loose", [last]), ("firm", [])):
        chain = loom.Chain("cpu")
        chain.dispatch(plain, [x])
        for kernel in dispatches:
            chain.dispatch(kernel, [x], groups=1)
        export_c(freeze_chain(chain, {"x": x}, name=name), tmp_path / name, optimize="size")
    told = [json.loads((tmp_path / n / f"{n}.json").read_text()).get("guarantee") for n in ("loose", "firm")]
    assert told == ["FAST", "BIT_EXACT"]


@loom.kernel(workgroup=8)
def put(at: In[u32], y: InOut[u32]):
    i = loom.global_id()
    y[at[i]] = i


@loom.kernel(workgroup=8)
def put_new(at: In[u32], y: Out[u32]):
    i = loom.global_id()
    y[at[i]] = i


@loom.kernel(workgroup=8)
def put_halved(at: In[u32], y: Out[u32]):
    y[loom.global_id() // 2] = at[loom.global_id()]


def test_a_manifest_tells_under_which_conditions_it_holds(tmp_path: Path) -> None:
    at, y, chain = np.arange(64, dtype=np.uint32), np.zeros(64, np.uint32), loom.Chain("cpu")
    chain.dispatch(put, [at, y], groups=8)
    export_c(freeze_chain(chain, {"at": at, "y": y}, name="scatters"), tmp_path / "scatters", optimize="size")
    given = tensor.input("at", (64,), u32)
    export_c(freeze_program([put_new(given, out=64, groups=8)], name="news"), tmp_path / "news", optimize="size")
    for name, kernel in (("scatters", "put"), ("news", "put_new")):
        (told,) = json.loads((tmp_path / name / f"{name}.json").read_text())["conditions"]
        assert told.startswith(f"kernel '{kernel}': no lane stores to an element of 'y' (line ")
    with pytest.raises(RaceDetected):
        freeze_program([put_halved(given, out=64, groups=8)], name="halved")


@loom.kernel
def plain(x: InOut[u32]):
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] + 1


def test_what_cannot_be_frozen_is_refused(tmp_path: Path) -> None:
    x, seen = np.zeros(64, np.float32), np.zeros(1, np.uint32)
    chain = loom.Chain("cpu")
    with pytest.raises(ArgumentError, match="unusable number of dispatches"):
        freeze_chain(chain, {})
    chain.dispatch(shift, [x, seen, x.copy()], [1])
    with pytest.raises(ArgumentError, match="does not bind this array"):
        freeze_chain(chain, {"x": x.copy()})
    with pytest.raises(ArgumentError, match="two arrays share memory"):
        freeze_chain(chain, {"x": x, "y": x})
    with pytest.raises(ArgumentError, match="complex"):
        freeze_program([tensor.input("z", (3,), tensor.complex64) * 2])
    part = loom.Chain("cpu")
    part.dispatch(shift, [x[1:9], seen, np.ones(8, np.float32)], [1])
    part.dispatch(shift, [x, seen, np.ones(64, np.float32)], [1])
    with pytest.raises(ArgumentError, match="begins anywhere"):
        export_c(freeze_chain(part, {"x": x}), tmp_path)
