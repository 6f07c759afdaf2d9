"""Kernels drawn at random whose lanes wait for 32 side by side, or for all: the interpreter's bits on every device.

Lanes read what others wrote behind a barrier that is just near enough; ``loom.debug`` finds no race in them.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from emulation.driver.binding import Emulated
from loom.core.dtype import lookup
from unit.emulation.drawn_loops import loaded

Array = np.ndarray[Any, Any]
_HEAD = """import loom
from loom import In, InOut, f32, f64, i64, u8, u16, u32
from loom.ir.frontend.intrinsics import near_barrier


"""
_SIZES = [(32,), (64,), (96,), (40,), (48,), (33,), (7,), (256,), (8, 8), (16, 4), (4, 2, 8), (5, 13), (3, 32)]
_GROUPS = 3


class _Writer:
    """Locals: ``l`` the lane in its group, ``g`` in all, ``v`` what it has, ``b`` (u32) what atomics gave it."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)
        self.workgroup = self.r.choice(_SIZES)
        self.lanes = int(np.prod(self.workgroup))
        self.kind = self.r.choice(["u32", "u32", "i64", "f32", "u8", "u16", "f64"])
        self.lines: list[str] = []

    def near(self) -> str:
        """A lane of the same 32."""
        by = self.r.randint(1, 31)
        other = self.r.choice([f"(l + {by}) % 32", f"(l ^ {by}) % 32", "31 - l % 32", f"l * {2 * by + 1} % 32", "0"])
        return f"min(l // 32 * 32 + ({other}), {self.lanes - 1})"

    def far(self) -> str:
        return self.r.choice([f"(l + {self.r.randint(1, 31)}) % {self.lanes}", f"{self.lanes - 1} - l"])

    def told(self, indent: str) -> None:
        """Lanes tell each other what they have."""
        far = self.r.random() < 0.25
        wait, other = ("loom.barrier()", self.far()) if far else ("near_barrier()", self.near())
        use = self.r.choice(["v + w", "max(v, w)", "w", "loom.select(w > v, w, v)"])
        self.lines += [f"{indent}{line}" for line in ("s[l] = v", wait, f"w = s[{other}]", wait, f"v = {use}")]

    def counted(self, indent: str) -> None:
        way = self.r.choice(["add", "or", "xor", "max"])
        steps = ["c[l] = 0", "near_barrier()", f"loom.atomic_{way}(c, {self.near()}, b + 1)", "near_barrier()"]
        self.lines += [f"{indent}{line}" for line in (*steps, "b = c[l] * 3 + b", "near_barrier()")]

    def step(self, depth: int, deeper: int) -> None:
        indent, drawn = "    " * depth, self.r.randrange(7)
        if drawn in (3, 4) and deeper:
            test = self.r.choice(["n > 3", "n % 2 == 0", "loom.group_id() == 0"])
            turns = self.r.choice(["3", "n % 4", "1", "loom.group_id() + 1"])
            self.lines.append(
                f"{indent}{f'if {test}:' if drawn == 3 else f'for t{len(self.lines)} in range({turns}):'}"
            )
            for _ in range(self.r.randint(1, 2)):
                self.step(depth + 1, deeper - 1)
        elif drawn == 5:
            self.counted(indent)
        elif drawn == 6:
            self.lines += [f"{indent}if b % {self.r.choice('235')} == 0:", f"{indent}    v = v + x[(g + b) % len(x)]"]
        else:
            self.told(indent)

    def text(self) -> str:
        lane, below = "loom.local_id(0)", 1
        for dimension, size in enumerate(self.workgroup[:-1]):
            below *= size
            lane += f" + loom.local_id({dimension + 1}) * {below}"
        self.lines = [
            f'@loom.kernel(workgroup={self.workgroup}, order="any")',  # near barriers are of the library alone
            f"def drawn(x: In[{self.kind}], y: InOut[{self.kind}], n: u32):",
            f"    l = {lane}",
            f"    g = loom.group_id() * {self.lanes} + l",
            f"    s, c = loom.shared({self.kind}, {self.lanes}), loom.shared(u32, {self.lanes})",
            "    v, b = x[g], u32(l)",
        ]
        for _ in range(self.r.randint(2, 5)):
            self.step(1, 2)
        return _HEAD + "\n".join([*self.lines, f"    y[g] = v + {self.kind}(b)"]) + "\n"


def agree(seed: int, devices: list[str], folder: Path) -> None:
    """Assert that devices give what the interpreter gives, and that no lanes race."""
    writer = _Writer(seed)
    kernel = loaded(writer.text(), f"barriers_{seed}", folder)
    rng, dtype, size = np.random.default_rng(seed), lookup(writer.kind), writer.lanes * _GROUPS
    x = (rng.standard_normal(size) if dtype.is_float else rng.integers(0, 1 << 62, size)).astype(dtype.numpy)
    n = int(rng.integers(0, 8))

    def run(on: str) -> Array:
        y, chain = np.zeros(size, dtype.numpy), loom.Chain(on)
        chain.dispatch(kernel, [x, y], [n], _GROUPS)
        chain.build().run()
        return y.view(np.uint8)

    wanted = run("interp")
    for on in devices:
        assert np.array_equal(run(on), wanted), f"{on} differs in seed {seed}"
    with loom.debug(nan=False):
        assert np.array_equal(run("interp"), wanted)


def test_lanes_that_wait(emulated: Emulated, tmp_path: Path) -> None:
    for seed in range(10):
        agree(seed, ["cuda"], tmp_path)
    assert emulated.reports == []


@pytest.mark.slow  # a third of a second each: compiled for all devices
@pytest.mark.parametrize("seed", range(10, 200))
def test_lanes_that_wait_on_all_devices(emulated: Emulated, seed: int, tmp_path: Path) -> None:
    agree(seed, ["cuda", "cpu", "vulkan"], tmp_path)
    assert emulated.reports == []
