"""The conformance cases where lanes are threads: the bits are the interpreter's, what kernels tell the host the CPU's.

Always: a choice of cases of every theme; with ``make prove``: all of them, and hundreds of random kernels. Cases of
more buffers than the device binds at once are skipped by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

import conformance.cases  # noqa: F401 (registers them)
from conformance.cases.language.random_kernels import FAST_SEEDS, SEEDS
from conformance.running import CASES, SLOW, Case, Target, conform, execute, load_case, theme
from loom.core.errors import DeviceError, KernelError, KernelFault
from loom.runtime.registry import device

pytestmark = pytest.mark.needs("threads")
_OFTEN = {
    "memory": 9,
    "control": 5,
    "barriers": 9,
    "loops": 13,
    "atomics": 7,
    "library": 41,
    "sorting": 29,
    "literals": 1,
    "operations": 1,
}
_BATCH = 20


def _chosen() -> list[str]:
    """Return every few cases of a theme."""
    seen: dict[str, int] = {}
    chosen = []
    for name in CASES:
        about = theme(name)
        if about == "random" or name in SLOW:
            continue
        turn = seen[about] = seen.get(about, -1) + 1
        if turn % _OFTEN.get(about, 23) == 0:
            chosen.append(name)
    return chosen


_KNOWN = ["barriers/for-nested-12", "sorting/middle-2", "library/gather-i32"]
"""What Mesa's lavapipe got wrong: spare lanes that run, loops that end early, i64 compared with a constant."""
_ALWAYS = list(dict.fromkeys([*_KNOWN, *_chosen(), *(f"random/{s}" for s in FAST_SEEDS[::12])]))
_ALL = [n for n in CASES if theme(n) != "random"] + [f"random/{s}" for s in SEEDS[:300]]


_REFUSALS = "WGSL has no 64-bit atomics", "too much shared memory"


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _BATCH):
        yield list(names[start : start + _BATCH])


def _label(batch: list[str]) -> str:
    return f"{batch[0]}..{batch[-1]}"


def _compare(on: str, names: Sequence[str], mode: str) -> None:
    wrong = []
    for name in names:
        found = load_case(name)
        if found.in_order or not _holds(device(on), found):
            continue  # test_a_case_of_too_many_buffers_is_refused
        try:
            conform(name, Target(on), [mode])
        except (AssertionError, DeviceError, KernelFault, KernelError) as error:
            if not any(refusal in str(error) for refusal in _REFUSALS):
                wrong.append(f"{name}: {error}")
    assert not wrong, "\n".join(wrong)


def _holds(place: Any, found: Case) -> bool:
    """Tell whether a device takes as many buffers as a case has."""
    return len(found.kernel.buffers) + 2 <= place.describe().limits.get("buffers", 1000)


@pytest.mark.parametrize("batch", list(_batches(_ALWAYS)), ids=_label)
def test_bits(on: str, batch: list[str]) -> None:
    _compare(on, batch, "checked")


def test_bits_of_trusted_kernels(on: str) -> None:
    _compare(on, _ALWAYS[::5], "trusted")


def test_bits_under_reports(on: str) -> None:
    _compare(on, _ALWAYS[1::9], "reported")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["checked", "trusted", "reported"])
@pytest.mark.parametrize("batch", list(_batches(_ALL)), ids=_label)
def test_bits_of_all(on: str, batch: list[str], mode: str) -> None:
    _compare(on, batch, mode)


def test_a_case_of_too_many_buffers_is_refused(on: str) -> None:
    found = load_case("constant-left/u32")
    if _holds(device(on), found):
        conform("constant-left/u32", Target(on), ["checked"])
        return
    with pytest.raises(DeviceError, match="too many buffers: expected at most"):
        execute(found.kernel, found.buffers, found.params, found.groups, on=on)


def test_choice_has_every_theme() -> None:
    assert {theme(name) for name in _ALWAYS} == {theme(name) for name in CASES}
