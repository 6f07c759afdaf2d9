"""SPIR-V of others in units: bound, pushed, ordered among Loom's own kernels, and refused with a reason.

Oracles: numpy on the same input, and the text the modules are assembled from (Khronos, spirv-as).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DeviceError, DTypeError, KernelError
from loom.targets.base import Bounds
from loom.targets.spirv.target import SpirvTarget

TEXT = (Path(__file__).parents[3] / "targets" / "spirv" / "saxpy.txt").read_text()
Assemble = Callable[..., bytes]


@loom.kernel(workgroup=8)
def double(registers: loom.InOut[loom.f32]) -> None:
    i = loom.global_id()
    if i < len(registers):
        registers[i] = registers[i] * 2.0


@pytest.fixture
def assemble(tmp_path: Path) -> Assemble:
    tool = shutil.which("spirv-as")
    if tool is None:
        pytest.skip("spirv-as is missing: install spirv-tools")

    def make(*pairs: tuple[str, str], version: str = "vulkan1.1") -> bytes:
        text = TEXT
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "text").write_text(text)
        command = [tool, "--target-env", version, str(tmp_path / "text"), "-o", str(tmp_path / "module.spv")]
        subprocess.run(command, check=True)
        return (tmp_path / "module.spv").read_bytes()

    return make


def test_order_of_buffers_parameters_and_waits(vulkan: Any, assemble: Assemble, tmp_path: Path) -> None:
    module = assemble()
    y, x = np.arange(16, dtype=np.float32), np.linspace(-1, 1, 16, dtype=np.float32)
    with loom.boot(16, 16, device=vulkan) as unit:
        unit.write(y, binding="registers")
        unit.write(x, binding="globals")
        unit.dispatch(module, [0.5, 10, 7, -3, 1 << 40], 2)
        unit.dispatch(double, groups=2)
        with unit.repeat(3, params=np.array([[1], [2], [4]], np.float32)) as turn:
            unit.dispatch(tmp_path / "module.spv", [turn.params[0], 12, 0, 1, 0], 2)
        program = unit.build()
        program.run()
        found = unit.read(dtype=np.float32)
    assert program.guarantee is loom.Guarantee.RUN_TO_RUN
    y[:10] = y[:10] + np.float32(0.5) * x[:10] + np.float32(-3) + np.float32(1 << 40)
    y *= 2
    for a in np.float32([1, 2, 4]):
        y[:12] = y[:12] + a * x[:12] + np.float32(1)
    np.testing.assert_array_max_ulp(found, y, 1)  # a multiply and an add may be one operation here


def test_typed_bindings_and_names(vulkan: Any, assemble: Assemble) -> None:
    module = assemble()
    data = np.ones(8, np.float32)
    with loom.boot(4, bindings={"x": data, "y": (loom.f32, 8)}, device=vulkan) as unit:
        unit.dispatch(module, [2.0, 8, 0, 0, 0], 1, bind={"binding 3": "x", "binding 1": "y"})
        unit.build(loom.Guarantee.RUN_TO_RUN).run()
        assert unit.read(binding="y").tolist() == [2.0] * 8


def test_a_module_of_loom(vulkan: Any) -> None:
    features = vulkan.features
    data = SpirvTarget(features).compile(double.verified, Bounds.TRUSTED).data
    with loom.boot(20, device=vulkan) as unit:
        unit.write(np.arange(20, dtype=np.float32), binding="registers")
        cuts = sum(most < (1 << 32) // lanes for most, lanes in zip(features.most_groups, (8, 1, 1), strict=True))
        unit.dispatch(data, [20, 0, 3, 1, 1, *[0] * cuts], 3)  # length, number, groups, starts
        unit.build().run()
        assert unit.read(dtype=np.float32).tolist() == [2.0 * n for n in range(20)]


def test_what_is_read_only_must_not_be_written(vulkan: Any, assemble: Assemble) -> None:
    with loom.boot(8, heap=np.ones(8, np.float32), device=vulkan) as unit:
        unit.dispatch(assemble(), [1.0, 8, 0, 0, 0], 1, bind={"binding 1": "registers", "binding 3": "heap"})
        with pytest.raises(ArgumentError, match=r"the kernel writes 'binding 1', bound to 'heap': expected a writable"):
            unit.dispatch(assemble(), [1.0, 8, 0, 0, 0], 1, bind={"binding 1": "heap", "binding 3": "registers"})


WRONG: dict[str, tuple[Callable[[Any, bytes], Any], type[Exception], str]] = {
    "too few parameters": (
        lambda u, m: u.dispatch(m, [1.0]), ArgumentError,
        "kernel 'spirv' takes 5 parameters, and 'count', 'shift.x', 'shift.y', 'big' are not given: expected a: f32, "
        "count: u32, shift.x: i32, shift.y: i32, big: u64, got 1.",
    ),
    "a float for an integer": (
        lambda u, m: u.dispatch(m, [1.0, 1.5, 0, 0, 0]), DTypeError,
        "parameter 'count'] does not fit u32: expected a whole number (int), got 1.5.",
    ),
    "beyond its type": (
        lambda u, m: u.dispatch(m, [1.0, 1, 1 << 31, 0, 0]), ArgumentError,
        "parameter 'shift.x'] does not fit i32: expected -2147483648 to 2147483647, got 2147483648.",
    ),
    "indirect": (
        lambda u, m: u.dispatch_indirect(m, [1.0, 1, 0, 0, 0]), ArgumentError,
        "SPIR-V cannot be dispatched indirectly: expected a kernel of Loom's, got a module.",
    ),
    "no file": (
        lambda u, m: u.dispatch("no such.spv"), ArgumentError, "no SPIR-V file can be read there ([Errno 2]",
    ),
    "no module": (lambda u, m: u.dispatch(b"1234" * 9), KernelError, "[SPIR-V module 'spirv'] not a SPIR-V module:"),
    "bits asked for": (
        lambda u, m: (u.dispatch(m, [1.0, 1, 0, 0, 0], 1), u.build(loom.Guarantee.BIT_EXACT)), DeviceError,
        "the results cannot be promised so much: expected BIT_EXACT, got RUN_TO_RUN, for 'spirv' is not Loom's code.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name: str, vulkan: Any, assemble: Assemble) -> None:
    call, error, message = WRONG[name]
    with loom.boot(8, 8, device=vulkan) as unit, pytest.raises(error) as caught:
        call(unit, assemble())
    assert message in str(caught.value)


LACKING = {
    "a capability": (("OpCapability Int64", "OpCapability Int64\nOpCapability VariablePointers"), "number 4442"),
    "an extension": (("OpMemoryModel", 'OpExtension "SPV_KHR_ray_query"\nOpMemoryModel'), "SPV_KHR_ray_query"),
}


@pytest.mark.parametrize("name", LACKING)
def test_what_the_device_lacks(name: str, vulkan: Any, assemble: Assemble) -> None:
    change, got = LACKING[name]
    with loom.boot(8, 8, device=vulkan) as unit:
        unit.dispatch(assemble(change), [1.0, 8, 0, 0, 0], 1)
        with pytest.raises(DeviceError) as caught:
            unit.build()
    assert f"the device lacks {name}: expected" in str(caught.value)
    assert str(caught.value).endswith(f"got {got}. Compile for Vulkan 1.1 without it.")


@pytest.mark.parametrize("version", ["vulkan1.1", "vulkan1.2", "vulkan1.3"])
def test_modules_as_new_as_the_device(vulkan: Any, assemble: Assemble, version: str) -> None:
    """SPIR-V 1.3, 1.5 and 1.6; from 1.4 on the entry point lists all it uses."""
    newer = () if version == "vulkan1.1" else (('"saxpy" %id', '"saxpy" %id %x %y %push'),)
    module = assemble(*newer, version=version)
    with loom.boot(8, 8, device=vulkan) as unit:
        unit.write(np.arange(8, dtype=np.float32))
        unit.dispatch(module, [2.0, 8, 0, 0, 0], 1)
        if (module[6], module[5]) > vulkan.adapter.spirv:
            with pytest.raises(DeviceError, match=r"lacks this version of SPIR-V: expected at most 1\.\d, got 1\.\d"):
                unit.build()
            return
        unit.build().run()
        assert unit.read(0, 8, np.float32).tolist() == [2.0 * n for n in range(8)]


def test_a_module_newer_than_the_device(vulkan: Any, assemble: Assemble) -> None:
    module = bytearray(assemble())
    module[5] = 9
    newest = ".".join(map(str, vulkan.adapter.spirv))
    with loom.boot(8, 8, device=vulkan) as unit:
        unit.dispatch(bytes(module), [2.0, 8, 0, 0, 0], 1)
        with pytest.raises(DeviceError, match=f"lacks this version of SPIR-V: expected at most {newest}, got 1.9"):
            unit.build()


def test_limits_and_nothing_leaked(other: Any, assemble: Assemble) -> None:
    device = other(push_nbytes=16, workgroup_lanes=64, groups_x=3)
    small = (("%Push = OpTypeStruct %float %uint %v2int %long", "%Push = OpTypeStruct %float %uint %v2int"),)
    body = (("%pbig = OpAccessChain %pushLong %push %three\n%big = OpLoad %long %pbig\n", ""), ("%big\n", "%one\n"))
    marks = (('OpMemberName %Push 3 "big"\n', ""), ("OpMemberDecorate %Push 3 Offset 16\n", ""))
    fits = small + body + marks
    cases = [
        (assemble(), [1.0, 8, 0, 0, 0], 1, "too many push constants: expected at most 16 bytes, got 24"),
        (assemble(*fits, ("LocalSize 8", "LocalSize 128")), [1.0, 8, 0, 0], 1, "too many lanes: expected at most 64"),
        (assemble(*fits), [1.0, 8, 0, 0], 4, "more groups than the device takes: expected at most (3,"),
    ]
    for module, params, groups, message in cases:
        with loom.boot(8, 8, device=device) as unit:
            unit.dispatch(module, params, groups)
            with pytest.raises(DeviceError) as caught:
                unit.build()
            assert message in str(caught.value)
    assert device.live["ShaderModule"] == 1  # the one that was made, kept for the next build
    with loom.boot(8, 8, device=device) as unit:
        unit.dispatch(assemble(*fits), [1.0, 8, 0, 0], 3)
        unit.build().run()


@pytest.mark.parametrize("on", ["cpu", "interp"])
def test_other_devices(on: str, assemble: Assemble) -> None:
    with loom.boot(8, 8, device=on) as unit, pytest.raises(DeviceError) as caught:
        unit.dispatch(assemble(), [1.0, 8, 0, 0, 0])
    assert f"device '{on}' cannot run SPIR-V: expected a Vulkan device, got {on}. Boot with" in str(caught.value)
