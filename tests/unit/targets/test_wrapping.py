"""Which kernels LLVM's loop vectoriser must not see: those whose indexes may wrap in fewer bits."""

from __future__ import annotations

from typing import Any

import pytest

import loom
from loom import In, Out, f32, u8, u32
from loom.targets.llvm.access.wrapping import wraps_index


@loom.kernel
def masked(x: In[f32], y: Out[f32], n: u32):
    for k in range(n):
        y[k * 64 + loom.local_id()] = x[(loom.local_id() + k) & 63]


@loom.kernel
def remainder(x: In[f32], y: Out[f32], n: u32):
    for k in range(n):
        y[k * 64 + loom.local_id()] = x[(loom.local_id() + k) % 16]


@loom.kernel
def narrowed(x: In[f32], y: Out[f32], n: u32):
    for k in range(n):
        y[k * 64 + loom.local_id()] = x[u8(k)]


@loom.kernel
def by_variable(x: In[f32], y: Out[f32], n: u32):
    at = u32(0)
    for k in range(n):
        y[k * 64 + loom.local_id()] = x[at]
        at = (at + 1) & 7


@loom.kernel
def stored(x: In[f32], y: Out[f32]):
    if loom.global_id() < 8:
        y[loom.global_id() % 8] = x[0]


@loom.kernel
def plain(x: In[f32], y: Out[f32], n: u32):
    for k in range(n):
        y[k * 64 + loom.local_id()] = x[k * 3 + n % 8]


@loom.kernel
def not_a_power(x: In[f32], y: Out[f32], n: u32):
    for k in range(n):
        y[k * 64 + loom.local_id()] = x[k % 63]


@loom.kernel
def of_loaded(x: In[u32], y: Out[f32], n: u32):
    for k in range(n):
        y[loom.local_id()] = f32(x[x[k] & 63])


@loom.kernel
def value_only(x: In[u32], y: Out[u32], n: u32):
    for k in range(n):
        y[k * 64 + loom.local_id()] = (x[k] + k) & 63


@pytest.mark.parametrize("kernel", [masked, remainder, narrowed, by_variable, stored], ids=lambda k: k.name)
def test_found(kernel: Any) -> None:
    assert wraps_index(kernel.verified.kernel)


@pytest.mark.parametrize("kernel", [plain, not_a_power, of_loaded, value_only], ids=lambda k: k.name)
def test_left_alone(kernel: Any) -> None:
    assert not wraps_index(kernel.verified.kernel)
