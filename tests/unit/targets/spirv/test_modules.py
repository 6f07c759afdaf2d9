"""Modules are valid, small ones are these, and the same kernel gives the same bytes.

Oracles: the Khronos validator (spirv-val), and text of a module written out.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import conformance.cases  # noqa: F401 (registers them)
import loom
from bench.programs import blur, transpose
from conformance.running import CASES, load_case, theme
from conformance.writer import Writer
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import verify
from loom.targets.base import Bounds
from loom.targets.base.push_layout import push_layout
from loom.targets.spirv.features import Features
from loom.targets.spirv.lower import lower
from loom.targets.spirv.target import SpirvTarget

WORST = Features(
    push_nbytes=0, exact_division=False, exact_roots=False, exact_rounding=False, exact_conversions=False,
    exact_wide_conversions=False, exact_order=False, uncontracted=False, whole_vectors=8,
    whole_loops=False,
)  # fmt: skip
"""A device that does nothing right: every replacement is written."""
BOUNDS = [pytest.param(b, marks=pytest.mark.slow) if b is Bounds.INSIDE else b for b in Bounds]
"""Those of a launch proved inside are all but those of a trusted kernel."""
LIBRARY = [n for n in CASES if theme(n) in ("library", "sorting")]
OTHERS = [n for n in CASES if theme(n) not in ("library", "sorting", "random")]
RANDOM = [n for n in CASES if theme(n) == "random"]


@loom.kernel(workgroup=64)
def affine(x: loom.InOut[loom.f32], a: loom.f32) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * a + 1.0


def validate(kernels: list[VerifiedKernel], features: Features, bounds: Bounds, folder: Path) -> None:
    tool = shutil.which("spirv-val")
    if tool is None:
        pytest.skip("spirv-val is missing: install spirv-tools")
    wrong = []
    for n, kernel in enumerate(kernels):
        path = folder / f"{n}.spv"
        path.write_bytes(SpirvTarget(features).compile(kernel, bounds).data)
        done = subprocess.run(
            [tool, "--target-env", "vulkan1.1", str(path)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            wrong.append(f"{kernel.name}: {done.stdout}{done.stderr}")
    assert not wrong, "\n".join(wrong)


def kernels_of(names: list[str]) -> list[VerifiedKernel]:
    """Return the kernels of cases, each once."""
    return list({k.hash: k for k in (verify(load_case(n).kernel) for n in names)}.values())


@pytest.mark.parametrize("part", range(4))
def test_library_is_valid(part: int, tmp_path: Path) -> None:
    validate(kernels_of(LIBRARY[part::4]), Features(), Bounds.TRUSTED, tmp_path)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_library_is_valid_with_every_replacement(bounds: Bounds, tmp_path: Path) -> None:
    validate(kernels_of(LIBRARY[::11]), WORST, bounds, tmp_path)


@pytest.mark.parametrize("features", [Features(), WORST], ids=["best", "worst"])
def test_kernels_with_a_heap_are_valid(features: Features, tmp_path: Path) -> None:
    kernels = [k for k in kernels_of([*LIBRARY[::5], *OTHERS[::5]]) if k.kernel.private]
    assert len(kernels) > 20
    for bounds in (Bounds.TRUSTED, Bounds.REPORTED):
        validate(kernels, replace(features, private_nbytes=0), bounds, tmp_path)


@pytest.mark.parametrize("features", [Features(), WORST], ids=["best", "worst"])
def test_other_kernels_are_valid(features: Features, tmp_path: Path) -> None:
    validate(kernels_of(OTHERS[::17] + RANDOM[::150]), features, Bounds.CHECKED, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("features", [Features(), WORST], ids=["best", "worst"])
@pytest.mark.parametrize("part", range(10))
def test_all_kernels_are_valid(part: int, features: Features, bounds: Bounds, tmp_path: Path) -> None:
    validate(kernels_of((LIBRARY + OTHERS + RANDOM[:200])[part::10]), features, bounds, tmp_path)


def disassembled(data: bytes, folder: Path) -> list[str]:
    tool = shutil.which("spirv-dis")
    if tool is None:
        pytest.skip("spirv-dis is missing: install spirv-tools")
    path = folder / "module.spv"
    path.write_bytes(data)
    options = ["--no-color", "--no-header", "--no-indent", "--raw-id"]
    text = subprocess.run([tool, *options, str(path)], capture_output=True, text=True, check=True).stdout
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_small_module_is_this(tmp_path: Path) -> None:
    data = SpirvTarget().compile(affine.verified, Bounds.TRUSTED).data
    lines = disassembled(data, tmp_path)
    expected = (Path(__file__).parent / "affine.txt").read_text().splitlines()
    assert lines == expected
    assert struct.unpack_from("<5I", data)[:3] == (0x07230203, 0x00010300, 0)


def test_same_kernel_same_bytes() -> None:
    first, second = (hashlib.sha256(lower(affine.verified, Bounds.CHECKED, WORST).data).hexdigest() for _ in range(2))
    assert first == second


def test_every_float_operation_is_not_contracted(tmp_path: Path) -> None:
    for name in LIBRARY[::23]:
        lines = disassembled(SpirvTarget().compile(verify(load_case(name).kernel), Bounds.TRUSTED).data, tmp_path)
        kept = {line.split()[1] for line in lines if line.endswith(" NoContraction")}
        made = {
            x.split()[0] for x in lines if x.split()[2:3] and x.split()[2] in ("OpFAdd", "OpFSub", "OpFMul", "OpFDiv")
        }
        assert made == kept


def test_each_loop_has_a_flag_of_its_own_inside_their_array(tmp_path: Path) -> None:
    """Where a loop may be cut short; the driver cannot know the index, and no validator sees that it is outside."""
    k = Writer("loops", (64, 1, 1))
    out = k.buffer("out", loom.u32)
    with k.count(0, 3) as i:
        out[i] = i
        with k.count(0, i) as j:
            out[j] = i
    with k.count(0, 5) as i:
        out[i] = i
    data = SpirvTarget(Features(whole_loops=False)).compile(verify(k.finish()), Bounds.TRUSTED).data
    made = {w[0]: w[2:] for line in disassembled(data, tmp_path) if (w := line.split())[1:2] == ["="]}
    (flags,) = (n for n, w in made.items() if w[0] == "OpVariable" and made[made[w[1]][2]][0] == "OpTypeArray")
    size = int(made[made[made[made[flags][1]][2]][2]][2])
    sums = [made[w[3]] for w in made.values() if w[:3:2] == ["OpAccessChain", flags]]
    assert {w[0] for w in sums} == {"OpIAdd"}  # of what is zero, as only the host knows, and the flag's number
    numbers = [int(made[w[3]][2]) for w in sums]
    assert len(set(numbers)) == len(numbers) == 3
    assert max(numbers) < size


@pytest.mark.parametrize("dtype", [loom.u8, loom.i8, loom.u16, loom.i16], ids=str)
def test_narrow_loads_are_masked_by_what_only_the_host_knows(dtype: loom.DType, tmp_path: Path) -> None:
    @loom.kernel(workgroup=64)
    def widen(x: loom.In[dtype], y: loom.Out[loom.i32]) -> None:  # type: ignore[valid-type]
        y[loom.global_id()] = loom.i32(x[loom.group_id()])

    lines = disassembled(SpirvTarget().compile(widen.verified, Bounds.TRUSTED).data, tmp_path)
    made = {words[0]: words[2:] for line in lines if (words := line.split())[1:2] == ["="]}
    wide = next(name for name, words in made.items() if words[0] in ("OpUConvert", "OpSConvert"))
    assert made[wide][0] == "OpUConvert"
    mask = next(words[-1] for words in made.values() if words[0] == "OpBitwiseAnd" and wide in words)
    assert made[mask][0] == "OpBitwiseXor"
    zero = made[made[mask][-1]]  # the number of the dispatch, which has 31 bits, without those
    assert zero[0] == "OpShiftRightLogical"
    assert made[zero[2]][0] == "OpLoad"
    assert made[zero[3]][-1] == "31"


def test_layout_of_words() -> None:
    @loom.kernel(workgroup=(8, 4, 1))
    def several(x: loom.In[loom.f32], y: loom.Out[loom.f32], a: loom.u8, b: loom.f64, c: loom.i64) -> None:
        y[0] = x[0]

    kernel = several.verified.kernel
    layout = push_layout(kernel, Features(most_groups=(2**31 - 1, 65535, 65535)))
    assert (layout.params, layout.lengths, layout.number, layout.groups) == ((0, 1, 3), 5, 7, 8)
    assert layout.starts == (-1, 11, 12)  # at most 2^29 groups of 8 lanes along x: never cut
    assert (layout.words, layout.nbytes, layout.in_table) == (13, 52, False)
    assert push_layout(kernel, Features(push_nbytes=48)).in_table
    assert push_layout(kernel, Features(push_nbytes=48)).nbytes == 4


def test_fast_math_forbidden_at_once() -> None:
    """Words by hand, since validators of 2023 do not know SPV_KHR_float_controls2."""
    data = SpirvTarget(Features(no_fast_math=(32,))).compile(affine.verified, Bounds.CHECKED).data
    words, at, found = struct.unpack(f"<{len(data) // 4}I", data), 5, []
    while at < len(words):
        found.append((words[at] & 0xFFFF, words[at + 1 : at + (words[at] >> 16)]))
        at += words[at] >> 16
    main = next(w[1] for op, w in found if op == 15)
    f32 = next(w[0] for op, w in found if op == 22)
    zero = next(w[1] for op, w in found if op == 43 and w[2:] == (0,))
    assert [w for op, w in found if op == 331] == [(main, 6028, f32, zero)]  # OpExecutionModeId FPFastMathDefault None
    assert (17, (6029,)) in found  # OpCapability FloatControls2
    names = [struct.pack(f"<{len(w)}I", *w).rstrip(b"\0") for op, w in found if op == 10]
    assert names == [b"SPV_KHR_float_controls", b"SPV_KHR_float_controls2"]
    assert [w[1:] for op, w in found if op == 16] == [(17, 64, 1, 1), (4462, 32), (4459, 32)]  # no SignedZeroInfNan...
    assert not any(op == 71 and w[1] == 42 for op, w in found)  # no NoContraction


def test_modules_of_both_bounds_differ() -> None:
    kernel = verify(load_case("memory/strided-and-scattered").kernel)
    assert SpirvTarget().compile(kernel, Bounds.CHECKED).data != SpirvTarget().compile(kernel, Bounds.REPORTED).data


@pytest.mark.parametrize(("name", "instruction"), [("dot4_i8", "OpSDot"), ("dot4_u8i8", "OpSUDot")])
def test_dot_products_of_bytes_are_one_instruction_where_the_device_has_it(
    name: str, instruction: str, tmp_path: Path
) -> None:
    k = Writer(name, (64, 1, 1))
    x, y, out = k.read("x", loom.i32), k.read("y", loom.i32), k.buffer("out", loom.i32)
    i = k.global_id()
    out[i] = k.op(name, x[i], y[i], out[i])
    verified, features = verify(k.finish()), Features(dots=True)
    validate([verified], features, Bounds.CHECKED, tmp_path)
    text = SpirvTarget(features).compile(verified, Bounds.CHECKED, "asm").data.decode()
    assert f"{instruction} %uint" in text
    plain = SpirvTarget().compile(verified, Bounds.CHECKED, "asm").data.decode()
    assert "DotProduct" not in plain
    assert plain.count("OpIMul") == text.count("OpIMul") + 4


def test_a_launch_proved_inside_loads_short_vectors_whole_and_compares_no_index() -> None:
    """As a trusted kernel does, but for shared memory, which starts as zero."""
    sizes = {b: len(SpirvTarget(Features()).compile(blur.first.verified, b).data) for b in Bounds}
    assert sizes[Bounds.INSIDE] == sizes[Bounds.TRUSTED] < 0.7 * sizes[Bounds.CHECKED]
    sizes = {b: len(SpirvTarget(Features()).compile(transpose.first.verified, b).data) for b in Bounds}
    assert sizes[Bounds.TRUSTED] < sizes[Bounds.INSIDE] < sizes[Bounds.CHECKED]
