"""The whole sort of a short row in one group: for small arrays, and for the rows of a matrix.

Layer: kernels. All digits are counted while the elements are read once; then the row is moved digit by digit,
those that are the same in all keys left out. Invariant: the result is that of ``kernels.sort.radix``.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import u8, u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, private, static_range
from loom.kernels.sort.keys import DIGIT_BITS, DIGITS, Records
from loom.kernels.sort.tiles import finish, stage_input, tally

__all__ = ["sort_row"]


@cache
def sort_row(records: Records, *, keys_out: bool) -> KernelFunction:
    """Return the kernel (x, values, both, keys, payloads, n) that sorts elements ``g n`` to ``(g + 1) n`` in group g.

    ``both`` has room for two records per element. Buffers and results are those of ``sort.scatter_only``.
    """
    order, words = records.order, records.words
    value = records.payload_input or u8

    @kernel(workgroup=1, trusted=True)
    def row(
        x: In[order.bits],
        values: In[value],
        both: InOut[records.word],
        keys: Out[order.bits],
        payloads: Out[records.payload_output],
        n: u64,
    ) -> None:
        table = private(u32, records.passes * DIGITS)
        stage = private(records.word, words)
        for d in range(records.passes * DIGITS):
            table[d] = 0
        base = u64(group_id()) * n
        start = order.encode(x[base])
        differ = order.bits(0)
        here, there = 2 * base, 2 * base + n
        for i in range(n):
            stage_input(records, x, values, stage, base, i, u64(1))
            for w in static_range(words):
                both[(here + i) * words + w] = stage[w]
            key = records.key(stage[0])
            differ = differ | (key ^ start)
            for p in static_range(records.passes):
                tally(table, p * DIGITS + records.digit(stage[0], records.key_shift + DIGIT_BITS * p))
        for p in range(u32(records.passes)):
            if (differ >> order.bits(DIGIT_BITS * p)) & (DIGITS - 1) != 0:
                at = u32(0)
                for d in range(DIGITS):
                    size = table[p * DIGITS + d]
                    table[p * DIGITS + d] = at
                    at += size
                for i in range(n):
                    word = both[(here + i) * words]
                    digit = p * DIGITS + records.digit(word, records.key_shift + DIGIT_BITS * p)
                    to = there + u64(table[digit])
                    table[digit] = table[digit] + 1
                    both[to * words] = word
                    if words == 2:
                        both[to * 2 + 1] = both[(here + i) * 2 + 1]
                here, there = there, here
        finish(records, keys_out, both, here, keys, payloads, base, n)

    row.name = f"sort_row_{records.name}{'' if keys_out else '_payload'}"
    return row
