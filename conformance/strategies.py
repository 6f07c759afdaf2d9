"""Random kernels for tests: well typed, free of races, full of divergence.

``random_kernel(seed)`` builds one with ``Builder``; equal seeds give equal kernels. Every lane writes only
its own elements of ``out``, so any device must reproduce the interpreter's bits.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from loom.core.dtype import DType, bool_, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64
from loom.ir.builder import Builder
from loom.ir.kernel import Access, Instr, Kernel, Memory, Variable

NUMBERS = (u32, i32, f32, u64, i64, f64, u8, i16, i8, u16)
INTEGERS = tuple(t for t in NUMBERS if t.is_integer)
FLOATS = (f32, f64)
SLOTS = 6
"""Elements of ``out`` each lane owns."""


@dataclass
class _Scope:
    values: list[Instr] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)


class RandomKernel:
    """Grows a kernel statement by statement; ``budget`` bounds its size."""

    def __init__(self, seed: int, *, barriers: bool = True) -> None:
        self.rng = random.Random(seed)
        lanes = self.rng.choice([1, 2, 4, 7, 16, 24, 32, 64, 96, 128])
        shape = (lanes, 1, 1)
        if self.rng.random() < 0.25:
            shape = self.rng.choice([(8, 8, 1), (4, 4, 4), (16, 4, 1), (3, 5, 1), (32, 2, 1)])
        self.b = Builder(f"random_{seed}", shape)
        self.lanes = shape[0] * shape[1] * shape[2]
        self.barriers = barriers and self.lanes > 1
        self.types = [*self.rng.sample(NUMBERS, k=self.rng.randint(2, 5)), u32]
        self.inputs = [self.b.buffer(f"x{i}", t, Access.READ) for i, t in enumerate(self.types)]
        self.out = self.b.buffer("out", u64)
        self.tally = self.b.buffer("tally", u32)
        self.params = [self.b.param(f"p{i}", t) for i, t in enumerate(self.types)]
        self.shared = self.b.shared("s", u32, self.lanes) if self.barriers else None
        self.private = self.b.private("a", self.rng.choice([u32, f32, i64]), self.rng.randint(1, 5))
        self.scopes = [_Scope()]
        self.budget = self.rng.randint(10, 60)
        self.loop_depth = 0
        self.divergent = 0

    def build(self) -> Kernel:
        self.flat = self._flat_lane()
        for p in self.params:
            self.scopes[-1].values.append(self.b.emit("param", attr=p))
        for _ in range(self.rng.randint(1, 4)):
            self.declare()
        while self.budget > 0:
            self.statement(depth=0)
        for slot in range(SLOTS):
            self.store_out(slot)
        return self.b.finish()

    def _flat_lane(self) -> Instr:
        """Number of the lane over one-dimensional groups of any shape."""
        b, (x, y, _) = self.b, self.b.workgroup
        ids = [b.emit("local_id", attr=d) for d in range(3)]
        self.scopes[-1].values += ids
        plane = b.emit("add", b.emit("mul", ids[2], b.const(y, u32)), ids[1])
        local = b.emit("add", b.emit("mul", plane, b.const(x, u32)), ids[0])
        self.local = local
        group = b.emit("group_id", attr=0)
        self.scopes[-1].values += [group, b.emit("global_id", attr=0), b.emit("num_groups", attr=0), local]
        return b.emit("add", b.emit("mul", group, b.const(self.lanes, u32)), local)

    # values

    def visible(self, dtype: DType) -> list[Instr]:
        return [v for s in self.scopes for v in s.values if v.dtype == dtype]

    def literal(self, dtype: DType) -> Instr:
        if dtype.is_bool:
            return self.b.const(self.rng.random() < 0.5, bool_)
        if dtype.is_float:
            special = [0.0, -0.0, 1.0, -1.5, 1e-40, 3e38, float("inf"), float("nan"), 0.1, 7.25]
            return self.b.const(self.rng.choice(special), dtype)
        edges = [dtype.minimum, dtype.maximum, 0, 1, 2, 3, 5, 7]
        return self.b.const(self.rng.choice(edges), dtype)

    def expression(self, dtype: DType, depth: int = 3) -> Instr:
        self.budget -= 0.2
        choice = self.rng.random()
        known = self.visible(dtype)
        if depth <= 0 or choice < 0.25:
            if known and self.rng.random() < 0.8:
                return self.rng.choice(known)
            return self.literal(dtype)
        if choice < 0.40:
            variables = [v for s in self.scopes for v in s.variables if v.dtype == dtype]
            if variables:
                return self.b.emit("get", attr=self.rng.choice(variables))
        if choice < 0.55 and not dtype.is_bool:
            memories = [m for m in (*self.inputs, self.private) if m.dtype == dtype]
            if memories:
                return self.load(self.rng.choice(memories), depth)
        return self.computed(dtype, depth)

    def load(self, memory: Memory, depth: int) -> Instr:
        kind = self.rng.choice(INTEGERS)
        index = self.expression(kind, depth - 1)
        if self.rng.random() < 0.6:
            index = self.rng.choice([self.flat, self.local, *self.visible(u32)])
        return self.b.emit("load", index, memory=memory)

    def computed(self, dtype: DType, depth: int) -> Instr:
        b, rng = self.b, self.rng
        if dtype.is_bool:
            return self.condition(depth)
        kind = rng.random()
        if kind < 0.15:
            return b.emit("select", self.condition(depth - 1), *(self.expression(dtype, depth - 1) for _ in "ab"))
        if kind < 0.35:
            source = rng.choice([t for t in NUMBERS if t != dtype])
            return b.emit("convert", self.expression(source, depth - 1), dtype=dtype)
        if kind < 0.42:
            source = rng.choice([t for t in NUMBERS if t.bits == dtype.bits])
            return b.emit("bitcast", self.no_nan(self.expression(source, depth - 1)), dtype=dtype)
        binary = ["add", "sub", "mul", "min", "max"]
        unary = ["neg", "abs"]
        if dtype.is_float:
            binary += ["div"]
            unary += ["floor", "ceil", "rint", "trunc", "sqrt"]
        else:
            binary += ["idiv", "irem", "and", "or", "xor", "shl", "shr", "mulhi", "add", "mul"]
            unary += ["not", "popcount", "clz"]
        if dtype == i32 and rng.random() < 0.08:
            dot = rng.choice(["dot4_i8", "dot4_u8i8", "dot2_i16"])
            return b.emit(dot, *(self.expression(dtype, depth - 1) for _ in "abc"))
        if rng.random() < 0.75:
            return b.emit(rng.choice(binary), *(self.expression(dtype, depth - 1) for _ in "ab"))
        return b.emit(rng.choice(unary), self.expression(dtype, depth - 1))

    def condition(self, depth: int = 2) -> Instr:
        b, rng = self.b, self.rng
        if depth > 0 and rng.random() < 0.2:
            return b.emit(rng.choice(["and", "or", "xor"]), self.condition(depth - 1), self.condition(depth - 1))
        dtype = rng.choice(self.types)
        op = rng.choice(["eq", "ne", "lt", "le", "gt", "ge"])
        if rng.random() < 0.4:
            op = rng.choice(["lt", "ge"])
            return b.emit(op, rng.choice([self.flat, self.local]), b.const(rng.randint(0, 2 * self.lanes), u32))
        return b.emit(op, self.expression(dtype, depth - 1), self.expression(dtype, depth - 1))

    # statements

    def statement(self, depth: int) -> None:
        self.budget -= 1
        kinds = [self.assign, self.assign, self.declare, self.store_private, self.count, self.name]
        if depth < 3:
            kinds += [self.branch, self.branch, self.counted, self.repeated]
        if depth == 0 and self.barriers:
            kinds += [self.exchange, self.exchange, self.uniform_loop]
        if self.loop_depth:
            kinds += [self.leave]
        if depth and self.rng.random() < 0.08 and self.shared is None:
            kinds = [self.finish]
        self.rng.choice(kinds)(depth) if depth else self.rng.choice(kinds)(0)

    def name(self, _depth: int) -> None:
        dtype = self.rng.choice(self.types)
        self.scopes[-1].values.append(self.expression(dtype))

    def declare(self, _depth: int = 0) -> None:
        dtype = self.rng.choice([*self.types, bool_])
        variable = self.b.variable("v", dtype)
        self.b.emit("set", self.expression(dtype), attr=variable)
        self.scopes[-1].variables.append(variable)

    def assign(self, _depth: int) -> None:
        variables = [v for s in self.scopes for v in s.variables]
        if variables:
            variable = self.rng.choice(variables)
            self.b.emit("set", self.expression(variable.dtype), attr=variable)

    def store_private(self, _depth: int) -> None:
        index = self.expression(self.rng.choice([u32, i32]), 1)
        if self.rng.random() < 0.7:
            index = self.b.emit("irem", self.b.emit("convert", index, dtype=u32), self.b.const(self.private.size, u32))
        self.b.emit("store", index, self.expression(self.private.dtype), memory=self.private)

    def count(self, _depth: int) -> None:
        """Atomics nobody reads commute, whatever order lanes run in; one operation per element."""
        op = self.rng.choice(["add", "and", "or", "xor", "min", "max"])
        element = ["add", "and", "or", "xor", "min", "max"].index(op)
        value = self.expression(u32, 2)
        self.b.emit(f"atomic_{op}", self.b.const(element, u32), value, memory=self.tally)

    def block(self, depth: int, least: int = 1) -> None:
        self.scopes.append(_Scope())
        for _ in range(self.rng.randint(least, 3)):
            before = len(self.b._blocks[-1].statements)
            self.statement(depth + 1)
            last = self.b._blocks[-1].statements[before:]
            if last and type(last[-1]).__name__ in ("Break", "Continue", "Return"):
                break
        self.scopes.pop()

    def branch(self, depth: int) -> None:
        branch = self.b.if_(self.condition())
        with self.b.into(branch.then):
            self.block(depth)
        if self.rng.random() < 0.5:
            with self.b.into(branch.otherwise):
                self.block(depth)

    def counted(self, depth: int) -> None:
        """A for loop of few turns, its bounds equal or different between lanes, up or down."""
        dtype = self.rng.choice([u32, i32, u8, i64])
        b, rng = self.b, self.rng
        small = [b.const(n, dtype) for n in (0, 1, 3, 6)]
        lane = b.emit(
            "irem", b.emit("convert", self.rng.choice([self.flat, self.local]), dtype=dtype), b.const(7, dtype)
        )
        start, stop = rng.choice([*small, lane]), rng.choice([*small, lane])
        if rng.random() < 0.1:  # right up to the largest value: the counter must not wrap
            start, stop = b.const(dtype.maximum - 4, dtype), b.const(dtype.maximum, dtype)
        down = dtype.is_signed and rng.random() < 0.3
        step = b.const(-rng.randint(1, 3) if down else rng.randint(1, 3), dtype)
        loop = b.for_(start, stop, step, down=down)
        with b.into(loop.body):
            self.loop_depth += 1
            self.scopes.append(_Scope([loop.index]))
            self.block(depth)
            self.scopes.pop()
            self.loop_depth -= 1

    def repeated(self, depth: int) -> None:
        """A while loop that ends: a counter goes down from a small number of its own lane."""
        b = self.b
        counter = b.variable("turns", u32)
        limit = b.emit("irem", self.expression(u32, 1), b.const(6, u32))
        b.emit("set", limit, attr=counter)
        loop = b.while_()
        with b.into(loop.test):
            left = b.emit("ne", b.emit("get", attr=counter), b.const(0, u32))
            loop.condition = left
            if self.rng.random() < 0.3:
                loop.condition = b.emit("and", left, self.condition(1))
        with b.into(loop.body):
            b.emit("set", b.emit("sub", b.emit("get", attr=counter), b.const(1, u32)), attr=counter)
            self.loop_depth += 1
            self.block(depth)
            self.loop_depth -= 1

    def leave(self, _depth: int) -> None:
        branch = self.b.if_(self.condition())
        with self.b.into(branch.then):
            self.rng.choice([self.b.break_, self.b.continue_])()

    def finish(self, _depth: int) -> None:
        branch = self.b.if_(self.condition())
        with self.b.into(branch.then):
            self.store_out(self.rng.randrange(SLOTS))
            self.b.return_()

    def exchange(self, _depth: int) -> None:
        """Every lane publishes a value, then reads another lane's."""
        b = self.b
        assert self.shared is not None
        b.emit("barrier")
        b.emit("store", self.local, self.expression(u32), memory=self.shared)
        b.emit("barrier")
        other = b.emit("add", self.local, b.const(self.rng.randint(0, self.lanes), u32))
        other = b.emit("irem", other, b.const(self.lanes, u32))
        self.scopes[-1].values.append(b.emit("load", other, memory=self.shared))

    def no_nan(self, value: Instr) -> Instr:
        """Return a value whose bits may be looked at: which NaN it is is no part of the contract."""
        b, dtype = self.b, value.type
        if not dtype.is_float:
            return value
        return b.emit("select", b.emit("eq", value, value), value, b.const(1.0, dtype))

    def uniform_loop(self, _depth: int) -> None:
        """A loop all lanes take together, with barriers inside."""
        b = self.b
        loop = b.for_(b.const(0, u32), b.const(self.rng.randint(0, 3), u32), b.const(1, u32))
        with b.into(loop.body):
            self.scopes.append(_Scope([loop.index]))
            for _ in range(self.rng.randint(1, 2)):
                self.rng.choice([self.exchange, self.assign, self.branch, self.name])(1)
            self.exchange(1)
            self.scopes.pop()

    def store_out(self, slot: int) -> None:
        b = self.b
        dtype = self.rng.choice(self.types)
        value = self.expression(dtype)
        if dtype.is_float:
            value = b.emit("bitcast", self.no_nan(value), dtype=u32 if dtype.bits == 32 else u64)
        index = b.emit("add", b.emit("mul", self.flat, b.const(SLOTS, u32)), b.const(slot, u32))
        b.emit("store", index, b.emit("convert", value, dtype=u64), memory=self.out)


def random_kernel(seed: int, *, barriers: bool = True) -> Kernel:
    """Return the random kernel of a seed."""
    return RandomKernel(seed, barriers=barriers).build()
