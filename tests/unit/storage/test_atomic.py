"""Files are replaced whole, with ordinary permissions, and leave nothing behind when it fails."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from loom.storage import atomic
from loom.storage.atomic import replace_file, sweep


def test_writes_and_replaces_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.obj"
    replace_file(path, b"one")
    replace_file(path, b"two, longer")
    assert path.read_bytes() == b"two, longer"
    assert os.listdir(path.parent) == ["file.obj"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o644), (0o077, 0o600), (0o027, 0o640)])
def test_mode_is_0644_less_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        replace_file(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_failure_keeps_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")

    def refuse(_source: object, _target: object) -> None:
        raise PermissionError("not today")

    monkeypatch.setattr(atomic.os, "replace", refuse)
    with pytest.raises(PermissionError, match="not today"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_a_file_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        replace_file(tmp_path / "file" / "inside", b"x")


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    path, seen, over = tmp_path / "file", set(), threading.Event()
    contents = [bytes([n]) * 100_000 for n in range(2)]
    replace_file(path, contents[0])

    def read() -> None:
        while not over.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(100):
        replace_file(path, contents[turn % 2])
    over.set()
    reader.join()
    assert seen <= set(contents)
    assert len(seen) > 0


def test_sweep_takes_old_leftovers_only(tmp_path: Path) -> None:
    old, new, other = (tmp_path / n for n in ("a.partial", "b.partial", "c.obj"))
    for path in (old, new, other):
        path.write_bytes(b"x")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["b.partial", "c.obj"]


def test_what_a_crash_leaves_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic.os, "replace", lambda *_: None)  # dies before the last step
    replace_file(tmp_path / "file", b"x")
    monkeypatch.setattr(atomic, "_STALE_SECONDS", -1)
    assert len(os.listdir(tmp_path)) == 1
    sweep(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["", "below"])
def test_a_folder_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "kept").write_text("this")
    with pytest.raises(IsADirectoryError, match="a folder has this name: name a file"):
        replace_file(tmp_path / name, b"data")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["below", "kept"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_pipes_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    """``--receipt /dev/stdout`` once put a file in the place of what the name stood for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for data in (b"abc", iter([b"d", b"ef"])):
        replace_file(pipe, data)
    assert os.read(reader, 100) == b"abcdef"
    os.close(reader)
    assert pipe.is_fifo()
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]
    with (tmp_path / "file").open("wb") as file:  # as a shell's > gives it
        for parts in (b"abc", iter([b"d"])):
            replace_file(Path(f"/dev/fd/{file.fileno()}"), parts)
    assert (tmp_path / "file").read_bytes() == b"abcd"
