"""Products of tiles and of 64 rows, barriers of memory and bulk copies, as PTX has them.

Source: PTX ISA 8.0: fragments of mma.m16n8k32, wgmma.m64nNk32 and matrix descriptors without swizzling, mbarrier,
cp.async.bulk. A bulk copy is done when a lane waits for its barrier in vain, so that a wait that is missing shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emulation.ptx.memory import EmulationError

__all__ = ["Barriers", "matrix_product", "wide_product"]

Array = np.ndarray[Any, Any]


def _bytes_of(groups: Any, operands: Any, lanes: Array) -> Array:
    """Return the signed bytes of words: (lane, word, byte)."""
    words = np.stack([groups.value(o, "u32", lanes) for o in operands], 1)
    return np.ascontiguousarray(words).view(np.int8).reshape(len(lanes), -1, 4).astype(np.int64)


def matrix_product(groups: Any, instruction: Any, lanes: Array) -> None:
    """Do mma.m16n8k32 of one warp."""
    if instruction.op[3] != "m16n8k32" or instruction.op[-4:] != ("s32", "s8", "s8", "s32") or len(lanes) != 32:
        raise EmulationError("a product that is not emulated, or of a part of a warp", 218)
    into, left, right, sums = (o.parts for o in instruction.operands)
    a_words, b_words = _bytes_of(groups, left, lanes), _bytes_of(groups, right, lanes)
    row, k = np.arange(32) // 4, np.arange(32) % 4 * 4
    a, b = np.zeros((16, 32), np.int64), np.zeros((32, 8), np.int64)
    for lane in range(32):
        for n in range(4):
            a[row[lane] + 8 * (n % 2), k[lane] + 16 * (n // 2) + np.arange(4)] = a_words[lane, n]
        for n in range(2):
            b[k[lane] + 16 * n + np.arange(4), row[lane]] = b_words[lane, n]
    product = a @ b
    for n in range(4):
        at = row + 8 * (n // 2), np.arange(32) % 4 * 2 + n % 2
        total = product[at] + groups.value(sums[n], "s32", lanes)
        groups.put(into[n], (total & 0xFFFFFFFF).astype(np.uint32), lanes)


def _matrix(groups: Any, group: int, descriptor: int, rows: int) -> Array:
    """Return an operand of 32 k that lies in shared memory, its swizzling none."""
    if descriptor >> 62:
        raise EmulationError("a swizzled matrix, which is not emulated", 218)
    start, along_k, along_rows = ((descriptor >> at & 0x3FFF) << 4 for at in (0, 16, 32))
    row, k = np.arange(rows)[:, None], np.arange(32)[None]
    at = start + row // 8 * along_rows + k // 16 * along_k + row % 8 * 16 + k % 16
    if at.max() >= groups.shared_nbytes:
        raise EmulationError(f"byte {at.max()} of {groups.shared_nbytes} of shared memory")
    return groups.shared.view(np.int8)[group * groups.room + at].astype(np.int64)


def wide_product(groups: Any, instruction: Any, lanes: Array) -> None:
    """Do wgmma.m64nNk32 of four warps."""
    columns = int(instruction.op[4].removeprefix("m64n").removesuffix("k32"))
    if instruction.op[-3:] != ("s32", "s8", "s8") or len(lanes) != 128:
        raise EmulationError("a product that is not emulated, or not of four warps", 218)
    into, left, right, keeps = instruction.operands
    found = [np.unique(groups.value(o, "u64", lanes)) for o in (left, right)]
    keeping = groups.value(keeps, "pred", lanes)
    if any(len(f) != 1 for f in found) or keeping.any() != keeping.all():
        raise EmulationError("descriptors that differ between lanes")
    group = int(groups.group_of[lanes[0]])
    a, b = (_matrix(groups, group, int(f[0]), rows) for f, rows in zip(found, (64, columns), strict=True))
    product = a @ b.T
    lane, warp = np.arange(128) % 32, np.arange(128) // 32
    for n, operand in enumerate(into.parts):
        total = product[16 * warp + lane // 4 + 8 * (n // 2 % 2), 8 * (n // 4) + lane % 4 * 2 + n % 2]
        if keeping[0]:
            total = total + groups.value(operand, "s32", lanes)
        groups.put(operand, (total & 0xFFFFFFFF).astype(np.uint32), lanes)


@dataclass
class _Barrier:
    """A barrier: arrivals it waits for, bytes under way, how often it was passed; copies that are not done."""

    count: int
    pending: int
    nbytes: int = 0
    phase: int = 0
    copies: Any = None

    def settle(self) -> None:
        """Pass it if nothing is missing."""
        if not self.pending and not self.nbytes:
            self.phase ^= 1
            self.pending = self.count


class Barriers:
    """Barriers of memory of groups that run side by side."""

    def __init__(self, groups: Any) -> None:
        self.groups = groups
        self.known: dict[tuple[int, int], _Barrier] = {}

    def do(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        """Do an instruction, lane after lane."""
        if op[0] in ("fence", "membar"):
            return
        for lane in np.arange(self.groups.count)[at].tolist():
            self._lane(op, operands, lane)

    def _number(self, operand: Any, lane: int) -> int:
        found = operand.parts[0] if operand.kind == "memory" else operand
        return int(self.groups.value(found, "u64", np.array([lane]))[0]) + operand.number * (operand.kind == "memory")

    def _of(self, operand: Any, lane: int) -> _Barrier:
        key = int(self.groups.group_of[lane]), self._number(operand, lane)
        if key not in self.known:
            raise EmulationError(f"no barrier was made at {key[1]}")
        return self.known[key]

    def _lane(self, op: tuple[str, ...], operands: Any, lane: int) -> None:
        if op[0] == "cp":
            barrier = self._of(operands[3], lane)
            what = [self._number(o, lane) for o in operands[:3]]
            barrier.copies = [*(barrier.copies or []), (int(self.groups.group_of[lane]), *what)]
        elif op[1] == "init":
            key, count = (int(self.groups.group_of[lane]), self._number(operands[0], lane)), operands[1].number
            if key[1] % 8 or key[1] + 8 > self.groups.shared_nbytes:
                raise EmulationError(f"a barrier at byte {key[1]} of {self.groups.shared_nbytes} of shared memory")
            self.known[key] = _Barrier(count, count)
        elif op[1] == "arrive":
            barrier = self._of(operands[1], lane)
            if "expect_tx" in op:
                barrier.nbytes += operands[2].number
            if not barrier.pending:
                raise EmulationError("more arrivals than the barrier waits for")
            barrier.pending -= 1
            barrier.settle()
        elif op[1] == "try_wait":
            self._waited(operands, lane)
        else:
            raise EmulationError(f"{'.'.join(op)} is not emulated", 218)

    def _waited(self, operands: Any, lane: int) -> None:
        barrier = self._of(operands[1], lane)
        passed = barrier.phase != self._number(operands[2], lane) & 1
        self.groups.put(operands[0], np.array([passed]), np.array([lane]))
        if not passed:
            for copy in barrier.copies or []:
                self._copied(*copy)
                barrier.nbytes -= copy[3]
            barrier.copies = None
            barrier.settle()

    def _copied(self, group: int, target: int, source: int, nbytes: int) -> None:
        groups = self.groups
        if target + nbytes > groups.shared_nbytes or target % 16 or nbytes % 16 or source % 16:
            raise EmulationError(f"a copy of {nbytes} bytes from {source:#x} to {target} of shared memory")
        at = group * groups.room + target
        groups.shared[at : at + nbytes] = groups.memory.view(source, nbytes)
