"""Picks the best scores of each query where they are: the panels to be looked into, then the vectors.

Layer: kernels. A score is larger where a vector is better; of equal scores (+0 is -0) the lower number is first, and
what scores minus infinity is not there. Invariant: one order, that of ``loom.vectors.search``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import f32, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, group_id, local_id, select, shared, static_range

__all__ = ["NOTHING", "PICK_LANES", "pick_best"]

PICK_LANES = 256
NOTHING = 0xFFFFFFFF
"""The number of what is not there."""
_SIGN = 0x80000000
_NO_KEY = 0xFF800000
"""The key of minus infinity."""
_STEPS = PICK_LANES.bit_length() - 1


def key_of(score: Any) -> Any:
    """Return a u32 that ascends from the best score."""
    bits = bitcast(u32, score)
    is_zero = (bits << 1) == 0
    return select(is_zero, u32(_SIGN - 1), select(bits >= _SIGN, bits, u32(_SIGN - 1) - bits))


def score_of(key: Any) -> Any:
    """Return the score that a key was made of."""
    return bitcast(f32, select(key >= _SIGN, key, u32(_SIGN - 1) - key))


@cache
def pick_best(*, panels: bool) -> KernelFunction:
    """Return the kernel (scores, pairs, sizes, out, best) whose group q finds the best ``sizes[1]`` of query q.

    There are ``sizes[3]`` queries.
    ``panels``: score i of ``sizes[0]`` is that of panel i; ``out`` gets pairs of q and a panel. Else the scores are
    those of the pairs' panels, of ``sizes[2]`` vectors each; ``out`` gets a panel times ``sizes[2]`` plus the place in
    it, ``best`` the scores. ``NOTHING`` stands where there are not so many.
    """

    @kernel(workgroup=PICK_LANES, trusted=True)
    def pick(scores: In[f32], pairs: In[u32], sizes: In[u32], out: Out[u32], best: Out[f32]):
        keys, numbers = shared(u32, PICK_LANES), shared(u32, PICK_LANES)
        lane, q = local_id(), group_id()
        count, k, width = sizes[0], sizes[1], sizes[2]
        if q < sizes[3]:
            last_key, last_number, is_first = u32(0), u32(0), True
            for j in range(k):
                key, number = u32(NOTHING), u32(NOTHING)
                for i in range(lane, count, PICK_LANES):
                    found = key_of(scores[q * count + i])
                    at = i
                    if not panels:
                        panel = pairs[2 * (q * k + i // width) + 1]
                        found = select(panel == NOTHING, u32(NOTHING), found)
                        at = panel * width + i % width
                    is_later = is_first or found > last_key or (found == last_key and at > last_number)
                    if found < _NO_KEY and is_later and (found < key or (found == key and at < number)):
                        key = found
                        number = at
                keys[lane] = key
                numbers[lane] = number
                barrier()
                for step in static_range(_STEPS):
                    half = PICK_LANES >> (step + 1)
                    if lane < half:
                        found, at = keys[lane + half], numbers[lane + half]
                        if found < keys[lane] or (found == keys[lane] and at < numbers[lane]):
                            keys[lane] = found
                            numbers[lane] = at
                    barrier()
                last_key, last_number, is_first = keys[0], numbers[0], False
                barrier()
                if lane == 0:
                    if panels:
                        out[2 * (q * k + j)] = q
                        out[2 * (q * k + j) + 1] = last_number
                    else:
                        out[q * k + j] = last_number
                        best[q * k + j] = score_of(last_key)

    pick.name = f"vectors_pick_{'panels' if panels else 'vectors'}"
    return pick
