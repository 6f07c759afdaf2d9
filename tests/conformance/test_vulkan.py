"""The conformance cases on Vulkan: the bits are the interpreter's, what kernels tell the host is the CPU's.

Always: a choice of cases of every theme; with ``make prove``: all of them, and hundreds of random kernels. Cases of
more buffers than the device binds at once are skipped by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import conformance.cases  # noqa: F401 (registers them)
from conformance.cases.language.random_kernels import FAST_SEEDS, SEEDS
from conformance.gpu import conform_on, run_on, vulkan_device
from conformance.running import CASES, SLOW, Target, environment, load_case, theme, verified
from loom.core.errors import DeviceError, KernelFault
from loom.proof import attestation
from loom.proof.attestation import verify
from loom.proof.cases import cases_of
from loom.proof.golden import golden
from loom.targets.base import Bounds
from loom.targets.spirv.known import Knowledge
from tests.conformance.test_messages import MESSAGES, _run, _told

pytestmark = pytest.mark.wide
_OFTEN = {
    "memory": 9,
    "control": 5,
    "barriers": 9,
    "loops": 13,
    "atomics": 7,
    "library": 41,
    "sorting": 29,
    "literals": 1,
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


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _BATCH):
        yield list(names[start : start + _BATCH])


def _label(batch: list[str]) -> str:
    return f"{batch[0]}..{batch[-1]}"


def _compare(names: Sequence[str], mode: str) -> None:
    device, wrong = vulkan_device(), []
    for name in names:
        found = load_case(name)
        if found.in_order or (mode != "checked" and mode not in found.modes):
            continue
        if len(found.kernel.buffers) + 2 > device.adapter.limits["buffers"]:
            continue  # test_a_case_of_too_many_buffers_is_refused
        try:
            kernel = replace(found.kernel, trusted=mode != "checked")
            conform_on(device, name, found, kernel, reported=mode == "reported")
        except (AssertionError, DeviceError, KernelFault) as error:
            wrong.append(f"{name}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("batch", list(_batches(_ALWAYS)), ids=_label)
def test_bits(batch: list[str]) -> None:
    _compare(batch, "checked")


def test_bits_of_trusted_kernels() -> None:
    _compare(_ALWAYS[::5], "trusted")


def test_bits_under_reports() -> None:
    _compare(_ALWAYS[1::9], "reported")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["checked", "trusted", "reported"])
@pytest.mark.parametrize("batch", list(_batches(_ALL)), ids=_label)
def test_bits_of_all(batch: list[str], mode: str) -> None:
    _compare(batch, mode)


def test_a_case_of_too_many_buffers_is_refused() -> None:
    device, found = vulkan_device(), load_case("constant-left/u32")
    if len(found.kernel.buffers) <= device.adapter.limits["buffers"]:
        conform_on(device, "constant-left/u32", found, found.kernel)
        return
    with pytest.raises(DeviceError) as caught:
        run_on(device, found.kernel, found.buffers, found.params, found.groups)
    assert "too many buffers: expected at most" in str(caught.value)


@pytest.mark.parametrize(
    "name", [n for n in MESSAGES if not n.startswith("bounds")] + ["bounds-buffer-load-i32--9-lane"]
)
def test_same_words(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines and faults are the interpreter's, but for the types: a fault names no lane that could be another."""
    _same_words(name, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in MESSAGES if n.startswith("bounds")])
def test_same_words_of_bounds(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _same_words(name, capsys)


def _same_words(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found, device = _run(name), vulkan_device()
    expected = _told(found, Target("interp"), capsys)
    fault: KernelFault | None = None
    with environment(LOOM_CHECK=1):
        try:
            run_on(device, found.kernel, found.buffers, found.params, found.groups)
        except KernelFault as error:
            fault = error
    assert capsys.readouterr().out == expected[0]
    if expected[1] is None:
        assert fault is None
        return
    assert type(fault) is expected[1]
    assert str(fault) == expected[2]["text"]


def test_choice_has_every_theme() -> None:
    assert {theme(name) for name in _ALWAYS} == {theme(name) for name in CASES}


def test_modules_of_both_bounds_differ() -> None:
    kernel = verified(load_case("memory/strided-and-scattered").kernel)
    from loom.targets.spirv.target import SpirvTarget

    assert SpirvTarget().compile(kernel, Bounds.CHECKED).data != SpirvTarget().compile(kernel, Bounds.REPORTED).data


@pytest.mark.parametrize("case", ["literals: mul f32", "literals: zeros worked out f64", "literals: select f16"])
def test_the_proof_is_red_where_a_driver_folds(case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The fault of Mesa's drivers, which its rung puts right: without the rung it is seen."""
    from loom.runtime.drivers.vulkan import VulkanDevice

    known = vulkan_device()
    if known.features.exact_literals:
        pytest.skip("this driver folds no literals")
    monkeypatch.setenv("LOOM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(Knowledge, "may_be_one", lambda *_: False)
    folding = VulkanDevice(known.adapter, "folding", tested=False)
    folding.use(replace(known.features, exact_literals=True))
    monkeypatch.setattr(attestation, "cases_of", lambda layer: [c for c in cases_of(layer) if c.name == case])
    found = verify(folding, layers=[1], fresh=True)
    folding.close()
    assert [d.split(": expected")[0] for d in found.differing] == [case]


def test_the_root_is_the_golden_one() -> None:
    """Operations, functions, patterns and networks, with the schedules of a GPU."""
    found = verify(vulkan_device(), fresh=True)
    assert found.differing == ()
    assert found.layers == golden().layers
