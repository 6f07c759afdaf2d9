"""Every kernel as AMDGPU code: it is compiled, and nothing in it may round, flush or fuse otherwise than written.

LLVM divides and takes roots, correctly rounded, by fused operations of its own, and some conversions and divisions of
integers as well. So each kernel is looked at a second time with others in the place of these, and then no fused
operation may be left.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any
from zlib import crc32

import pytest

import conformance.cases  # noqa: F401 (registers them)
from conformance.running import CASES, SLOW, load_case, theme, verified
from loom.core.dtype import i32, u32
from loom.ir.kernel import Instr, Kernel
from loom.ir.passes.rewrite import Rewriter
from loom.ir.passes.scalarize import scalarize
from loom.ir.passes.uniformity import analyse_uniformity
from loom.ir.verified import VerifiedKernel
from loom.targets.base import Bounds
from loom.targets.llvm.target import LlvmTarget

CHIPS = ("gfx90a", "gfx942", "gfx1100")
_FUSED = r"\bv_(pk_)?(fma|fmac|mac|mad|madak|madmk|fmaak|fmamk)(_mix\w*|_legacy)?_f(16|32|64)"
_FORBIDDEN = {
    "not obeying IEEE 754": r"\bv_(mul_legacy_f|mul_dx9_zero|mac_legacy_f|mad_legacy_f|fma_legacy_f)",
    "of a matrix or dot unit for floats": r"\bv_(mfma|wmma|smfmac|swmmac|dot\w*_f32)",
    "of another mode": r"\bs_(setreg|round_mode|denorm_mode)",
    "modified output": r"_f(32|64)\w* .*\b(mul:[24]|div:2|clamp)\b",
    "approximate functions": r"\bv_(exp|log|sin|cos)_f",
}
_ROUNDED = r"\bv_(rcp|rsq|sqrt)_f|\bv_rcp_iflag"
"""Where approximations begin, which only a division or a root may have."""
_MODES = {
    "float_round_mode_32": 0, "float_round_mode_16_64": 0, "float_denorm_mode_32": 3, "float_denorm_mode_16_64": 3,
}  # fmt: skip
_OFTEN = {
    "random": 12, "probe": 9, "library": 24, "threads": 20, "sorting": 12, "sorting-threads": 12, "functions": 8,
    "literals": 12, "memory": 6, "signals": 4, "written": 4, "constant-left": 6, "constant-right": 6,
}  # fmt: skip
"""Every how many kernels of a theme one is always looked at, on one chip; make prove looks at all, on three."""
_MOST = 200
"""Kernels of a case: a thousand take longer than a test may."""
_THEMES = list(dict.fromkeys(theme(name) for name in CASES))


class _Plain(Rewriter):
    """Puts operations that one instruction does in the place of those that LLVM makes of several."""

    def instr(self, s: Instr) -> Instr:
        args = [self.value(a) for a in s.args]
        if s.op.name == "div":
            return self.emit("max", *args)
        if s.op.name == "sqrt":
            return self.emit("abs", *args)
        if s.op.name in ("idiv", "irem", "mulhi"):
            return self.emit("xor", *args)
        if s.op.name == "fma":
            return self.emit("max", *args[1:])
        if s.op.name == "convert" and s.args[0].type.is_float and s.type.is_integer and s.type.bits == 64:
            return self.emit("convert", self.emit("convert", *args, dtype=i32), dtype=s.type)
        if s.op.name == "convert" and s.args[0].type.is_integer and s.args[0].type.bits == 64 and s.type.is_float:
            return self.emit("convert", self.emit("convert", *args, dtype=u32), dtype=s.type)
        return self.copy(s)


def _plain(kernel: Kernel) -> VerifiedKernel:
    scalar = scalarize(kernel).kernel
    changed = replace(scalar, body=_Plain(scalar).block(scalar.body))
    return VerifiedKernel(changed, analyse_uniformity(changed))


def _assembly(kernel: VerifiedKernel, chip: str) -> str:
    return LlvmTarget(chip).compile(kernel, Bounds.CHECKED, "asm").data.decode()


def _require_exact(name: str, chip: str) -> None:
    kernel = verified(load_case(name).kernel)
    text = _assembly(kernel, chip)
    assert ".amdhsa_kernel loom_" in text, name
    modes = {mode: int(n) for mode, n in re.findall(r"\.amdhsa_(float_\w+) (\d)", text)}
    assert modes == _MODES, name
    again = text if not re.search(f"{_FUSED}|{_ROUNDED}", text) else _assembly(_plain(kernel.kernel), chip)
    rules = {**_FORBIDDEN, "fused": _FUSED, "near": _ROUNDED}
    found = {why: hit[0] for why, pattern in rules.items() if (hit := re.search(pattern, again))}
    found |= {why: hit[0] for why, pattern in _FORBIDDEN.items() if (hit := re.search(pattern, text))}
    assert not found, f"{name} on {chip}: {found}"


@pytest.mark.parametrize("about", _THEMES)
def test_exact_instructions_only(about: str) -> None:
    names = [name for name in CASES if theme(name) == about and name not in SLOW]
    for name in names[:: _OFTEN.get(about, 2)]:
        _require_exact(name, CHIPS[crc32(name.encode()) % len(CHIPS)])


def _shares() -> list[Any]:
    """Return the kernels of each theme, those of a large one in several lists."""
    named = {about: [name for name in CASES if theme(name) == about] for about in _THEMES}
    return [
        pytest.param(names[first : first + _MOST], id=f"{about}{first or ''}")
        for about, names in named.items()
        for first in range(0, len(names), _MOST)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("names", _shares())
def test_exact_instructions_in_all(names: list[str], chip: str) -> None:
    for name in names:
        _require_exact(name, chip)


@cache
def _operations(dtype: str) -> str:
    return _assembly(verified(load_case(f"operations/{dtype}").kernel), "gfx942")


def test_the_instructions_meant_are_there() -> None:
    """The names looked for above are how LLVM writes them."""
    for instruction in ("v_add_f32", "v_sub_f32", "v_mul_f32", "v_div_fixup_f32", "v_sqrt_f32", "v_rcp_f32"):
        assert instruction in _operations("f32")
    assert re.search(_FUSED, _operations("f32"))
    assert re.search(_FUSED, _operations("f64"))
    for instruction in ("v_add_f64", "v_mul_f64", "v_div_fixup_f64"):
        assert instruction in _operations("f64")
