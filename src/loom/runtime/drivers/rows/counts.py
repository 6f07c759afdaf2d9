"""The kernel that looks at the group counts of an indirect dispatch before it starts.

Layer: runtime. Invariant: a dispatch never starts with counts beyond the limits; it does nothing instead, and the
host is told which counts they were.
"""

from __future__ import annotations

from loom.core.dtype import u32
from loom.ir.frontend.base.annotations import In, InOut
from loom.ir.frontend.decorator import kernel
from loom.ir.frontend.intrinsics import mulhi

__all__ = ["STATUS_WORDS", "check_counts"]

STATUS_WORDS = 4
"""Words of a slot of the status: 0 (fine), 1 (beyond Loom's limits) or 2 (beyond the device's), then the counts."""


@kernel(workgroup=1, trusted=True)
def check_counts(
    counts: In[u32],
    words: InOut[u32],
    status: InOut[u32],
    source: u32,
    target: u32,
    slot: u32,
    most_x: u32,
    most_y: u32,
    most_z: u32,
    device_x: u32,
    device_y: u32,
    device_z: u32,
):
    """Copy three counts at ``source`` to ``target``, zeros if they are beyond the limits."""
    x = counts[source]
    y = counts[source + 1]
    z = counts[source + 2]
    many = (mulhi(x, y) != 0) & (z != 0) | (mulhi(x * y, z) != 0)
    beyond = (x > most_x) | (y > most_y) | (z > most_z) | many
    nothing = (x == 0) | (y == 0) | (z == 0)
    unfit = ((x > device_x) | (y > device_y) | (z > device_z)) & (not nothing)
    verdict = u32(0)
    if unfit:
        verdict = u32(2)
    if beyond:
        verdict = u32(1)
    if verdict != 0:
        status[slot * 4] = verdict
        status[slot * 4 + 1] = x
        status[slot * 4 + 2] = y
        status[slot * 4 + 3] = z
        x = u32(0)
        y = u32(0)
        z = u32(0)
    words[target] = x
    words[target + 1] = y
    words[target + 2] = z
