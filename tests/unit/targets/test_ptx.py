"""Corrections of PTX text: which instructions are replaced, by what, and what is left alone."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

import loom
from bench.programs import black_scholes, histogram, kmeans, nbody
from loom.targets.base import Bounds
from loom.targets.llvm.gpu.ptx import correct
from loom.targets.llvm.machine import machine
from loom.targets.llvm.target import LlvmTarget

NEGATED = "cvt.s32.s16 %wide, %rs1; neg.s32 %wide, %wide;"


@pytest.mark.parametrize(
    ("unsafe", "sound"),
    [
        ("neg.s16 \t%rs2, %rs1;", f"{{ .reg .b32 %wide; {NEGATED} cvt.u16.u32 %rs2, %wide; }}"),
        (
            "abs.s16 \t%rs2, %rs1;",
            f"{{ .reg .b32 %wide; .reg .b16 %half; {NEGATED} cvt.u16.u32 %half, %wide; max.s16 %rs2, %half, %rs1; }}",
        ),
        ("abs.s32 \t%r2, %r1;", "{ .reg .b32 %less; neg.s32 %less, %r1; max.s32 %r2, %less, %r1; }"),
        ("abs.s64 \t%rd7, %rd1;", "{ .reg .b64 %less; neg.s64 %less, %rd1; max.s64 %rd7, %less, %rd1; }"),
    ],
)
def test_unsafe_instructions_become_sound_ones(unsafe: str, sound: str) -> None:
    around = "\tadd.s32 \t%r3, %r2, 1;\n"
    assert correct(f"{around}\t{unsafe}\n{around}") == f"{around}\t{sound}\n{around}"


def test_everything_else_stays() -> None:
    text = "\tneg.s32 \t%r2, %r1;\n\tabs.f32 \t%f2, %f1;\n\tneg.s64 \t%rd2, %rd1;\n// neg.s16 %rs2, %rs1;\n"
    assert correct(text) == text


@pytest.mark.parametrize(
    ("chosen", "bits", "hidden"),
    [
        ("selp.f32 \t%f1, 0f3F800000, 0f80000000, %p1;", "0x3f800000", "selp.f32 \t%f1, %one0, 0f80000000, %p1;"),
        ("selp.b32 \t%r1, %r2, -1082130432, %p1;", "0xbf800000", "selp.b32 \t%r1, %r2, %one1, %p1;"),
        ("mov.b64 \t%rd1, 0d3FF0000000000000;", "0x3ff0000000000000", "mov.b64 \t%rd1, %one0;"),
    ],
)
def test_ones_that_are_chosen_come_out_of_memory(chosen: str, bits: str, hidden: str) -> None:
    text = f".version 8.0\n.address_size 64\n\n{{\n\t{chosen}\n}}\n"
    found = correct(text)
    assert ".address_size 64\n\n.visible .const .align 8 .u64 loom_$_hidden;" in found
    assert f", {bits}; {hidden} }}" in found
    assert found.count("ld.const") == 1


def test_other_numbers_and_sums_with_ones_stay_as_they_are() -> None:
    text = ".address_size 64\n\tadd.rn.f32 \t%f1, %f2, 0f3F800000;\n\tselp.f32 \t%f1, 0f40000000, 0f80000000, %p1;\n"
    assert correct(text) == text


def _loop(*body: str) -> str:
    return (
        "\tmov.b32 \t%r1, %r5;\n$L__BB0_4:\n"
        + "".join(f"{line}\n" if line.endswith(":") else f"\t{line};\n" for line in body)
        + "$L__BB0_7:\n\tret;\n"
    )


@pytest.mark.parametrize(
    "body",
    [
        ("add.s32 \t%r1, %r1, -2", "setp.lt.u32 \t%p4, %r1, -3", "@%p4 bra \t$L__BB0_4"),
        ("add.s64 \t%r1, %r1, -2", "setp.gt.u64 \t%p4, %r9, %r1", "@%p4 bra \t$L__BB0_4"),
        ("add.s32 \t%r1, %r1, 1", "setp.gt.u32 \t%p4, %r1, 5", "@%p4 bra \t$L__BB0_4"),
        ("setp.ge.u32 \t%p4, %r1, -3", "@%p4 bra \t$L__BB0_7", "add.s32 \t%r1, %r1, -2", "bra.uni \t$L__BB0_4"),
        ("setp.lt.u32 \t%p4, %r1, -3", "@!%p4 bra \t$L__BB0_7", "add.s32 \t%r1, %r1, -2", "bra.uni \t$L__BB0_4"),
        (  # what is compared is another number of the same counter, one of two conditions
            "add.s32 \t%r2, %r1, -2",
            "add.s32 \t%r3, %r1, -8",
            "cvt.u64.u32 \t%r4, %r3",
            "setp.lt.u64 \t%p4, %r4, 9",
            "and.pred \t%p5, %p3, %p4",
            "mov.b32 \t%r1, %r2",
            "@%p5 bra \t$L__BB0_4",
        ),
    ],
)
def test_loops_that_end_as_their_counter_wraps_are_not_unrolled(body: tuple[str, ...]) -> None:
    text = _loop(*body)
    assert correct(text) == text.replace("$L__BB0_4:\n", '$L__BB0_4:\n\t.pragma "nounroll";\n')
    assert correct(correct(text)) == correct(text)


def test_a_loop_is_found_wherever_its_blocks_stand() -> None:
    latch = "$L__BB0_3:", "add.s32 \t%r1, %r1, -2", "setp.lt.u32 \t%p4, %r1, -3", "@%p4 bra \t$L__BB0_5"
    text = _loop("bra.uni \t$L__BB0_5", *latch, "bra.uni \t$L__BB0_7", "$L__BB0_5:", "bra.uni \t$L__BB0_3")
    assert correct(text) == text.replace("$L__BB0_5:\n", '$L__BB0_5:\n\t.pragma "nounroll";\n')


@pytest.mark.parametrize(
    "body",
    [
        ("add.s32 \t%r1, %r1, 2", "setp.lt.u32 \t%p4, %r1, %r9", "@%p4 bra \t$L__BB0_4"),
        ("add.s32 \t%r1, %r1, -2", "setp.gt.s32 \t%p4, %r1, -1", "@%p4 bra \t$L__BB0_4"),
        ("add.s32 \t%r1, %r1, -1", "setp.ne.b32 \t%p4, %r1, 0", "@%p4 bra \t$L__BB0_4"),
        ("setp.lt.u32 \t%p4, %r1, 5", "@%p4 bra \t$L__BB0_7", "add.s32 \t%r1, %r1, -2", "bra.uni \t$L__BB0_4"),
        (  # a test of something else, and one that does not end the loop
            "setp.lt.u32 \t%p3, %r1, %r8",
            "@%p3 bra \t$L__BB0_5",
            "$L__BB0_5:",
            "add.s32 \t%r1, %r1, -2",
            "add.s32 \t%r4, %r5, -2",
            "setp.lt.u32 \t%p4, %r4, 7",
            "@%p4 bra \t$L__BB0_4",
        ),
    ],
)
def test_other_loops_stay(body: tuple[str, ...]) -> None:
    assert correct(_loop(*body)) == _loop(*body)


def written(kernel: Any, bounds: Bounds = Bounds.CHECKED, *, placed: bool = True) -> str:
    return LlvmTarget(replace(machine("ptx"), placed=placed)).compile(kernel.verified, bounds).data.decode()


def test_short_vectors_are_one_access_where_buffers_are_placed_well() -> None:
    assert {"ld.global.nc.v4.b32", "st.global.v4.b32"} <= set(re.findall(r"[ls][dt]\.global\S*", written(nbody.first)))
    assert ".v4" not in written(nbody.first, placed=False)


def test_indexes_of_32_bits_are_compared_as_such() -> None:
    wide = r"setp\.\w+\.[us]64"
    assert not re.search(wide, written(kmeans.first))
    assert re.search(wide, written(kmeans.first, placed=False)), "an array of any length takes 64"


def test_a_guard_is_the_check_of_what_it_guards() -> None:
    """``i < len(price)`` is not asked again for ``price[i]``: one comparison for each of the five arrays."""
    assert len(re.findall(r"setp\.\w+\.u32", written(black_scholes.first))) == 5


def test_only_what_is_never_written_comes_out_of_the_caches_of_constants() -> None:
    text = written(histogram.first)
    assert "ld.global.nc.b8" in text
    assert "ld.global.nc" not in written(histogram.clear)


def test_a_launch_proved_inside_checks_nothing_and_zeroes_shared_memory() -> None:
    checked, inside = written(kmeans.first), written(kmeans.first, Bounds.INSIDE)
    lengths = [f"[loom_first_param_{2 * n + 1}]" for n in (1, 2, 3, 4, 5)]  # that of px is asked for by the kernel
    assert all(length in checked and length not in inside for length in lengths)
    trusted = written(kmeans.first, Bounds.TRUSTED)
    assert inside.count("bar.sync") == trusted.count("bar.sync") + 1
    assert "st.shared" in inside
    assert "st.shared" not in trusted


@loom.kernel(workgroup=64)
def look(x: loom.In[loom.f64], y: loom.In[loom.u64], out: loom.Out[loom.f32]) -> None:
    """Read shared memory where bits of a float, and half of a long product, say."""
    held = loom.shared(loom.f32, 64)
    held[loom.local_id()] = loom.f32(1)
    out[0] = held[loom.bitcast(loom.u64, x[0])] + held[loom.mulhi(y[0], y[1])]


def test_indexes_that_are_bits_of_others_are_compared_in_64_bits() -> None:
    text = LlvmTarget(machine("ptx")).compile(look.verified, Bounds.CHECKED).data.decode()
    assert len(re.findall(r"setp\.(?:gt|lt)\.u64 .*, 6[34];", text)) == 2
