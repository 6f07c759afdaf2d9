"""Files that are read and written while units run: raw arrays, in parts, into units."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, FileError, LoomTimeout, ShapeError, StateError
from loom.flow import (
    async_files,
    loom_async_read,
    loom_async_write,
    loom_await,
    loom_boot,
    loom_build,
    loom_dispatch,
    loom_launch,
    loom_poll,
    loom_read,
    loom_run,
    loom_stream,
    loom_wait,
    loom_write,
)
from loom.formats.raw_arrays import RawArray

DOUBLE = "stdlib/loom/kernels/math/double.spv"
VALUES = np.arange(1000, dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "numbers").write_bytes(VALUES.astype("<f4").tobytes())
    return tmp_path / "numbers"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Files that are not read until told so."""
    import threading

    gate = threading.Event()
    read = RawArray.read

    def wait(self: RawArray) -> Any:
        assert gate.wait(30)
        return read(self)

    monkeypatch.setattr(RawArray, "read", wait)
    yield gate
    gate.set()


@pytest.mark.parametrize("data", [VALUES, VALUES.astype(np.int32) - 500, VALUES.astype(np.uint32) + 2**31, [1.5, 2.5]])
def test_arrays_are_written_and_read_raw(data: Any, tmp_path: Path) -> None:
    array = np.asarray(data)
    array = array.astype(np.float32) if array.dtype == np.float64 else array
    assert loom_await(loom_async_write(tmp_path / "a", data)) == array.size
    assert (tmp_path / "a").read_bytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
    found = loom_await(loom_async_read(tmp_path / "a", dtype=array.dtype))
    assert (found.dtype, found.tobytes()) == (array.dtype, array.tobytes())


def test_what_is_written_is_that_of_the_call(tmp_path: Path) -> None:
    data = VALUES.copy()
    handles = [loom_async_write(tmp_path / f"{n}", data) for n in range(20)]
    data[:] = 7
    assert [loom_await(each) for each in handles] == [1000] * 20
    assert all((tmp_path / f"{n}").read_bytes() == VALUES.tobytes() for n in range(20))


def test_parts_and_streams(path: Path) -> None:
    assert loom_await(loom_async_read(path, 10.0, 5.0)).tolist() == [10, 11, 12, 13, 14]
    assert loom_await(loom_async_read(path, 1000.0)).tolist() == []
    for size in (1.0, 300.0, 1000.0, 5000.0):
        assert np.concatenate(list(loom_stream(path, size))).tobytes() == VALUES.tobytes()
    assert [part.size for part in loom_stream(path, 400.0, off=100.0)] == [400, 400, 100]
    path.write_bytes(b"")
    assert list(loom_stream(path, 4.0)) == []


def test_a_unit_waits_for_what_is_read_into_it(path: Path, slow: Any) -> None:
    unit, other = loom_boot(1.0, 1000, 0), loom_boot(1.0, 1000, 0)
    loom_write(other, 0.0, VALUES, bind=0)
    handle = loom_async_read(path, unit=unit, bind=0.0)
    loom_dispatch(other, DOUBLE, [], 4.0)
    loom_run(loom_build(other))  # others run meanwhile
    assert loom_read(other, 0.0, 999.0, 1) == [1998]
    with pytest.raises(LoomTimeout, match=r"\[loom_await\] still under way: expected done within 0.01 s"):
        loom_await(handle, 0.01)
    loom_dispatch(unit, DOUBLE, [], 4.0)
    slow.set()
    prog = loom_build(unit)
    loom_launch(prog)
    loom_wait(prog)
    assert loom_await(handle) == 1000
    assert loom_read(unit, 0.0, 0.0, 1000).tobytes() == (2 * VALUES).tobytes()


def test_numbers_take_the_type_of_kernels(path: Path) -> None:
    @loom.kernel(workgroup=256)
    def count(registers: loom.InOut[loom.u32]):
        i = loom.global_id()
        if i < len(registers):
            registers[i] = registers[i] + 1

    unit = loom_boot(1.0, 1000, 4)
    first = loom_async_read(path, unit=unit, bind=0)  # before the build, floats
    loom_dispatch(unit, count, [], 4.0)
    prog = loom_build(unit)
    loom_run(prog)
    assert loom_read(unit, 0.0, 0.0, 1000).tolist() == list(range(1, 1001))
    second = loom_async_read(path, 0.0, 10.0, unit=unit, bind=0, at=5.0)  # and after it
    loom_run(prog)
    assert loom_read(unit, 0.0, 4.0, 4).tolist() == [6, 1, 2, 3]
    path.write_bytes(np.float32(2.5).tobytes())
    wrong = loom_async_read(path, unit=unit, bind=0)
    with pytest.raises(ArgumentError, match="word 0 of the registers is no u32"):
        loom_await(wrong)
    assert (loom_await(first), loom_await(second)) == (1000, 10)
    loom_run(prog)


def test_data_streaming(path: Path) -> None:
    """Two units in turn: while one computes, the other is filled."""
    units = [loom_boot(1.0, 100, 0) for _ in range(2)]
    for unit in units:
        loom_dispatch(unit, DOUBLE, [], 1.0)
    programs = [loom_build(unit) for unit in units]
    results: list[Any] = []
    for n in range(10):
        unit, prog = units[n % 2], programs[n % 2]
        if n >= 2:
            results.append(loom_read(unit, 0.0, 0.0, 100))
        loom_async_read(path, 100.0 * n, 100.0, unit=unit, bind=0)
        loom_launch(prog)
    for unit in units:
        while loom_poll(unit) < 0.5:
            pass
        results.append(loom_read(unit, 0.0, 0.0, 100))
    assert np.concatenate(results).tobytes() == (2 * VALUES).tobytes()


@pytest.mark.parametrize(
    ("call", "kind", "told"),
    [
        (lambda p: loom_async_read(f"{p}x"), FileError, r"'.*numbersx' cannot be read.*No such file"),
        (lambda p: loom_async_read(p.parent), FileError, "cannot be read"),
        (lambda p: loom_async_read(p, 990.0, 20.0), FileError, "is shorter: expected 20 numbers from 990 on, got 1000"),
        (lambda p: loom_async_read(p, 1001), FileError, "is shorter"),
        (lambda p: loom_async_read(p, -1), ArgumentError, "unusable off"),
        (lambda p: loom_async_read(p, 0, 1.5), ArgumentError, "unusable len"),
        (lambda p: loom_async_read(p, dtype=loom.f64), DTypeError, "32-bit words: expected f32, u32 or i32, got f64"),
        (lambda p: loom_async_read(p, dtype="no"), DTypeError, "no"),
        (lambda p: loom_async_read(p, unit=7), DTypeError, "not a unit"),
        (lambda p: loom_async_read(p, unit=loom_boot(1, 10, 0)), ShapeError, "outside 'globals'.* got 0 . 1000"),
        (lambda p: loom_async_read(p, unit=loom_boot(1, 10, 0), bind=2), ArgumentError, "the unit has no heap"),
        (lambda p: loom_async_read(p, unit=loom_boot(1, 10, 0), bind=3), ArgumentError, "there is no binding 3"),
        (lambda p: loom_stream(p, 0), ArgumentError, "unusable len"),
        (lambda p: loom_stream(f"{p}x", 1), FileError, r"\[loom_stream\]"),
        (loom_await, DTypeError, "what loom_async_read or loom_async_write returned, got PosixPath"),
        (lambda p: loom_await(loom_async_read(p), -1), ArgumentError, "loom_await"),
        (lambda p: loom_await(loom_async_write(p.parent, [1])), FileError, "cannot write to"),
        (lambda p: loom_async_write(p, ["a"]), DTypeError, "loom_async_write"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_or_written(
    path: Path, call: Callable[[Any], Any], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        call(path)
    assert path.read_bytes() == VALUES.tobytes()


def test_files_that_change_meanwhile(path: Path, slow: Any) -> None:
    handle = loom_async_read(path)
    path.write_bytes(VALUES[:10].tobytes())
    slow.set()
    with pytest.raises(FileError, match="was cut off while it was read: expected 1000 numbers from 0 on, got 10"):
        loom_await(handle)
    path.write_bytes(b"abc")
    with pytest.raises(FileError, match=r"no whole numbers of f32: expected a multiple of 4 bytes, got 3 bytes"):
        loom_async_read(path)


def test_what_nobody_awaits_is_done_and_told_at_the_end(tmp_path: Path) -> None:
    source = f"""
from loom.flow import *
unit = loom_boot(1.0, 4, 0)
loom_async_write({str(tmp_path / "a")!r}, [1.0] * 100000)
loom_async_write({str(tmp_path)!r}, [1.0])
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert (tmp_path / "a").stat().st_size == 400000
    assert "cannot write to" in ended.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_child_of_fork_has_a_thread_of_its_own(path: Path) -> None:
    loom_await(loom_async_read(path))
    child = os.fork()
    if not child:
        found = async_files.loom_await(async_files.loom_async_read(path), 20)
        os._exit(int(found.sum() != VALUES.sum()))
    assert os.waitpid(child, 0)[1] == 0


def test_a_read_sees_what_was_written_before_it(path: Path) -> None:
    for count in (3000, 5, 200_000):  # longer, shorter, and a name that is not there yet
        loom_async_write(path, np.ones(count, np.float32))
        assert loom_await(loom_async_read(path)).size == count
        loom_async_write(path.with_name(f"{count}"), np.ones(count, np.float32))
        assert sum(part.size for part in loom_stream(path.with_name(f"{count}"), 1000)) == count


def test_a_path_is_meant_where_it_was_named(path: Path, monkeypatch: pytest.MonkeyPatch, slow: Any) -> None:
    monkeypatch.chdir(path.parent)
    (path.parent / "below").mkdir()
    handle = loom_async_read("numbers")
    writing = loom_async_write("other", [1.0])
    monkeypatch.chdir(path.parent / "below")
    slow.set()
    assert loom_await(handle).size == 1000
    loom_await(writing)
    assert (path.parent / "other").exists()


def test_a_stream_is_of_one_file(path: Path) -> None:
    parts = loom_stream(path, 100)
    assert next(parts)[0] == 0
    loom_await(loom_async_write(path, np.ones(1000, np.float32)))
    next(parts)  # read before
    with pytest.raises(FileError, match=r"^\[loom_stream\] '.*' was replaced while it was read: expected the file"):
        list(parts)
    assert [part.sum() for part in loom_stream(path, 500)] == [500, 500]


def test_a_stream_that_fails_is_told_once(path: Path) -> None:
    source = f"""
import os
from loom.flow import *
parts = loom_stream({str(path)!r}, 100)
next(parts)
os.truncate({str(path)!r}, 1010)
try:
    list(parts)
except OSError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert (ended.stdout.count("was cut off"), ended.stderr) == (1, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_child_of_fork_cannot_wait_for_its_parents_thread(path: Path, slow: Any) -> None:
    handle = loom_async_read(path)
    child = os.fork()
    if not child:
        slow.set()
        signal.alarm(20)
        try:
            async_files.loom_await(handle)
        except StateError as error:
            os._exit(int("when the process was forked" not in str(error)))
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    slow.set()
    assert loom_await(handle).size == 1000


@pytest.mark.parametrize("option", [{"at": 4.0}, {"bind": 0}, {"bind": "globals"}, {"at": None}])
def test_places_in_a_unit_have_no_effect_without_one(option: dict[str, Any], tmp_path: Path) -> None:
    loom_await(loom_async_write(tmp_path / "numbers", [1.0]))
    (name,) = option
    with pytest.raises(ArgumentError, match=rf"\[loom_async_read, {name}\] has no effect without a unit.*Pass unit="):
        loom_async_read(tmp_path / "numbers", **option)
