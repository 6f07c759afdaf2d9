"""Emits products of 64 rows and words fetched for them, for Hopper: ``wgmma``, bulk copies, barriers of memory.

Layer: targets. A lane has the copy engine bring words, once all warps have released the ticket before; each copy counts
its bytes at a barrier in shared memory, which whoever waits for the ticket looks at. Operands are read by the tensor
cores where they lie (core matrices of 8 rows by 16 bytes, no swizzle), sums are in the lanes' registers.
Invariant: sums wrap (no ``.satfinite``), and are waited for before the next operation.

Source: PTX ISA, "Asynchronous warpgroup level matrix instructions", "cp.async.bulk", "mbarrier".
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll

from loom.ir.kernel import Instr, Kernel, walk
from loom.ir.passes.tiles import TILE_LANES
from loom.ir.passes.wide import find_shared, tickets_of
from loom.targets.llvm.gpu.room import dynamic_name, starts_of_shared
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I32, I64

__all__ = ["WIDE", "open_tickets"]

_SHARED, _GLOBAL = ll.PointerType(addrspace=3), ll.PointerType(addrspace=1)
_ALL_LANES = "bar.warp.sync 0xffffffff;"
_K, _STEPS, _STEP_NBYTES = 32, 4, 256
"""Of an instruction: its k; how many make a block of 128, and how far apart their operands are."""
_BETWEEN_K, _BETWEEN_ROWS = 128, 1024
"""Bytes from a core matrix to the next along k, and to the one of the next eight rows."""


def _thread(s: State) -> Any:
    return s.builder.call(s.arithmetic.declare("llvm.nvvm.read.ptx.sreg.tid.x", I32, []), [])


def _place(s: State, base: Any) -> Any:
    """Return where something lies in shared memory, an i32."""
    return s.builder.ptrtoint(s.builder.addrspacecast(base, _SHARED), I32)


def _say(s: State, text: str, results: Any, constraints: str, values: list[Any]) -> Any:
    """Emit instructions that nothing is moved across."""
    form = ll.FunctionType(results, [v.type for v in values])
    clobbers = f"{constraints},~{{memory}}" if constraints else "~{memory}"
    found = s.builder.asm(form, text, clobbers, values, True)
    found.attributes.add("convergent")
    return found


def _barriers(s: State) -> Any:
    """Return the barriers of a kernel: of each ticket one that its words are there, then as many that they are read.

    They follow the arrays where a launch tells how much shared memory there is: arrays then begin where that does.
    """
    whole: Any = s.module.globals.get(dynamic_name(s.function.name))
    if whole is not None:
        return s.builder.add(s.builder.ptrtoint(whole, I32), I32(starts_of_shared(s.kernel)[1]))
    name = f"{s.function.name}.tickets"
    found: Any = s.module.globals.get(name)
    if found is None:
        kind = ll.ArrayType(I64, 2 * tickets_of(s.kernel)[0])
        found = ll.GlobalVariable(s.module, kind, name, addrspace=3)
        found.initializer, found.linkage, found.align = ll.Constant(kind, ll.Undefined), "internal", 16
    return s.builder.ptrtoint(found, I32)


def open_tickets(s: State) -> None:
    """Make the barriers of a kernel ready; the group then has to wait."""
    count, pieces = tickets_of(s.kernel)
    lines = [f"mbarrier.init.shared::cta.b64 [$1+{8 * n}], {pieces};" for n in range(count)]
    lines += [f"mbarrier.init.shared::cta.b64 [$1+{8 * (count + n)}], {_warps(s.kernel)};" for n in range(count)]
    text = " ".join(["{ .reg .pred p; setp.ne.u32 p, $0, 0; @p bra DONE;", *lines, "DONE: }"])
    _say(s, f"{text} fence.proxy.async.shared::cta;", ll.VoidType(), "r,r", [_thread(s), _barriers(s)])


def _warps(kernel: Kernel) -> int:
    return kernel.lanes // TILE_LANES


def _of_ticket(s: State, ticket: Any) -> tuple[Any, Any, Any]:
    """Return a ticket's two barriers, and its turn at them."""
    b, count = s.builder, tickets_of(s.kernel)[0]
    full = b.add(_barriers(s), b.mul(b.urem(ticket, I32(count)), I32(8)))
    return full, b.add(full, I32(8 * count)), b.and_(b.udiv(ticket, I32(count)), I32(1))


def fetch(s: State, instr: Instr, ticket: Any, at: Any, first: Any) -> None:
    """Have one lane ask for words, once there is room for them: of a ticket's pieces each falls to another warp."""
    assert instr.memory is not None
    first_lane = _turn(s, instr) % _warps(s.kernel) * TILE_LANES
    name, words, _, _ = instr.attr
    memory, b = find_shared(s.kernel, name), s.builder
    assert memory is not None
    full, free, turn = _of_ticket(s, ticket)
    source = b.gep(s.arrays[instr.memory].base, [b.zext(first, I64)], source_etype=I32)
    values = [
        _thread(s), free, b.xor(turn, I32(1)), full,
        b.add(_place(s, s.arrays[memory].base), b.mul(at, I32(4))), b.ptrtoint(b.addrspacecast(source, _GLOBAL), I64),
    ]  # fmt: skip
    nbytes = 4 * words
    text = (
        f"{{ .reg .pred p, q; setp.ne.u32 p, $0, {first_lane}; @p bra DONE; "
        "AGAIN: mbarrier.try_wait.parity.shared::cta.b64 q, [$1], $2; @!q bra AGAIN; "
        f"mbarrier.arrive.expect_tx.shared::cta.b64 _, [$3], {nbytes}; "
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
        f"[$4], [$5], {nbytes}, [$3]; "
        f"DONE: }} {_ALL_LANES}"
    )
    _say(s, text, ll.VoidType(), "r,r,r,r,r,l", values)


def _turn(s: State, instr: Instr) -> int:
    """Return which fetch of its kernel an operation is."""
    return [f for f in walk(s.kernel.body) if isinstance(f, Instr) and f.op.name == "fetch"].index(instr)


def fetched(s: State, _instr: Instr, ticket: Any) -> None:
    """Wait until all pieces of a ticket are there."""
    full, _, turn = _of_ticket(s, ticket)
    text = "{ .reg .pred q; AGAIN: mbarrier.try_wait.parity.shared::cta.b64 q, [$0], $1; @!q bra AGAIN; } " + _ALL_LANES
    _say(s, text, ll.VoidType(), "r,r", [full, turn])


def release(s: State, _instr: Instr, ticket: Any) -> None:
    """Tell, once for each warp, that a ticket's words are read no more."""
    _, free, _ = _of_ticket(s, ticket)
    lane = s.builder.and_(_thread(s), I32(TILE_LANES - 1))
    text = f"{_ALL_LANES} {{ .reg .pred p; setp.eq.u32 p, $0, 0; @p mbarrier.arrive.shared::cta.b64 _, [$1]; }}"
    _say(s, text, ll.VoidType(), "r,r", [lane, free])


def wide_product(s: State, instr: Instr, a_at: Any, b_at: Any) -> None:
    """Set a lane's sums, or add to them, with four instructions of 32 k."""
    assert instr.memory is not None
    name, columns, keeps = instr.attr
    memory, b, count = find_shared(s.kernel, name), s.builder, columns // 2
    assert memory is not None
    base, sums = _place(s, s.arrays[memory].base), s.arrays[instr.memory].base
    own = [b.gep(sums, [I64(n)], source_etype=I32) for n in range(count)]
    descriptors = [_descriptor(s, base, at, step) for step in range(_STEPS) for at in (a_at, b_at)]
    kept = [b.load(p, align=4, typ=I32) for p in own] if keeps else []
    registers = "{" + ", ".join(f"${n}" for n in range(count)) + "}"
    first = count + len(kept)
    shape = f"wgmma.mma_async.sync.aligned.m64n{columns}k{_K}.s32.s8.s8"
    lines = [
        f"{shape} {registers}, ${first + 2 * n}, ${first + 2 * n + 1}, {'all' if n or keeps else 'none'};"
        for n in range(_STEPS)
    ]
    text = (
        "{ .reg .pred all, none; setp.eq.u32 all, 0, 0; setp.ne.u32 none, 0, 0; wgmma.fence.sync.aligned; "
        + " ".join(lines) + " wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; }"
    )  # fmt: skip
    results = ["=r"] * count + [str(n) for n in range(len(kept))] + ["l"] * len(descriptors)
    kind = ll.LiteralStructType([I32] * count)
    found = _say(s, text, kind, ",".join(results), [*kept, *descriptors])
    for n, p in enumerate(own):
        b.store(b.extract_value(found, n), p, align=4)


def _descriptor(s: State, base: Any, at: Any, step: int) -> Any:
    """Return the 64 bits that tell tensor cores where an operand of 32 k lies."""
    b = s.builder
    start = b.add(base, b.add(b.mul(at, I32(4)), I32(step * _STEP_NBYTES)))
    low = b.or_(b.and_(b.lshr(start, I32(4)), I32(0x3FFF)), I32(_BETWEEN_K // 16 << 16))
    return b.or_(b.zext(low, I64), I64(_BETWEEN_ROWS // 16 << 32))


WIDE = {"fetch": fetch, "fetched": fetched, "release": release, "wide_product": wide_product}
"""What emits each of the operations."""
