"""Tier 3: a kernel written operation by operation (docs/guide/flow.md, "Tier 3").

Layer: flow, over ``draft``. Every function takes the block it appends to. Blocks run in the order they were
made, entry first. ``ir_if`` and ``ir_loop`` return further blocks; what is appended to the outer block after
the call runs after the branch or loop. A value may be used in the block that computes it, in blocks
after it on the same level, and in blocks nested there; state that outlives a branch or a loop's turn is
kept in an ``ir_var``.

Buffers and shared memory hold 32-bit words. A load gives a word, which takes the type of the operation
that uses it: f32 in ``ir_f...``, u32 in ``ir_i...``. Bindings are numbers, whole floats included: 0
registers, 1 globals, 2 heap (read only). An index outside reads 0 and stores nothing.

Errors: DTypeError for an object of the wrong kind, ArgumentError for an unusable number or a value of
another kernel, StateError after ``ir_finalize``, KernelTypeError (with your line) for a wrong operand type;
``ir_finalize`` raises VerifyError. Invariant: a kernel written here is the same IR, and gives the same
bits, as one written with ``@loom.kernel``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, bool_, f32, u32
from loom.core.errors import ArgumentError, DTypeError, StateError
from loom.flow.counts import is_whole, whole
from loom.flow.draft import IrBlock, IrProgram, IrValue, IrVariable, open_block, open_program
from loom.ir.builder import Builder
from loom.ir.kernel import LaneOrder
from loom.ir.verified import VerifiedKernel

__all__ = [
    "ir_barrier",
    "ir_begin",
    "ir_block",
    "ir_buf_atomic_add",
    "ir_buf_atomic_and",
    "ir_buf_atomic_or",
    "ir_buf_len",
    "ir_buf_load",
    "ir_buf_store",
    "ir_const",
    "ir_const_u",
    "ir_entry",
    "ir_finalize",
    "ir_get",
    "ir_global_id",
    "ir_group_id",
    "ir_if",
    "ir_local_id",
    "ir_loop",
    "ir_num_groups",
    "ir_push_const",
    "ir_push_const_u",
    "ir_set",
    "ir_shared_load",
    "ir_shared_store",
    "ir_spirv",
    "ir_var",
]

# the program


def ir_begin(
    *,
    workgroup: int | tuple[int, ...] = 256,
    shared: int = 1024,
    name: str = "ir_kernel",
    order: str | None = None,
) -> IrProgram:
    """Start a kernel of ``workgroup`` lanes per group that may share ``shared`` words.

    ``workgroup`` has up to three extents, 1024 lanes in all; ``name`` is shown in errors. ``order="any"``: the order of
    lanes may show in what its atomics give, and nothing is promised of the result (see ``loom.kernel``).

    Args:
        workgroup: Lanes of a group, up to three extents, at most 1024 in all.
        shared: Number of 32-bit words that a group shares.
        name: Name, for errors.
        order: "any": the order of lanes may show in what its atomics give, and nothing is promised of the result (see
            ``loom.kernel``); None: it may not.

    Returns:
        Kernel under construction.

    Raises:
        ArgumentError: There is no such order; a number is out of range, or no whole one.

    >>> from loom.flow import ir_fmul
    >>> prog = ir_begin(workgroup=64)
    >>> body = ir_entry(prog)
    >>> lane = ir_global_id(body)
    >>> ir_buf_store(body, 0, lane, ir_fmul(body, ir_buf_load(body, 0, lane), ir_const(body, 2.0)))
    >>> ir_finalize(prog).kernel.lanes
    64
    """
    extents = workgroup if isinstance(workgroup, tuple) else (workgroup,)
    if not 1 <= len(extents) <= 3:
        raise ArgumentError(
            "ir_begin",
            "workgroup has a wrong number of extents",
            expected="1 to 3",
            got=len(extents),
            remedy="Write workgroup=256 or workgroup=(16, 16)",
        )
    if not isinstance(name, str) or not name.isidentifier():
        raise ArgumentError("ir_begin", "unusable name", expected="an identifier", got=repr(name), remedy="Use letters")
    if order is not None and (not isinstance(order, str) or order != "any"):
        given = repr(order)[:200]
        raise ArgumentError("ir_begin, order", "unknown", expected="None or 'any'", got=given, remedy="Leave it out")
    x, y, z = (*(whole(e, "ir_begin", "workgroup", least=1) for e in extents), 1, 1)[:3]
    words = whole(shared, "ir_begin", "shared size", least=1)
    prog = IrProgram(Builder(name, (x, y, z)), words, LaneOrder(order or "proved"))
    prog.builder.kernel_loc = open_program(prog, "ir_begin").builder.loc
    return prog


def ir_entry(prog: IrProgram) -> IrBlock:
    """Make the block the kernel starts with; once per kernel.

    Args:
        prog: Kernel under construction, of ``ir_begin``.

    Returns:
        The block.

    Raises:
        DTypeError: Not a kernel under construction.
        StateError: The kernel has an entry already.
    """
    if open_program(prog, "ir_entry").has_entry:
        raise StateError("ir_entry", "the kernel has an entry already", remedy="Add blocks with ir_block")
    prog.has_entry = True
    return prog.add_block()


def ir_block(prog: IrProgram) -> IrBlock:
    """Make a block that runs after those made before it.

    Args:
        prog: Kernel under construction, of ``ir_begin``.

    Returns:
        The block.

    Raises:
        DTypeError: Not a kernel under construction.
    """
    _with_entry(prog, "ir_block")
    return prog.add_block()


def ir_finalize(prog: IrProgram) -> VerifiedKernel:
    """Check the kernel and return it, ready for ``loom_dispatch_jit``; the program is closed.

    Args:
        prog: Kernel under construction, of ``ir_begin``.

    Returns:
        Kernel.

    Raises:
        DTypeError: Not a kernel under construction.
        VerifyError: A race, an atomic that shows the order of lanes, a barrier not all lanes reach, or a value out of
            scope, with its line.
    """
    return _with_entry(prog, "ir_finalize").finish()


def ir_spirv(kernel: VerifiedKernel) -> bytes:
    """Return a finished kernel as a SPIR-V module for Vulkan 1.1, entry point ``main``.

    Descriptor set 0 has its bindings in order. What is pushed, in 32-bit words: the push constants (two words for one
    of 64 bits), the number of elements of each buffer, a zero, the three group counts, and where groups start along
    each dimension (zeros). No float controls are declared, so that every device takes it; whether bits are right is
    up to its driver (Loom's own driver tests that).

    Args:
        kernel: Kernel of ``ir_finalize``.

    Raises:
        DTypeError: Not a kernel of ``ir_finalize``.

    >>> prog = ir_begin()
    >>> _ = ir_entry(prog)
    >>> ir_spirv(ir_finalize(prog))[:4].hex()
    '03022307'
    """
    from loom.targets.base import Bounds
    from loom.targets.spirv.features import Features
    from loom.targets.spirv.target import SpirvTarget

    if not isinstance(kernel, VerifiedKernel):
        raise DTypeError(
            "ir_spirv", "not a finished kernel", expected="what ir_finalize returned", got=type(kernel).__name__,
            remedy="Write kernel = ir_finalize(prog)",
        )  # fmt: skip
    return SpirvTarget(Features(modes=())).compile(kernel, Bounds.CHECKED).data


def _with_entry(prog: IrProgram, where: str) -> IrProgram:
    if not open_program(prog, where).has_entry:
        raise StateError(where, "the kernel has no entry", remedy="Write entry = ir_entry(prog) first")
    return prog


# who and what: identity, constants, push constants


def ir_global_id(block: IrBlock, dim: int = 0) -> IrValue:
    """Index of the lane in the dispatch, u32.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        dim: Axis of the dispatch, 0 to 2.

    Returns:
        Value of the kernel.

    Raises:
        ArgumentError: Not a whole number, at least 0; an axis above 2 is told by ``ir_finalize``.
        DTypeError: Not a block.
        KernelTypeError: A value of another type.
    """
    return _identity("ir_global_id", block, "global_id", dim)


def ir_local_id(block: IrBlock, dim: int = 0) -> IrValue:
    """Index of the lane in its workgroup, u32.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        dim: Axis of the dispatch, 0 to 2.

    Returns:
        Value of the kernel.

    Raises:
        ArgumentError: Not a whole number, at least 0; an axis above 2 is told by ``ir_finalize``.
        DTypeError: Not a block.
        KernelTypeError: A value of another type.
    """
    return _identity("ir_local_id", block, "local_id", dim)


def ir_group_id(block: IrBlock, dim: int = 0) -> IrValue:
    """Index of the workgroup, u32.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        dim: Axis of the dispatch, 0 to 2.

    Returns:
        Value of the kernel.

    Raises:
        ArgumentError: Not a whole number, at least 0; an axis above 2 is told by ``ir_finalize``.
        DTypeError: Not a block.
        KernelTypeError: A value of another type.
    """
    return _identity("ir_group_id", block, "group_id", dim)


def ir_num_groups(block: IrBlock, dim: int = 0) -> IrValue:
    """Number of workgroups, u32.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        dim: Axis of the dispatch, 0 to 2.

    Returns:
        Value of the kernel.

    Raises:
        ArgumentError: Not a whole number, at least 0; an axis above 2 is told by ``ir_finalize``.
        DTypeError: Not a block.
        KernelTypeError: A value of another type.
    """
    return _identity("ir_num_groups", block, "num_groups", dim)


def _identity(where: str, block: IrBlock, name: str, dim: Any) -> IrValue:
    return open_block(block, where).value(name, attr=whole(dim, where, "dimension"))


def ir_const(block: IrBlock, val: float) -> IrValue:
    """A float constant, rounded to f32.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        val: Number.

    Returns:
        Value of the kernel.

    Raises:
        DTypeError: Not a number; not a block.
        KernelTypeError: A value of another type.
    """
    return _constant("ir_const", block, val, f32)


def ir_const_u(block: IrBlock, val: float) -> IrValue:
    """A u32 constant, exact over its whole range; a whole float is taken as an int.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        val: Whole number from 0 to 2^32 - 1.

    Returns:
        Value of the kernel.

    Raises:
        DTypeError: Not a number; not a block.
        KernelTypeError: The number does not fit.
    """
    return _constant("ir_const_u", block, val, u32)


def _constant(where: str, block: IrBlock, val: Any, dtype: DType) -> IrValue:
    target = open_block(block, where)
    if not isinstance(val, float) and not is_whole(val):
        raise DTypeError(where, "not a number", expected="an int or float", got=repr(val), remedy="Pass one")
    return IrValue(target.program, target.const(val, dtype))


def ir_push_const(block: IrBlock, index: float) -> IrValue:
    """Push constant number ``index`` of the dispatch, an f32.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        index: Number of the push constant, from 0.

    Returns:
        Value of the kernel.

    Raises:
        ArgumentError: Not the number of a push constant.
        DTypeError: Not a block.
        KernelTypeError: A value of another type.
        KernelTypeError: A push constant of two types.
    """
    return _push_const("ir_push_const", block, index, f32)


def ir_push_const_u(block: IrBlock, index: float) -> IrValue:
    """Push constant number ``index`` of the dispatch, a u32.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        index: Number of the push constant, from 0.

    Returns:
        Value of the kernel.

    Raises:
        ArgumentError: Not the number of a push constant.
        DTypeError: Not a block.
        KernelTypeError: A value of another type.
        KernelTypeError: A push constant of two types.
    """
    return _push_const("ir_push_const_u", block, index, u32)


def _push_const(where: str, block: IrBlock, index: Any, dtype: DType) -> IrValue:
    target = open_block(block, where)
    return target.value("param", attr=target.program.param(index, dtype, where))


# memory


def ir_buf_load(block: IrBlock, bind: float, idx: IrValue) -> IrValue:
    """Word ``idx`` of a binding.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        bind: Number of the binding, from 0.
        idx: Index of the word, a u32 value.

    Returns:
        Value of the kernel.

    Raises:
        ArgumentError: There is no such binding.
        DTypeError: Not a value of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    target = open_block(block, "ir_buf_load")
    memory = target.program.buffer(bind, "ir_buf_load")
    return target.word("load", target.operand(idx, u32, "ir_buf_load"), memory=memory)


def ir_buf_store(block: IrBlock, bind: float, idx: IrValue, val: IrValue) -> None:
    """Store the bits of a word, u32 or f32 as word ``idx`` of a binding.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        bind: Number of the binding, from 0.
        idx: Index of the word, a u32 value.
        val: Value: a word, u32 or f32.

    Raises:
        ArgumentError: There is no such binding.
        DTypeError: Not a value of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    target = open_block(block, "ir_buf_store")
    memory = target.program.buffer(bind, "ir_buf_store")
    index = target.operand(idx, u32, "ir_buf_store")
    target.emit("store", index, target.bits(val, "ir_buf_store"), memory=memory)


def ir_buf_len(block: IrBlock, bind: float) -> IrValue:
    """Number of words in a binding, u32.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        bind: Number of the binding, from 0.

    Returns:
        Value of the kernel.

    Raises:
        ArgumentError: There is no such binding.
        DTypeError: Not a block.
        KernelTypeError: A value of another type.
    """
    target = open_block(block, "ir_buf_len")
    return target.value("length", memory=target.program.buffer(bind, "ir_buf_len"))


def ir_buf_atomic_and(block: IrBlock, bind: float, idx: IrValue, mask: IrValue) -> IrValue:
    """Clear the bits of a word that ``mask`` lacks, in one step; gives the old word.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        bind: Number of the binding, from 0.
        idx: Index of the word, a u32 value.
        mask: Value of u32.

    Returns:
        Value of the kernel.

    Raises:
        ArgumentError: There is no such binding.
        DTypeError: Not a value of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    return _atomic("ir_buf_atomic_and", block, bind, idx, mask)


def ir_buf_atomic_or(block: IrBlock, bind: float, idx: IrValue, mask: IrValue) -> IrValue:
    """Set the bits of a word that ``mask`` has, in one step; gives the old word.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        bind: Number of the binding, from 0.
        idx: Index of the word, a u32 value.
        mask: Value of u32.

    Returns:
        Value of the kernel.

    Raises:
        ArgumentError: There is no such binding.
        DTypeError: Not a value of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    return _atomic("ir_buf_atomic_or", block, bind, idx, mask)


def ir_buf_atomic_add(block: IrBlock, bind: float, idx: IrValue, val: IrValue) -> IrValue:
    """Add a u32 to a word in one step, wrapping; gives the old word.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        bind: Number of the binding, from 0.
        idx: Index of the word, a u32 value.
        val: Value of u32.

    Returns:
        Value of the kernel.

    Raises:
        ArgumentError: There is no such binding.
        DTypeError: Not a value of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    return _atomic("ir_buf_atomic_add", block, bind, idx, val)


def _atomic(where: str, block: IrBlock, bind: Any, idx: IrValue, val: IrValue) -> IrValue:
    target = open_block(block, where)
    memory = target.program.buffer(bind, where)
    operands = target.operand(idx, u32, where), target.operand(val, u32, where)
    return target.word(where.removeprefix("ir_buf_"), *operands, memory=memory)


def ir_shared_load(block: IrBlock, idx: IrValue) -> IrValue:
    """Word ``idx`` of the memory the workgroup shares; it starts as 0.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        idx: Index of the word, a u32 value.

    Returns:
        Value of the kernel.

    Raises:
        DTypeError: Not a value of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    target = open_block(block, "ir_shared_load")
    index = target.operand(idx, u32, "ir_shared_load")
    return target.word("load", index, memory=target.program.group_words())


def ir_shared_store(block: IrBlock, idx: IrValue, val: IrValue) -> None:
    """Store the bits of a word, u32 or f32 as shared word ``idx``; others see it after ``ir_barrier``.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        idx: Index of the word, a u32 value.
        val: Value: a word, u32 or f32.

    Raises:
        DTypeError: Not a value of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    target = open_block(block, "ir_shared_store")
    index = target.operand(idx, u32, "ir_shared_store")
    target.emit("store", index, target.bits(val, "ir_shared_store"), memory=target.program.group_words())


def ir_barrier(block: IrBlock) -> None:
    """Wait until every lane of the workgroup is here; writes before it are seen after it.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.

    Raises:
        DTypeError: Not a block.
    """
    open_block(block, "ir_barrier").emit("barrier")


# structure and state


def ir_if(block: IrBlock, condition: IrValue) -> tuple[IrBlock, IrBlock]:
    """Append a branch; return the blocks for lanes where the condition holds and where it does not.

    The second may stay empty. What is appended to ``block`` from now on runs after both.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        condition: Value that is a condition.

    Returns:
        Two blocks.

    Raises:
        DTypeError: Not a value of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    target = open_block(block, "ir_if")
    test = target.operand(condition, bool_, "ir_if")
    with target.program.builder.into(target.body):
        branch = target.program.builder.if_(test)
    return IrBlock(target.program, branch.then), IrBlock(target.program, branch.otherwise)


def ir_loop(block: IrBlock, start: IrValue, stop: IrValue, step: IrValue | None = None) -> tuple[IrBlock, IrValue]:
    """Append a loop counting from ``start`` up to but not including ``stop``; return its block and counter.

    The three are of one integer type, u32 or u64; ``step`` is 1 by default, and 0 runs nothing.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        start: First number, a value.
        stop: Number that it does not reach, a value.
        step: Value that is added; None: 1.

    Returns:
        Block of the loop, and its counter, a value.

    Raises:
        DTypeError: Not a value of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    target = open_block(block, "ir_loop")
    dtype = target.own(start, "ir_loop").integer
    first, last = target.operand(start, dtype, "ir_loop"), target.operand(stop, dtype, "ir_loop")
    by = target.const(1, dtype) if step is None else target.operand(step, dtype, "ir_loop")
    with target.program.builder.into(target.body):
        loop = target.program.builder.for_(first, last, by)
    return IrBlock(target.program, loop.body), IrValue(target.program, loop.index)


def ir_var(block: IrBlock, initial: IrValue) -> IrVariable:
    """Declare a mutable local of each lane, with its first value and that value's type.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        initial: First value.

    Returns:
        Local.

    Raises:
        DTypeError: Not a value of this kernel; not a block.
    """
    target = open_block(block, "ir_var")
    value = target.own(initial, "ir_var")
    variable = target.program.builder.variable("var", value.instr.type)
    target.emit("set", value.instr, attr=variable)
    return IrVariable(target.program, variable, value.is_word)


def ir_get(block: IrBlock, var: IrVariable) -> IrValue:
    """The value of a local now.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        var: Local, of ``ir_var``.

    Returns:
        Value of the kernel.

    Raises:
        DTypeError: Not a local of this kernel; not a block.
        KernelTypeError: A value of another type.
    """
    target = _owning("ir_get", block, var)
    return IrValue(target.program, target.emit("get", attr=var.variable), var.is_word)


def ir_set(block: IrBlock, var: IrVariable, val: IrValue) -> None:
    """Assign a local; ``val`` is of its type, or a word.

    Args:
        block: Block of the kernel, of ``ir_entry``, ``ir_block``, ``ir_if`` or ``ir_loop``.
        var: Local, of ``ir_var``.
        val: Value of its type, or a word.

    Raises:
        DTypeError: Not a value of this kernel; not a block; not a local of this kernel.
        KernelTypeError: A value of another type.
    """
    target = _owning("ir_set", block, var)
    value = target.bits(val, "ir_set") if var.is_word else target.operand(val, var.variable.dtype, "ir_set")
    target.emit("set", value, attr=var.variable)


def _owning(where: str, block: IrBlock, var: Any) -> IrBlock:
    target = open_block(block, where)
    if not isinstance(var, IrVariable) or var.program is not target.program:
        raise DTypeError(
            where,
            "not a variable of this kernel",
            expected="what ir_var returned",
            got=type(var).__name__,
            remedy="Write var = ir_var(block, initial)",
        )
    return target
