"""A choice between two bare numbers takes the type of what it meets, whichever of them would not fit i32."""

from __future__ import annotations

import numpy as np

import loom
from loom import InOut, u32, u64
from loom.ir.interp import interpret


def test_a_number_beyond_i32_on_either_side() -> None:
    @loom.kernel(workgroup=4)
    def chosen(o: InOut[u32], p: InOut[u64]):
        i = loom.global_id()
        o[i] = o[i] ^ loom.select(i < 2, 1, 4294967295)
        o[i] += 4294967294 if i < 1 else 0
        p[i] = p[i] | loom.select(i < 2, 1, 18446744073709551615)

    o, p = np.zeros(4, np.uint32), np.zeros(4, np.uint64)
    interpret(chosen.ir, [o, p], [], (1, 1, 1))
    assert o.tolist() == [4294967295, 1, 4294967295, 4294967295]
    assert p.tolist() == [1, 1, 2**64 - 1, 2**64 - 1]
