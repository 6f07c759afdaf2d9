"""The conformance cases on machines that are not this one: built for them, run in wasmtime or under qemu.

One test builds and runs a batch of cases as one program. Always: a choice of cases; with ``make prove``: all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import conformance.cases  # noqa: F401 (registers them)
from conformance.cases.language.random_kernels import FAST_SEEDS, SEEDS
from conformance.images import Image
from conformance.machines import EMULATORS, ZIG_TARGETS, build, run_program
from conformance.running import CASES, SLOW, bits_of, load_case, reference_bits, require_same, theme
from loom.targets.base import Bounds

_OFTEN = {
    "operations": 1, "convert": 1, "select": 1, "bool": 1, "halves": 1, "memory": 6, "control": 3, "barriers": 9,
    "loops": 7, "vectors": 6, "shapes": 9, "strides": 4, "atomics": 5, "probe": 8, "constant-right": 6,
    "functions": 5, "signals": 25, "sorting": 15, "sorting-threads": 12, "threads": 12, "tensors": 5,
    "literals": 12, "edges": 12, "written": 4,
}  # fmt: skip
"""Every how many cases of a theme one is always run."""
_BATCH = 30


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _BATCH):
        yield list(names[start : start + _BATCH])


def _chosen() -> list[str]:
    seen: dict[str, int] = {}
    chosen = []
    for name in CASES:
        about = theme(name)
        turn = seen[about] = seen.get(about, -1) + 1
        if about in _OFTEN and turn % _OFTEN[about] == 0:
            chosen.append(name)
    return chosen


def _takes_long(name: str) -> bool:
    """LLVM takes 2 to 60 seconds for each of these on AArch64, which make prove alone spends."""
    scans = name.startswith(("threads/scan-", "threads/segment-")) and not name.endswith("-across")
    return scans or name.startswith("sorting-threads/row-")


_BESIDE = ["threads/scan-totals-sum-across", "threads/scan-sum-i8-across"]
"""Scans of the same schedules that are quick to compile."""
_LIBRARY = [n for n in CASES if theme(n) == "library" and n not in SLOW]
_ALWAYS = [*_chosen(), *_BESIDE, *_LIBRARY[::26], *(f"random/{s}" for s in FAST_SEEDS[::12])]
_ALL = [n for n in CASES if theme(n) != "random"] + [f"random/{s}" for s in SEEDS[:300]]


def _label(batch: list[str]) -> str:
    return f"{batch[0]}..{batch[-1]}"


def _compare(machine: str, names: Sequence[str], bounds: Bounds, folder: Path) -> None:
    if machine in EMULATORS and shutil.which(EMULATORS[machine]) is None:
        pytest.skip(f"{EMULATORS[machine]} is not installed, so nothing can be run for {machine}")
    cases = [load_case(name) for name in names]
    images = [Image(found) for found in cases]
    program = build(machine, [found.kernel for found in cases], bounds, folder)
    left = run_program(machine, program, images)
    wrong = []
    for name, found, image, memory in zip(names, cases, images, left, strict=False):
        try:
            arrays = image.buffers(memory)
            for about, array, wanted in zip(found.kernel.buffers, arrays, reference_bits(name), strict=True):
                require_same(bits_of(array, about.dtype), wanted, f"{name} on {machine}, buffer {about.name!r}")
        except AssertionError as error:
            wrong.append(str(error))
    assert len(left) == len(names), f"the program stopped in {names[len(left)]}, before it {wrong}"
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("machine", ZIG_TARGETS)
@pytest.mark.parametrize("batch", list(_batches(_ALWAYS)), ids=_label)
def test_bits(batch: list[str], machine: str, tmp_path: Path) -> None:
    names = [name for name in batch if machine != "aarch64" or not _takes_long(name)]
    _compare(machine, names, Bounds.CHECKED, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("machine", ZIG_TARGETS)
@pytest.mark.parametrize("batch", list(_batches(_ALL)), ids=_label)
def test_bits_of_all(batch: list[str], machine: str, tmp_path: Path) -> None:
    _compare(machine, batch, Bounds.CHECKED, tmp_path)


_ONCE = [name for name in CASES if theme(name) != "random"]
"""No random kernel is trusted; of the others, only the case itself, which takes long to build, knows it."""


@pytest.mark.slow
@pytest.mark.parametrize("machine", ZIG_TARGETS)
@pytest.mark.parametrize("batch", list(_batches(_ONCE)), ids=_label)
def test_bits_of_trusted(batch: list[str], machine: str, tmp_path: Path) -> None:
    trusted = [name for name in batch if "trusted" in load_case(name).modes]
    if not trusted:
        pytest.skip("no kernel of this batch may be trusted")
    _compare(machine, trusted, Bounds.TRUSTED, tmp_path)


def test_choice_has_every_theme() -> None:
    assert {theme(name) for name in _ALWAYS} >= {theme(name) for name in CASES} - {"bitcast", "constant-left"}
