"""Single kernels exported to C: what they compute and what they refuse; the example builds with its own line."""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, f64, i32, i64, struct, u8, u64
from loom.core.errors import ArgumentError, AssertionFailed, DTypeError
from loom.export import export_c, freeze_kernel
from loom.export.c.kernel import CODES


@loom.kernel
def saxpy(x: In[f32], y: InOut[f32], a: f32 = 2.0):
    i = loom.global_id()
    if i < len(y):
        y[i] = y[i] + a * x[i]


@struct
class Body:
    mass: f64
    kind: u8
    place: f32


@loom.kernel(workgroup=(8, 4))
def mixed(grid: In[f32, 2], bodies: InOut[Body], out: Out[f32, 2], flag: loom.bool_, shift: i32):
    x, y = loom.global_id(0), loom.global_id(1)
    if y < out.shape[0] and x < out.shape[1]:
        value = grid[y, x] + f32(shift)
        if flag:
            value = value * f32(bodies[0].mass)
        out[y, x] = value
    if x == 0 and y == 0:
        bodies[1].place = f32(bodies[1].kind)


def built(kernel: Any, folder: Path) -> Any:
    frozen = freeze_kernel(kernel)
    export_c(frozen, folder)
    library = ctypes.CDLL(str(folder / "x86_64-linux" / f"lib{frozen.name}.so"))
    getattr(library, f"{frozen.name}_message").restype = ctypes.c_char_p
    return library


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernel")


@pytest.fixture(scope="module")
def library(folder: Path) -> Any:
    return built(saxpy, folder)


def at(array: Any) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)


def size(n: int) -> Any:
    return ctypes.c_size_t(n)


def test_it_computes_what_loom_computes(library: Any) -> None:
    random = np.random.default_rng(0)
    x, y = (random.normal(size=1003).astype(np.float32) for _ in range(2))
    expected = y.copy()
    saxpy(x, expected, a=0.3)
    groups = -(-1003 // 64)
    assert library.saxpy_run(at(x), size(1003), at(y), size(1003), ctypes.c_float(0.3), groups, 1, 1) == 0
    assert y.tobytes() == expected.tobytes()


def test_records_axes_and_flags_are_those_of_loom(tmp_path: Path) -> None:
    found = built(mixed, tmp_path)
    grid = np.arange(35, dtype=np.float32).reshape(5, 7)
    bodies = np.zeros(2, Body.numpy)
    bodies["mass"], bodies["kind"] = 0.1, 7
    expected, expected_bodies = np.zeros((5, 7), np.float32), bodies.copy()
    mixed(grid, expected_bodies, expected, flag=True, shift=-3)
    out = np.zeros_like(expected)
    code = found.mixed_run(
        at(grid), size(5), size(7), at(bodies), size(2), at(out), size(5), size(7), ctypes.c_uint8(9), -3, 1, 2, 1
    )
    assert code == 0
    assert out.tobytes() == expected.tobytes()
    assert bodies.tolist() == expected_bodies.tolist()
    assert bodies["place"][1] == 7


def test_what_a_dispatch_refuses_is_refused(library: Any) -> None:
    x, y, a = np.zeros(8, np.float32), np.ones(8, np.float32), ctypes.c_float(2)
    run, codes = library.saxpy_run, list(CODES)
    odd = ctypes.c_void_p(x.ctypes.data + 1)
    calls = {
        "NULL": (None, size(8), at(y), size(8), a, 1, 1, 1),
        "TOO_MANY": (at(x), size(1 << 33), at(y), size(8), a, 1, 1, 1),
        "OVERLAP": (at(x), size(8), at(x), size(8), a, 1, 1, 1),
        "ALIGNMENT": (odd, size(1), at(y), size(8), a, 1, 1, 1),
    }
    assert {name: codes[run(*arguments)] for name, arguments in calls.items()} == {name: name for name in calls}
    assert codes[run(at(x), size(8), at(y), size(8), a, 0xFFFFFFFF, 1, 1)] == "TOO_MANY"
    assert codes[run(at(x), size(8), at(y), size(8), a, 1 << 20, 1 << 20, 1)] == "TOO_MANY"
    assert run(None, size(0), None, size(0), a, 4, 1, 1) == 0
    assert run(at(x), size(3), at(y), size(8), a, 0, 7, 7) == 0
    assert y.tolist() == [1.0] * 8
    assert all(library.saxpy_message(code) for code in range(len(codes)))
    assert run(at(x), size(3), at(y), size(8), a, 1, 1, 1) == 0  # what lies outside x is 0


def test_the_example_builds_with_the_line_at_its_head(library: Any, folder: Path) -> None:
    line = next(t for t in (folder / "main.c").read_text().splitlines() if t.startswith(" *   "))
    subprocess.run(f"{line[5:]} -std=c99 -Wall -Wextra -Werror", shell=True, cwd=folder, check=True)
    done = subprocess.run(["./main"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["y[0] = 0", "y[1] = 3", "y[2] = 6", "y[3] = 9"]


def test_the_manifest_says_what_it_takes(folder: Path, library: Any) -> None:
    told = json.loads((folder / "saxpy.json").read_text())
    assert told["buffers"][1] == {"name": "y", "dtype": "f32", "access": "read_write"}
    assert told["params"] == [{"name": "a", "dtype": "f32", "default": 2.0}]
    library.saxpy_manifest.restype = ctypes.c_char_p
    assert json.loads(library.saxpy_manifest()) == told


@loom.kernel(workgroup=8)
def loud(x: In[f32], wide: In[f64], most: f32):
    i = loom.global_id()
    if i < len(x):
        print(f"x[{i}] = {x[i]}, {wide[i]} {x[i] > 0.0} {i32(i) - 2}")
        assert x[i] < most, f"{x[i]} is too much."


def test_what_it_prints_and_asserts_is_what_loom_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, told = built(loud, tmp_path), list[tuple[int, str]]()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
    tell = kind(lambda _, fault, text: told.append((fault, text.decode())))
    x, wide = np.linspace(-1, 3, 20, dtype=np.float32) / 3, np.geomspace(1e-9, 1e18, 20)

    def run(most: float, listener: Any, groups: int = 3) -> int:
        return found.loud_run(at(x), size(20), at(wide), size(20), ctypes.c_float(most), groups, 1, 1, listener, None)

    assert run(9.0, tell) == 0
    loud(x, wide, 9.0)
    assert [text for _, text in told] == capsys.readouterr().out.splitlines()
    told.clear()
    assert run(0.5, tell) == list(CODES).index("ALIGNMENT") + 1
    with pytest.raises(AssertionFailed) as failed:
        loud(x, wide, 0.5)
    printed = capsys.readouterr().out.splitlines()
    assert [text for fault, text in told if not fault] == printed
    assert [text.partition("] ")[2] for fault, text in told if fault] == [str(failed.value).partition("] ")[2]]
    assert run(0.5, None) == 5
    told.clear()
    many = np.zeros(1000, np.float32), np.zeros(1000)
    sizes = (at(many[0]), size(1000), at(many[1]), size(1000))
    assert found.loud_run(*sizes, ctypes.c_float(1), 125, 1, 1, tell, None) == 0
    assert told[-1][1].startswith("[loom] the kernel log was full")
    assert [text for _, text in told[:3]] == [f"x[{i}] = 0.0, 0.0 False {i - 2}" for i in range(3)]
    assert b"assertion" in found.loud_message(5)
    line = next(t for t in (tmp_path / "main.c").read_text().splitlines() if t.startswith(" *   "))
    subprocess.run(f"{line[5:]} -std=c99 -Wall -Wextra -Werror", shell=True, cwd=tmp_path, check=True)


@loom.kernel(order="any")
def tickets(n: InOut[i32], y: InOut[i32]):
    y[loom.global_id()] = loom.atomic_add(n, 0, 1)


@loom.kernel
def own(y: InOut[i32]):
    i = loom.global_id()
    y[i] = loom.atomic_exchange(y, i, 7) + 1


@loom.kernel
def put(at: In[i32], y: InOut[i32]):
    y[at[loom.global_id()]] = loom.global_id()


def test_it_tells_that_nothing_is_promised_and_asks_for_groups_that_stay_apart(tmp_path: Path) -> None:
    built(tickets, tmp_path)
    found = built(own, tmp_path)
    told = {name: json.loads((tmp_path / f"{name}.json").read_text()).get("guarantee") for name in ("tickets", "own")}
    assert told == {"tickets": "FAST", "own": "BIT_EXACT"}
    built(put, tmp_path)
    conditions = [json.loads((tmp_path / f"{name}.json").read_text()).get("conditions") for name in ("own", "put")]
    assert conditions[0] is None
    assert conditions[1][0].startswith("kernel 'put': no lane stores to an element of 'y' (line ")
    assert "Nothing is promised of its results" in (tmp_path / "tickets.h").read_text()
    y, codes = np.zeros(128, np.int32), list(CODES)
    assert found.own_run(at(y), size(128), 2, 1, 1) == 0
    assert y.tolist() == [1] * 128
    assert [codes[found.own_run(at(y), size(128), *groups)] for groups in ((1, 2, 1), (1, 1, 2))] == ["TOO_MANY"] * 2


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(DTypeError, match="not a kernel"):
        freeze_kernel(len)
    with pytest.raises(ArgumentError, match="functions cannot be called so"):
        freeze_kernel(saxpy, name="a-b")


@struct
class Odd:
    int: f32
    uint8_t: u8


@loom.kernel
def names(
    run: InOut[Odd], start: InOut[f32], puts: InOut[f32], enter: f32 = float("inf"), int64_t: i64 = -(2**63),
    INDEX: u64 = 2**64 - 1, LOOM_TOO_MANY: i32 = -5, groesse: f32 = float("nan"), names_run: f32 = 0.5, i: i32 = 1,
):  # fmt: skip
    k = loom.global_id()
    if k < len(start):
        start[k] = min(enter, puts[k]) + names_run
        puts[k] = f32(int64_t) + f32(INDEX) + f32(LOOM_TOO_MANY + i) + max(groesse, 0.0)
        run[k].int = f32(k)


def test_names_that_c_and_the_runtime_have_can_be_parameters(tmp_path: Path) -> None:
    found = built(names, tmp_path)
    run, start, puts = np.zeros(5, Odd.numpy), np.ones(5, np.float32), np.arange(5, dtype=np.float32)
    expected = run.copy(), start.copy(), puts.copy()
    given = (3.0, -(2**40), 2**63, 7, 0.25, 0.125, 9)
    names(*expected, *given)
    kinds = (
        ctypes.c_float,
        ctypes.c_int64,
        ctypes.c_uint64,
        ctypes.c_int32,
        ctypes.c_float,
        ctypes.c_float,
        ctypes.c_int32,
    )
    numbers = [kind(value) for kind, value in zip(kinds, given, strict=True)]
    arrays = [each for a in (run, start, puts) for each in (at(a), size(5))]
    assert found.names_run(*arrays, *numbers, 1, 1, 1) == 0
    assert [a.tolist() for a in (run, start, puts)] == [e.tolist() for e in expected]
    line = next(t for t in (tmp_path / "main.c").read_text().splitlines() if t.startswith(" *   "))
    subprocess.run(f"{line[5:]} -std=c99 -Wall -Wextra -Werror", shell=True, cwd=tmp_path, check=True)
    subprocess.run("c++ -x c++ -std=c++17 -Wall -Werror -c names.h -o names.o", shell=True, cwd=tmp_path, check=True)
    params = json.loads((tmp_path / "names.json").read_text(), parse_constant=pytest.fail)["params"]
    assert params[0]["default"] == "Infinity"
    assert params[2]["default"] == str(2**64 - 1)
