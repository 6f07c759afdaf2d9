"""The self-test: its probes are right, and each finding changes how kernels are written.

Oracle: the CPU device, whose arithmetic is IEEE 754's, for what probes expect; the probes for every replacement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.dtype import f32, f64, i32, i64, u32, u64
from loom.core.errors import DeviceError
from loom.core.numerics import canonical_bits
from loom.runtime.drivers.probes import samples
from loom.runtime.drivers.probes.probe import Probe
from loom.runtime.drivers.probes.probes import PROBES
from loom.runtime.drivers.vulkan.handles.opened import adapter_features
from loom.runtime.drivers.vulkan.selftest import levels as selftest
from loom.runtime.drivers.vulkan.selftest.levels import LADDERS, find_features
from loom.targets.base.opaque_values import Knowledge

OPERATIONS = list(dict.fromkeys(p.operation for p in PROBES))


def test_every_operation_has_a_ladder() -> None:
    assert {ladder.operation for ladder in LADDERS} == set(OPERATIONS)
    assert len(LADDERS) == len(OPERATIONS)


def run_probe(device: Any, probe: Probe) -> np.ndarray[Any, Any]:
    inputs = probe.inputs()
    expected = probe.expected(*inputs)
    storages = [device.allocate(a.nbytes) for a in (*inputs, expected)]
    for storage, array in zip(storages, inputs, strict=False):
        storage.write(0, np.ascontiguousarray(array).view(np.uint8))
    chain = loom.Chain(device)
    chain.dispatch(probe.make(), storages, [], probe.groups or -(-len(expected) // 64))
    chain.build().run()
    return canonical_bits(storages[-1].read(0, expected.nbytes).view(expected.dtype)) != canonical_bits(expected)


@pytest.mark.parametrize("number", range(len(PROBES)), ids=lambda n: f"{n} {PROBES[n].operation}")
def test_probes_expect_what_the_cpu_computes(number: int) -> None:
    assert not run_probe(loom.device("cpu"), PROBES[number]).any()


def test_integers_to_floats_are_rounded_to_nearest() -> None:
    """Numpy converts as exact arithmetic does, so that probes may expect what it gives."""
    for source, target in ((u32, f32), (i32, f32), (u64, f32), (i64, f32), (u64, f64), (i64, f64)):
        for whole in samples.wholes(source, target)[:400]:
            near = whole.astype(target.numpy)
            error = abs(Fraction(float(near)) - int(whole))
            for other in (np.nextafter(near, target.numpy.type(s)) for s in (-np.inf, np.inf)):
                away = abs(Fraction(float(other)) - int(whole))
                even = int(near.view(f"u{target.nbytes}")) % 2 == 0
                assert error < away or (error == away and even)


def from_a_tie(exact: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return how far results of f32 are from halfway between two floats, in units of the last place."""
    near = exact.astype(np.float32)
    unit = np.spacing(near).astype(np.float64)
    return np.abs(np.abs(exact - near) / unit - 0.5)


def test_samples_meet_ties() -> None:
    x, y = samples.quotients(np.dtype(np.float32))
    assert (from_a_tie(x[:2048].astype(np.float64) / y[:2048]) < 2.0**-20).sum() > 200
    roots = np.sqrt(samples.squares(np.dtype(np.float32))[:2048].astype(np.float64))
    assert (from_a_tie(roots) < 2.0**-7).sum() > 1000


REPLACEMENTS = {
    "division": {"exact_division": False}, "roots": {"exact_roots": False}, "rounding": {"exact_rounding": False},
    "conversions": {"exact_conversions": False, "exact_wide_conversions": False}, "order": {"exact_order": False},
    "products": {"uncontracted": False}, "vectors": {"whole_vectors": 32}, "loops": {"whole_loops": False},
    "table": {"push_nbytes": 0}, "literals": {"exact_literals": False},
}  # fmt: skip


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_replacements_are_exact(other: Callable[..., Any], name: str) -> None:
    device = other(REPLACEMENTS[name])
    for probe in PROBES:
        literal = "literals" in probe.operation or "worked out" in probe.operation
        if probe.operation != "long loops" and (not literal or name in ("literals", "products")):
            assert not run_probe(device, probe).any(), probe.operation


MISUSED = [f"{t} {n}" for t in ("f32", "f16", "f64") for n in ("mul with literals", "zeros worked out")]


@pytest.mark.parametrize("operation", [*MISUSED, *(f"{t} select of literals" for t in ("f32", "f16", "f64"))])
def test_probes_meet_a_driver_that_folds(
    other: Callable[..., Any], operation: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Mesa's lavapipe takes x * 0.0 for 0.0, and a choice between 1.0 and -0.0 for one between 1.0 and 0.0."""
    monkeypatch.setenv("LOOM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(Knowledge, "may_be_one", lambda *_: False)
    device = other({"exact_literals": True})
    if "llvmpipe" not in device.adapter.name:
        pytest.skip("only lavapipe is known to fold")
    (probe,) = [p for p in PROBES if p.operation == operation]
    assert run_probe(device, probe).any()


def test_what_is_hidden_from_the_driver_is_right(vulkan: Any) -> None:
    for probe in PROBES:
        if "literals" in probe.operation or "worked out" in probe.operation:
            assert not run_probe(vulkan, probe).any(), probe.operation


def found_when_wrong(
    device: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, wrong: Callable[[str, Any], bool]
) -> tuple[Any, dict[str, str]]:
    """Run the self-test of a device that fails where ``wrong`` (of operation and features) says so."""
    monkeypatch.setenv("LOOM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(selftest, "_passes", lambda device, probe: not wrong(probe.operation, device.features))
    features, findings = find_features(device)
    return features, dict(findings.operations)


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ("f32 division", "exact_division"), ("f32 square root", "exact_roots"), ("f32 rounding", "exact_rounding"),
        ("integers to floats", "exact_conversions"), ("64-bit integers to floats", "exact_wide_conversions"),
        ("i64 order", "exact_order"), ("f32 contraction", "uncontracted"),
        ("64-bit atomics", "int64_atomics"), ("long loops", "whole_loops"),
        ("f32 mul with literals", "exact_literals"), ("f64 zeros worked out", "exact_literals"),
        ("f32 select of literals", "exact_literals"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_replaced(
    other: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any, operation: str, field: str
) -> None:
    device = other()
    device.use(adapter_features(device.adapter))
    wrong = lambda about, features: about == operation and getattr(features, field)  # noqa: E731
    features, operations = found_when_wrong(device, monkeypatch, tmp_path, wrong)
    assert features == replace(adapter_features(device.adapter), **{field: False})
    assert [name for name, how in operations.items() if how != "native"] == [operation]


def test_what_cannot_be_put_right_costs_a_type(
    other: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    device = other()
    if "f64" not in device.features.types:
        pytest.skip("the device has no f64")
    features, operations = found_when_wrong(device, monkeypatch, tmp_path, lambda about, _: about == "f64 division")
    assert features.types == tuple(t for t in device.adapter.types if t != "f64")
    assert operations["f64 division"] == "wrong: type left out"
    assert operations["f64 square root"] == operations["f64 conversions"] == "none"


def test_subnormals_are_asked_for_where_they_are_flushed(
    other: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """An H200 says that it cannot keep subnormals, and keeps them if asked."""
    device, mode = other(), ("DenormPreserve", 32)
    modes = tuple(m for m in device.features.modes if m != mode)
    device.use(replace(device.features, modes=modes))
    features, operations = found_when_wrong(
        device, monkeypatch, tmp_path, lambda about, features: about == "f32 mul" and mode not in features.modes
    )
    assert features.modes == (*modes, mode)
    assert operations["f32 mul"] == "subnormals asked for, though not offered"


@pytest.mark.parametrize("operation", ["u32 arithmetic", "f32 add", "f32 division", "partial vectors", "short loops"])
def test_what_cannot_be_put_right_costs_the_device(
    other: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any, operation: str
) -> None:
    device = other()
    with pytest.raises(DeviceError) as caught:
        found_when_wrong(device, monkeypatch, tmp_path, lambda about, _: about == operation)
    assert str(caught.value) == (
        f"[device 'other'] {device.adapter.name} computes {operation} wrongly, and it cannot be put right: expected "
        "the bits of IEEE 754. Use another device, or another driver."
    )


def test_everything_that_is_wrong_is_told(
    other: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    device, wrong = other(), ("f32 add", "f32 mul", "f32 select of literals")
    with pytest.raises(DeviceError) as caught:
        found_when_wrong(device, monkeypatch, tmp_path, lambda about, _: about in wrong)
    assert "computes f32 add, f32 mul, f32 select of literals wrongly, and it cannot be put right" in str(caught.value)
    assert list(tmp_path.iterdir()) == [], "nothing is kept of a device that is refused"


def test_a_mode_that_does_harm_is_left_out(
    other: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    features, operations = found_when_wrong(
        other(), monkeypatch, tmp_path, lambda about, features: about == "f32 mul" and bool(features.modes)
    )
    assert features.modes == ()
    assert operations["f32 mul"] == "without float controls"


def test_findings_are_kept(other: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    device = other()
    first = found_when_wrong(device, monkeypatch, tmp_path, lambda about, _: about == "64-bit atomics")
    assert first[1]["64-bit atomics"] == "none"
    (path,) = tmp_path.glob("*.vkfound")
    features, findings = selftest._read(path) or (None, None)
    assert features == first[0]
    assert findings is not None
    assert dict(findings.operations) == first[1]
    assert selftest._read(path) is not None
    path.write_text(path.read_text()[:-2])
    assert selftest._read(path) is None


def test_a_loop_that_the_driver_ends_is_a_fault(vulkan: Any) -> None:
    if vulkan.features.whole_loops:
        pytest.skip("this driver ends no loop before its time")

    @loom.kernel(workgroup=1)
    def long(x: loom.InOut[loom.u32], turns: loom.u32) -> None:
        for n in range(turns):
            if x[0] == n:
                x[0] = x[0] + 1
            else:
                continue

    chain = loom.Chain(vulkan)
    storage = vulkan.allocate(4)
    chain.dispatch(long, [storage], [60_000], 1)
    chain.build().run()
    assert storage.read(0, 4).view(np.uint32)[0] == 60_000
    chain.dispatch(long, [storage], [2_000_000], 1)
    with pytest.raises(loom.core.errors.KernelFault) as caught:
        chain.build().run()
    assert str(caught.value) == (
        "[kernel 'long'] the device ended a loop before its time: expected a loop of any number of turns, got a driver "
        "that limits them. Let each lane do less, or use another device."
    )
