"""Checkpoints: bits equal after resume, and whatever step the disk fails at, a whole checkpoint is there."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, CheckpointError
from loom.storage.disk import FaultyDisk
from loom.support.checkpoint import read_checkpoint, write_checkpoint
from unit.support.support_kernels import fall

WORDS = 200


def booted(support: loom.Support, on: str) -> loom.Unit:
    support.boot("other", 3, device=on)
    return support.boot("work", WORDS, 2, bindings={"x": (loom.f64, 3), "none": (loom.u8, 0)}, device=on)


def test_a_run_goes_on_from_a_checkpoint_with_the_same_bits(tmp_path: Path, on: str) -> None:
    with loom.Support() as support:
        unit = booted(support, on)
        unit.dispatch(fall, [0.9], groups=4)
        program = unit.build()
        for _ in range(3):
            program.launch()
        unit.write([0.1, np.nan, -0.0], binding="x")
        saved = support.checkpoint(tmp_path / "run", facts={"step": 3})
        for _ in range(4):
            program.launch()
        expected = unit.read().tolist()
        saved.result(20)
    with loom.Support() as support:
        unit = booted(support, on)
        unit.fill(7)
        assert support.resume(tmp_path / "run").result(20) == {"step": 3}
        bits = unit.read(binding="x").view(np.uint64).tolist()
        assert bits == np.array([0.1, np.nan, -0.0]).view(np.uint64).tolist()
        unit.dispatch(fall, [0.9], groups=4)
        program = unit.build()
        for _ in range(4):
            program.run()
        assert unit.read().tolist() == expected


def test_a_checkpoint_moves_between_devices(tmp_path: Path, on: str) -> None:
    for device, action in ((on, "checkpoint"), ("interp", "resume")):
        with loom.Support() as support:
            unit = support.boot("work", 4, device=device)
            if action == "checkpoint":
                unit.write([1, 2, 3, 4], binding="registers")
            getattr(support, action)(tmp_path).result(20)
            assert unit.read().tolist() == [1, 2, 3, 4]


def test_whatever_step_fails_a_whole_checkpoint_is_there(tmp_path: Path) -> None:
    """Fails each step in turn, the disk staying dead, as when the machine stops; then reads what is there."""
    units = {name: loom.boot(2, 3, name=name) for name in ("a", "b")}

    def fill(value: int) -> None:
        for n, unit in enumerate(units.values()):
            for binding in ("registers", "globals"):
                unit.fill(value + n, binding=binding)

    def found() -> Any:
        facts = read_checkpoint(tmp_path, units)
        values = [{*u.read().tolist(), *u.read(binding="globals").tolist()} for u in units.values()]
        assert values == [{facts}, {facts + 1}]
        return facts

    steps, done = 0, False
    texts: set[str] = set()
    fill(100)
    write_checkpoint(tmp_path, units, 100, lambda: None)
    while not done:
        old, new = 100 + 10 * steps, 110 + 10 * steps
        fill(new)
        disk = FaultyDisk(steps)
        try:
            write_checkpoint(tmp_path, units, new, lambda: None, disk)
            done = disk.steps <= disk.fails_at  # no step failed: all steps have been tried
        except CheckpointError as error:
            texts.add(str(error).replace(f"step {steps}", "step N"))
        # the manifest may have its name already when the step after it fails
        assert found() in (old, new)
        fill(new)
        write_checkpoint(tmp_path, units, new, lambda: None)
        assert found() == new
        steps += 1
    assert texts == {
        f"[support.checkpoint] cannot write to {str(tmp_path)!r} (the disk failed at step N). "
        "The checkpoint before is still there."
    }
    assert steps > 12  # 2 x 2 data files and the manifest: write, sync, rename, sync folder each
    for unit in units.values():
        unit.shutdown()


def test_only_the_files_of_the_last_checkpoint_stay(tmp_path: Path) -> None:
    with loom.Support() as support:
        unit = support.boot("work", 4, 4)
        for n in range(3):
            unit.fill(n)
            support.checkpoint(tmp_path).result(20)
    assert len(list(tmp_path.glob("*.blob"))) == 2
    assert len(os.listdir(tmp_path)) == 3


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    with loom.Support() as support:
        unit = support.boot("work", 4, 1000)
        support.checkpoint(tmp_path).result(20)
        before = {p.name: p.stat().st_ino for p in tmp_path.glob("*.blob")}
        unit.fill(1)
        support.checkpoint(tmp_path).result(20)
        after = {p.name: p.stat().st_ino for p in tmp_path.glob("*.blob")}
        assert len(before.keys() & after.keys()) == 1
        assert all(before[name] == after[name] for name in before.keys() & after.keys())


def broken(tmp_path: Path, how: str) -> None:
    blob = sorted(tmp_path.glob("*.blob"))[0]
    manifest = tmp_path / "manifest.json"
    if how == "torn":
        blob.write_bytes(blob.read_bytes()[:-1])
    elif how == "flipped":
        data = bytearray(blob.read_bytes())
        data[0] ^= 1
        blob.write_bytes(data)
    elif how == "missing":
        blob.unlink()
    elif how == "no manifest":
        manifest.unlink()
    elif how == "not json":
        manifest.write_text("{")
    elif how == "foreign":
        manifest.write_text("[1, 2]")
    elif how == "format":
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    elif how == "outside":
        manifest.write_text(manifest.read_text().replace(blob.stem, "../" + "a" * 61))


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("torn", "bytes that are not those written"), ("flipped", "bytes that are not those written"),
        ("missing", ".blob is missing"), ("no manifest", "manifest.json is missing"),
        ("not json", "Expecting property"), ("foreign", "no manifest"),
        ("format", "format 99, not 1"), ("outside", "is no name of a data file"),
    ],
)  # fmt: skip
def test_a_broken_checkpoint_changes_nothing(tmp_path: Path, how: str, text: str) -> None:
    with loom.Support() as support:
        unit = support.boot("work", 4, 4)
        unit.fill(1)
        support.checkpoint(tmp_path).result(20)
        unit.fill(2)
        broken(tmp_path, how)
        with pytest.raises(CheckpointError) as caught:
            support.resume(tmp_path).result(20)
        message = str(caught.value)
        assert message.startswith(f"[support.resume] no sound checkpoint in {str(tmp_path)!r} (")
        assert text in message
        assert message.endswith("Resume from another; no unit was changed.")
        assert set(unit.read().tolist()) == {2}


def test_other_units_are_refused(tmp_path: Path) -> None:
    with loom.Support() as support:
        support.boot("work", 4).fill(1)
        support.checkpoint(tmp_path).result(20)
    with loom.Support() as support:
        unit = support.boot("work", 5)
        with pytest.raises(CheckpointError) as caught:
            support.resume(tmp_path).result(20)
        assert str(caught.value) == (
            f"[support.resume] the checkpoint in {str(tmp_path)!r} is of other units: "
            "expected unit 'work' with registers: 16 bytes, globals: 0 bytes, "
            "got unit 'work' with registers: 20 bytes, globals: 0 bytes. "
            "Boot the units as they were when it was written."
        )
        assert set(unit.read().tolist()) == {0}
        support.boot("more", 1)
        with pytest.raises(CheckpointError, match=r"expected no unit 'more', got unit 'more' with"):
            _resume_all(support, tmp_path, unit)


def _resume_all(support: loom.Support, folder: Path, odd: loom.Unit) -> None:
    """Resume with the unit of the wrong size gone and one too many."""
    odd.shutdown()
    support.boot("work", 4)
    support.resume(folder).result(20)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with loom.Support() as support:
        support.boot("work", 1)
        with pytest.raises(CheckpointError, match=r"\[support.checkpoint\] cannot write to"):
            support.checkpoint(tmp_path / "file").result(20)


def test_facts_are_what_json_holds(tmp_path: Path) -> None:
    with loom.Support() as support:
        support.boot("work", 1)
        facts = {"step": 10**30, "loss": 0.1, "names": ["ä", None]}
        support.checkpoint(tmp_path, facts=facts).result(20)
        assert support.resume(tmp_path).result(20) == facts
        with pytest.raises(ArgumentError, match="facts that JSON cannot hold"):
            support.checkpoint(tmp_path, facts=float("nan"))


def test_a_folder_is_meant_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    store = loom.vectors.VectorStore(dims=2)
    store.capture("a", [1.0, 2.0])
    with loom.Support() as support:
        support.boot("work", registers=2)
        gate = threading.Event()
        support._io.ask("wait", lambda _: gate.wait(30))
        monkeypatch.chdir(tmp_path)
        asked = [support.checkpoint("state"), support.flush(store, "vectors"), support.resume("state")]
        monkeypatch.chdir(tmp_path / "below")
        gate.set()
        for transfer in asked:
            transfer.result(30)
    assert (tmp_path / "state").is_dir()
    assert len(loom.vectors.restore(tmp_path / "vectors")) == 1
