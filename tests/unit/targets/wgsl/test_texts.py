"""Texts of kernels: small ones are these, the same kernel gives the same text, what cannot be written is refused.

Oracle: the text of a kernel written out; ``wgpu``'s own validation runs in the driver's tests.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

import conformance.cases  # noqa: F401 (registers them)
import loom
from conformance.running import CASES, load_case, theme
from loom.ir.verify import verify
from loom.targets.base import Bounds
from loom.targets.registry import TARGETS
from loom.targets.wgsl.features import Features, refusal
from loom.targets.wgsl.library.collect import FAMILIES, FORMS, called, functions, library
from loom.targets.wgsl.lower import lower

OTHERS = [n for n in CASES if theme(n) not in ("library", "sorting", "random")]


@loom.kernel(workgroup=64)
def affine(x: loom.InOut[loom.f32], a: loom.f32) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * a + 1.0


AFFINE = """var<private> zero: u32;
@group(0) @binding(0) var<uniform> words: array<vec4<u32>, 3>;
@group(0) @binding(1) var<storage, read_write> b0: array<u32>;
@compute @workgroup_size(64, 1, 1)
fn main(@builtin(local_invocation_id) lid: vec3<u32>, @builtin(workgroup_id) wid: vec3<u32>) {
  zero = words[0].z >> 31u;
  let e1 = words[1].z;
  let e2 = wid.x + e1;
  let e3 = e2 * 64u + lid.x;
  let e4 = words[0].y;
  let e10 = words[0].x;
  let v5 = (e3 < e4);
  if (v5) {
    let v6 = (e3 < e4);
    let v7 = select(0u, e3, v6);
    let v8 = b0[v7];
    let v9 = select(0u, v8, v6);
    let v11 = mul_f32(v9, e10);
    let v12 = add_f32(v11, hide(0x3f800000u));
    let v13 = (e3 < e4);
    let v14 = v12;
    if (v13) {
      b0[e3] = v14;
    }
  }
}
"""


def test_a_small_kernel_is_this_text() -> None:
    assert lower(affine.verified, Bounds.CHECKED, Features()).own == AFFINE


def test_the_high_word_of_a_64_bit_sum_takes_the_carry_of_the_low_one() -> None:
    """What the text adds to it, computed by numpy; a device's self-test would refuse the device, and skip its tests."""

    @loom.kernel(workgroup=64)
    def summed(x: loom.In[loom.u64], sums: loom.InOut[loom.u64]) -> None:
        loom.atomic_add(sums, 0, x[loom.global_id()])

    text = lower(summed.verified, Bounds.TRUSTED, Features()).own
    found = re.search(r"let (\w+) = atomicAdd\(&b1\[\w+\], (\w+)\.x\);\s+atomicAdd\(&b1\[.*\], (.*)\);", text)
    assert found is not None, text
    before, value, added = found.groups()
    added = re.sub(r"\b(\d)u\b", r"\1", added.replace(f"{value}.", "").replace(before, "before"))
    edges = np.array([0, 1, 2, 2**31, 2**32 - 1], np.uint32)
    words = dict(zip(("before", "x", "y"), (side.ravel() for side in np.meshgrid(*[edges] * 3)), strict=True))
    wide = {name: word.astype(np.uint64) for name, word in words.items()}
    wanted = (wide["before"] + wide["x"] >> np.uint64(32)) + wide["y"]
    words["select"] = lambda no, yes, condition: np.where(condition, np.uint32(yes), np.uint32(no))
    assert (eval(added, words) == wanted.astype(np.uint32)).all(), added


def test_a_kernels_own_text_does_not_depend_on_the_forms_of_a_device() -> None:
    forms = tuple((family, "integers") for family in FAMILIES)
    native, integers = (lower(affine.verified, Bounds.CHECKED, f) for f in (Features(), Features(forms)))
    assert native.own == integers.own
    assert native.library != integers.library


def test_what_is_collected_calls_nothing_outside_of_it() -> None:
    for form in ("hidden", "guarded", "wide", "integers"):
        for name in sorted({name.partition("__")[0] for name in library()}):
            text = functions(frozenset([name]), {f: form for f, known in FORMS.items() if form in known})
            made = set(re.findall(r"^(?:fn|struct) (\w+)", text, re.MULTILINE))
            assert called(text) <= made, name


@pytest.mark.parametrize("bounds", list(Bounds))
@pytest.mark.parametrize("step", [199, pytest.param(1, marks=pytest.mark.slow)])
def test_cases_of_the_language_are_written_the_same_way_twice(bounds: Bounds, step: int) -> None:
    for name in OTHERS[::step]:
        kernel = verify(load_case(name).kernel)
        if refusal(kernel.kernel) is None:
            features = Features(whole_loops=bounds is not Bounds.CHECKED, whole_vectors=8)
            assert lower(kernel, bounds, features) == lower(kernel, bounds, features), name


def test_the_target_is_known_by_name() -> None:
    artifact = TARGETS.load("wgsl").compile(affine.verified, Bounds.TRUSTED)
    assert artifact.kind == "wgsl"
    assert artifact.data.decode().endswith("}\n")
