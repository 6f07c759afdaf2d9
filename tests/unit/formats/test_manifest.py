"""Blobs kept as one: what was saved is read, and no failing step loses what was there."""

from __future__ import annotations

from pathlib import Path

import pytest

from loom.formats.manifest import load_blob, load_manifest, save_blobs
from loom.storage.disk import Disk, FaultyDisk


def read(folder: Path) -> tuple[object, dict[str, bytes]]:
    manifest = load_manifest(folder)
    return manifest.facts, {name: load_blob(folder, entry) for name, entry in manifest.blobs.items()}


def blobs(**data: bytes) -> dict[str, memoryview]:
    return {name: memoryview(value) for name, value in data.items()}


def test_round_trip(tmp_path: Path) -> None:
    save_blobs(tmp_path / "a/b", {"n": 1}, blobs(x=b"abc", y=b"", z=b"abc"))
    assert read(tmp_path / "a/b") == ({"n": 1}, {"x": b"abc", "y": b"", "z": b"abc"})
    assert len(list((tmp_path / "a/b").glob("*.blob"))) == 2  # what is equal is kept once


@pytest.mark.parametrize("torn", [True, False])
def test_every_step_may_fail(tmp_path: Path, torn: bool) -> None:
    old, new = {"x": b"one", "y": b"same"}, {"x": b"two" * 1000, "y": b"same"}
    for fails_at in range(100):
        folder = tmp_path / str(fails_at)
        save_blobs(folder, "old", blobs(**old))
        disk = FaultyDisk(fails_at, torn=torn)
        try:
            save_blobs(folder, "new", blobs(**new), disk)
        except OSError:
            assert read(folder) in (("old", old), ("new", new))
        else:
            assert read(folder) == ("new", new)
        save_blobs(folder, "old", blobs(**old))  # what a failure left is in nobody's way
        assert read(folder) == ("old", old)
        if disk.steps <= fails_at:
            return
    raise AssertionError("the disk was never whole")


def test_the_manifest_is_the_last_file_to_be_named_and_all_is_synced(tmp_path: Path) -> None:
    done: list[str] = []

    class Told(Disk):
        def sync(self, path: Path) -> None:
            done.append(f"sync {path.name.split('.')[1]}")
            super().sync(path)

        def rename(self, source: Path, target: Path) -> None:
            done.append(f"rename {target.suffix[1:]}")
            super().rename(source, target)

        def sync_folder(self, path: Path) -> None:
            done.append("sync folder")
            super().sync_folder(path)

    save_blobs(tmp_path, None, blobs(x=b"1", y=b"2"), Told())
    one = ["rename blob", "sync folder"]
    assert done == ["sync blob", *one, "sync blob", *one, "sync json", "rename json", "sync folder"]


def test_a_data_file_that_was_damaged_is_written_again(tmp_path: Path) -> None:
    save_blobs(tmp_path, None, blobs(x=b"abc"))
    next(tmp_path.glob("*.blob")).write_bytes(b"xyz")
    save_blobs(tmp_path, None, blobs(x=b"abc"))
    assert read(tmp_path) == (None, {"x": b"abc"})
