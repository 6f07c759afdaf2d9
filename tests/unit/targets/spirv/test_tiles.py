"""Products of tiles by cooperative matrices, as modules say them; devices that have them run ``test_units``."""

from __future__ import annotations

import struct
from collections import Counter

import pytest

import loom
from loom.ir.frontend.intrinsics import tile_product
from loom.kernels.matmul.units import multiply_planes, patch_of
from loom.kernels.precisions import PRECISIONS
from loom.targets.base import Bounds
from loom.targets.spirv.features import Features, Matrices
from loom.targets.spirv.opcodes import CAPABILITY, OP, STORAGE
from loom.targets.spirv.target import SpirvTarget

NVIDIA = Matrices(16, 8, 32, 32)
QUAD = loom.i32.vector(4)
MEMORY_MODEL, ATOMIC_ADD, DOT = OP["MemoryModel"], OP["AtomicIAdd"], OP["SDot"]


@loom.kernel(workgroup=64, trusted=True)
def product(x: loom.In[loom.i32], out: loom.Out[loom.i32], count: loom.InOut[loom.u32]) -> None:
    """Count a group on a buffer and in shared memory, and multiply a tile of 16 by 8 rows of 32 bytes for each warp."""
    lane = loom.local_id()
    tile, seen = loom.shared(loom.i32, 2 * 24 * 12), loom.shared(loom.u32, 1)
    for n in range(9):
        tile[lane + n * 64] = x[lane + n * 64]
    loom.atomic_add(seen, 0, 1)
    loom.barrier()
    loom.atomic_add(count, 0, seen[0])
    first = lane // 32 * 288
    found = tile_product(tile, first, first + 192, QUAD(lane), 8, 12)
    for r in loom.static_range(4):
        out[lane * 4 + r] = found[r]


def _written(kernel: loom.KernelFunction, matrices: Matrices | None, bounds: Bounds) -> list[tuple[int, ...]]:
    target = SpirvTarget(Features(dots=True, matrices=matrices))
    data = target.compile(kernel.verified, bounds).data
    words, at, found = struct.unpack(f"<{len(data) // 4}I", data), 5, []
    while at < len(words):
        size = words[at] >> 16
        found.append((words[at] & 0xFFFF, *words[at + 1 : at + size]))
        at += size
    return found


@pytest.mark.parametrize("shape", [NVIDIA, Matrices(8, 8, 8, 8), Matrices(16, 8, 16, 16)])
@pytest.mark.parametrize("name", ["q8", "q12", "q24"])
def test_matrices_do_all_of_a_product(name: str, shape: Matrices) -> None:
    precision, patch = PRECISIONS[name], patch_of(PRECISIONS[name])
    count = Counter(code for code, *_ in _written(multiply_planes(patch, precision), shape, Bounds.TRUSTED))
    tiles = patch.rows * patch.columns * {"q8": 1, "q12": 3, "q24": 9}[name]
    each = (16 // shape.rows) * (8 // shape.columns) * (128 // shape.depth)
    assert count[OP["CooperativeMatrixMulAddKHR"]] == tiles * each
    assert count[OP["CooperativeMatrixStoreKHR"]] == tiles * each * shape.depth // 128
    assert not count[DOT]


def test_what_lanes_share_is_told_in_vulkans_memory_model() -> None:
    found = _written(product, NVIDIA, Bounds.TRUSTED)
    assert (MEMORY_MODEL, 0, 3) in found
    constants = {w[2]: w[3] for w in found if w[0] == OP["Constant"]}
    spaces = {w[1]: w[2] for w in found if w[0] == OP["TypePointer"]}
    pointers = {w[2]: spaces[w[1]] for w in found if w[0] in (OP["Variable"], OP["AccessChain"])}
    accesses = {
        "Load": (3, 4),
        "Store": (1, 3),
        "CooperativeMatrixLoadKHR": (3, 6),
        "CooperativeMatrixStoreKHR": (1, 5),
    }
    told = Counter(
        (pointers[w[at]], w[end:]) for name, (at, end) in accesses.items() for w in found if w[0] == OP[name]
    )
    others_see = {space: flags for space, flags in told if space in (STORAGE["Workgroup"], STORAGE["StorageBuffer"])}
    assert set(others_see.values()) == {(0x20,)}
    assert {flags for space, flags in told if space not in others_see} == {()}
    assert {constants[w[3]] for w in found if w[0] == OP["ControlBarrier"]} == {0x6108, 0x6148}
    assert [constants[w[4]] for w in found if w[0] == ATOMIC_ADD] == [2, 5], "of the group, and of the queue family"


@pytest.mark.parametrize("bounds", [Bounds.CHECKED, Bounds.REPORTED])
def test_checked_kernels_read_lane_by_lane(bounds: Bounds) -> None:
    found = _written(product, NVIDIA, bounds)
    assert (MEMORY_MODEL, 0, 1) in found
    assert (OP["Capability"], CAPABILITY["CooperativeMatrixKHR"]) not in found
    assert any(w[0] == DOT for w in found)


def test_devices_without_matrices_take_dot_products() -> None:
    found = _written(product, None, Bounds.TRUSTED)
    assert (MEMORY_MODEL, 0, 1) in found
    assert any(w[0] == DOT for w in found)
