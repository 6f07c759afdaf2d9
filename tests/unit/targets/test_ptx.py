"""Corrections of PTX text: which instructions are replaced, by what, and what is left alone."""

from __future__ import annotations

import pytest

from loom.targets.llvm.gpu.ptx import corrected

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
    assert corrected(f"{around}\t{unsafe}\n{around}") == f"{around}\t{sound}\n{around}"


def test_everything_else_stays() -> None:
    text = "\tneg.s32 \t%r2, %r1;\n\tabs.f32 \t%f2, %f1;\n\tneg.s64 \t%rd2, %rd1;\n// neg.s16 %rs2, %rs1;\n"
    assert corrected(text) == text


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
    found = corrected(text)
    assert ".address_size 64\n\n.global .align 8 .u64 loom_$_hidden;" in found
    assert f", {bits}; {hidden} }}" in found
    assert found.count("ld.volatile.global") == 1


def test_other_numbers_and_sums_with_ones_stay_as_they_are() -> None:
    text = ".address_size 64\n\tadd.rn.f32 \t%f1, %f2, 0f3F800000;\n\tselp.f32 \t%f1, 0f40000000, 0f80000000, %p1;\n"
    assert corrected(text) == text
