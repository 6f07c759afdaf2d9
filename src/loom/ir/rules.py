"""The type rules: which operands an operation takes, and the type of its result.

Layer: ir. ``Builder`` asks at each call and ``verify`` again. Invariant: a rule stands here once; ``ops`` says
which operation follows which.
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.core.dtype import DType, bool_, f32, i32, u32
from loom.ir.kernel import Memory, Space
from loom.ir.ops import OPS, Accepts, Effect, Op, Result

__all__ = ["TypeRule", "infer", "join_names"]


_OF_MEMORY = ("store", "length", "tile_product", "wide_product", "fetch")
"""What names a memory, beside what gives an element of one."""


class TypeRule(Exception):
    """A broken type rule, before the kernel's name and line are known."""

    def __init__(self, what: str, expected: object, got: object, remedy: str) -> None:
        super().__init__(what)
        self.parts = (what, expected, got, remedy)


def join_names(types: Sequence[DType]) -> str:
    """Name types for an error."""
    return ", ".join(str(t) for t in types) or "nothing"


def infer(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> DType | None:
    """Return the result type of ``op`` on operands of ``types``; raises ``TypeRule`` if they do not fit.

    ``named`` is the type in the attribute of const, convert, bitcast, param, get, index, vector.
    """
    if op.arity >= 0 and len(types) != op.arity:
        raise TypeRule(
            f"{op.name} has the wrong number of operands",
            op.arity,
            len(types),
            f"{op.name}: {op.doc}",
        )
    if (op.result is Result.ELEMENT or op.name in _OF_MEMORY) != (memory is not None):
        wanted = "none" if memory is not None else "a buffer, shared or private array"
        raise TypeRule(f"{op.name} names the wrong memory", wanted, memory and memory.name, f"{op.name}: {op.doc}")
    if op.accepts is not Accepts.SPECIAL:
        _check_operands(op, types)
    else:
        _SPECIAL[op.name](op, types, named, memory)
    if op.result is Result.SAME:
        return types[-1]
    if op.result is Result.BOOL:
        return bool_.vector(types[0].lanes)
    if op.result is Result.ATTR:
        _check_named(op, types, named)
        return named
    if op.result is Result.ELEMENT:
        assert memory is not None
        return memory.dtype
    return u32 if op.result is Result.U32 else None


def _check_operands(op: Op, types: Sequence[DType]) -> None:
    allowed: DType | None = None
    for dtype in types:
        if dtype is not allowed and not op.accepts.allows(dtype):
            hint = f"Convert with f32(...) before {op.name}" if dtype.storage_only else "Convert it first"
            raise TypeRule(f"{op.name} cannot take a {dtype}", op.accepts.value, dtype, hint)
        allowed = dtype
    if any(dtype is not types[0] and dtype != types[0] for dtype in types):
        raise TypeRule(
            f"{op.name} mixes types",
            "operands of one type",
            join_names(types),
            f"Convert one, for example {_widest(types)}(...)",
        )


def _widest(types: Sequence[DType]) -> DType:
    """Return the type that loses least of the others' numbers: to convert to it is the remedy."""
    scalars = [(t, t.scalar) for t in types]
    return max(scalars, key=lambda pair: (pair[1].is_float, not pair[1].is_bool, pair[1].bits, pair[1].is_signed))[0]


def _check_named(op: Op, types: Sequence[DType], named: DType | None) -> None:
    if named is None:
        raise TypeRule(f"{op.name} needs a type", "a dtype", None, f"{op.name}: {op.doc}")
    if op.name == "bitcast" and (types[0].bits, types[0].lanes) != (named.bits, named.lanes):
        raise TypeRule("bitcast changes the width", f"{types[0].bits} bits", named, "Use a type of the same width")
    if op.name == "bitcast" and (types[0].is_bool or named.is_bool):
        raise TypeRule("bitcast cannot take bool", "an integer or float", "bool", "Use select or u32(...)")
    if op.name == "convert":
        source = types[0]
        if source.lanes != named.lanes:
            raise TypeRule(
                "conversion changes the number of components", source.lanes, named.lanes, "Convert per component"
            )
        half = [t for t in (source, named) if t.storage_only]
        other = named if source.storage_only else source
        if half and other.scalar.name not in ("f32", half[0].scalar.name):
            raise TypeRule(f"{half[0]} converts only from and to f32", "f32", other, "Convert through f32(...)")


def _rule_select(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    condition, a, b = types
    if not condition.is_bool:
        raise TypeRule("select needs a condition", "bool", condition, "Compare first, for example x > 0")
    if a != b:
        raise TypeRule("select mixes types", a, b, f"Convert one, for example {_widest((a, b))}(...)")
    if condition.lanes not in (1, a.lanes):
        raise TypeRule("select has a condition of other width", a.lanes, condition.lanes, "Use one bool")


def _rule_fma(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    for dtype in types:
        if dtype != f32:
            raise TypeRule("fma is for f32", f32, dtype, "Convert with f32(...), or write a * b + c")


def _rule_vector(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    if named is None:
        raise TypeRule("vector needs a type", "a dtype", None, f"{op.name}: {op.doc}")
    if len(types) != named.lanes or any(t != named.scalar for t in types):
        raise TypeRule(
            f"{named} is made from its components", f"{named.lanes} of {named.scalar}", join_names(types),
            f"Write {named}(a, b, ...)",
        )  # fmt: skip


def _rule_extract(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    if not types[0].is_vector or named != types[0].scalar:
        raise TypeRule("only short vectors have components", "a vector", types[0], "Use x, y, z or w of one")


def _rule_memory(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    assert memory is not None, "infer refuses"
    if not types[0].is_integer or types[0].is_vector:
        raise TypeRule(f"{memory.name} is indexed by {types[0]}", "an integer", types[0], "Convert with u32(...)")
    for value in types[1:]:
        if value != memory.dtype:
            raise TypeRule(
                f"{memory.name} holds {memory.dtype}", memory.dtype, value, f"Convert with {memory.dtype}(...)"
            )
    if op.name == "load" and not memory.access.reads:
        raise TypeRule(f"{memory.name} is only written", "In or InOut", "Out", f"Declare {memory.name} as InOut")
    if op.name != "load" and not memory.access.writes:
        raise TypeRule(f"{memory.name} is only read", "Out or InOut", "In", f"Declare {memory.name} as InOut")
    if op.effect is Effect.ATOMIC:
        _check_atomic(op, memory)


def _check_atomic(op: Op, memory: Memory) -> None:
    dtype = memory.dtype
    if dtype.is_float:
        raise TypeRule(
            f"float atomics depend on the order of lanes and are refused ({op.name} on {memory.name})",
            "an integer of 32 or 64 bits",
            dtype,
            "Declare it as loom.fixed(2**-20), whose sums are exact in any order; or reduce in a fixed order: "
            "loom.group_sum, or store what each lane has and call loom.gpu_sum; bitcast to u32 for exchange",
        )
    if dtype.is_vector or not dtype.is_integer or dtype.bits < 32:
        raise TypeRule(f"{op.name} on {memory.name}", "an integer of 32 or 64 bits", dtype, "Use a u32 buffer")
    if memory.space is Space.PRIVATE:
        raise TypeRule(
            f"{op.name} on private array {memory.name}", "a buffer or shared memory", "private", "Use load and store"
        )
    if not memory.access.reads:
        raise TypeRule(f"{memory.name} is only written", "InOut", "Out", f"Declare {memory.name} as InOut")


def _rule_tile_product(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    assert memory is not None, "infer refuses"
    if memory.dtype != i32 or memory.space is not Space.SHARED:
        raise TypeRule(
            f"{op.name} of {memory.space.value} {memory.name} of {memory.dtype}", "a shared array of i32", memory.dtype,
            "Bring both operands to shared memory, four bytes in a word",
        )  # fmt: skip
    if list(types) != [u32, u32, i32.vector(4)]:
        raise TypeRule(
            f"{op.name} has operands of other types", "u32, u32, i32x4", join_names(types), f"{op.name}: {op.doc}"
        )


def _rule_wide(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    if memory is not None and op.name == "wide_product" and (memory.dtype != i32 or memory.space is not Space.PRIVATE):
        raise TypeRule(
            f"{op.name} into {memory.space.value} {memory.name} of {memory.dtype}", "a private array of i32",
            memory.dtype, "Keep the sums in a private array",
        )  # fmt: skip
    if memory is not None and op.name == "fetch" and (memory.space is not Space.BUFFER or memory.dtype.nbytes != 4):
        raise TypeRule(
            f"{op.name} from {memory.space.value} {memory.name} of {memory.dtype}", "a buffer of words of 32 bits",
            memory.dtype, "Fetch from a buffer of i32, u32 or f32",
        )  # fmt: skip
    if any(t != u32 for t in types):
        raise TypeRule(f"{op.name} has operands of other types", "u32", join_names(types), f"{op.name}: {op.doc}")


def _rule_set(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    if types[0] != named:
        raise TypeRule("assignment changes the variable's type", named, types[0], f"Convert with {named}(...)")


def _rule_breakpoint(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    if types:
        raise TypeRule("breakpoint takes no operands", 0, len(types), "Print them, or look at them in the debugger")


def _rule_within(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    index, extent = types
    if not index.is_integer or index.is_vector:
        raise TypeRule(f"an axis is indexed by {index}", "an integer", index, "Convert with u32(...)")
    if extent != u32:
        raise TypeRule("an extent has a wrong type", u32, extent, f"{op.name}: {op.doc}")


def _rule_print(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    for dtype in types:
        if dtype.is_vector or dtype.storage_only:
            raise TypeRule(f"{op.name} takes scalars", "bool, integer, f32 or f64", dtype, "Print its components")


def _rule_assert(op: Op, types: Sequence[DType], named: DType | None, memory: Memory | None) -> None:
    if not types or types[0] != bool_:
        raise TypeRule("assert needs a condition", "bool", join_names(types), "Compare first, for example x > 0")
    _rule_print(op, types[1:], named, memory)


_SPECIAL = {
    "select": _rule_select,
    "fma": _rule_fma,
    "vector": _rule_vector,
    "extract": _rule_extract,
    "set": _rule_set,
    "tile_product": _rule_tile_product,
    **dict.fromkeys(("wide_product", "fetch", "fetched", "release"), _rule_wide),
    "print": _rule_print,
    "assert": _rule_assert,
    "breakpoint": _rule_breakpoint,
    "within": _rule_within,
    **{name: _rule_memory for name, op in OPS.items() if name in ("load", "store") or op.effect is Effect.ATOMIC},
}
