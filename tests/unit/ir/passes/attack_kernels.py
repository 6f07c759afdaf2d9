"""Random kernels whose accesses hang on integers of all kinds: guards, counters, narrow types, what wraps.

``attack_kernel(seed)`` gives equal kernels for equal seeds. They are made for proofs that accesses are inside, so most
indexes are small, or kept small by something; lanes add to shared places in any order, and store nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from loom.core.dtype import DType, bool_, f32, i8, i16, i32, i64, lookup, u8, u16, u32, u64
from loom.ir.builder import Builder
from loom.ir.kernel import Access, If, Instr, Kernel, Memory, Variable

KINDS = (u8, i8, u16, i16, u32, i32, u64, i64)
_COMPARE = ("lt", "le", "gt", "ge", "lt", "ge", "eq", "ne")


class AttackKernel:
    """Grows a kernel; ``budget`` bounds its size."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = random.Random(seed)
        shape = rng.choice([(1, 1, 1), (4, 1, 1), (8, 1, 1), (3, 2, 1), (2, 2, 2)])
        b = self.b = Builder(f"attack_{seed}", shape)
        self.kinds = [*rng.sample(KINDS, k=rng.randint(1, 3)), u32, i32]
        self.sources = [b.buffer(f"x{n}", t, Access.READ) for n, t in enumerate(self.kinds)]
        self.vectors = b.buffer("v", lookup("f32x4"), Access.READ)
        self.cells = b.buffer("cells", u32)
        self.params = [b.param(f"p{n}", rng.choice(self.kinds)) for n in range(3)]
        self.shared = b.shared("s", u32, rng.choice([7, 16, 40, 260]))
        self.private = b.private("a", u32, rng.choice([5, 16, 40, 260]))
        self.scopes: list[list[Instr]] = [[]]
        self.variables: list[list[Variable]] = [[]]
        self.flags: list[list[Variable]] = [[]]
        self.loops = 0
        self.budget = rng.randint(3, 14)

    def build(self) -> Kernel:
        b = self.b
        for d in range(3):
            self.scopes[0] += [b.emit(n, attr=d) for n in ("local_id", "global_id", "group_id", "num_groups")]
        self.scopes[0] += [b.emit("param", attr=p) for p in self.params]
        self.scopes[0] += [b.emit("length", memory=m) for m in (*self.sources, self.cells)]
        self.declare()
        while self.budget > 0:
            self.statement(0)
        self.access()
        return b.finish()

    # values

    def known(self, dtype: DType) -> list[Instr]:
        return [v for s in self.scopes for v in s if v.dtype == dtype]

    def number(self, dtype: DType) -> Instr:
        small = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 40]
        edges = [dtype.minimum, dtype.maximum, dtype.maximum - 1, max(dtype.minimum, -1), max(dtype.minimum, -3)]
        return self.b.const(self.rng.choice(small if self.rng.random() < 0.8 else edges), dtype)

    def value(self, dtype: DType, depth: int = 2) -> Instr:
        """Return an integer."""
        rng, b = self.rng, self.b
        known, choice = self.known(dtype), rng.random()
        if depth <= 0 or choice < 0.3:
            return rng.choice(known) if known and rng.random() < 0.75 else self.number(dtype)
        if choice < 0.42:
            variables = [v for s in self.variables for v in s if v.dtype == dtype]
            if variables:
                return b.emit("get", attr=rng.choice(variables))
        if choice < 0.5:
            return self.kept_small(dtype, depth)
        if choice < 0.58:
            return b.emit("select", self.condition(depth - 1), *(self.value(dtype, depth - 1) for _ in "ab"))
        if choice < 0.68:
            return self.converted(dtype, depth)
        if choice < 0.72 and dtype in self.kinds:
            memory = self.sources[self.kinds.index(dtype)]
            return b.emit("load", self.kept_small(u32, 1), memory=memory)
        if choice < 0.8:
            return b.emit(rng.choice(["neg", "abs", "not", "popcount", "clz"]), self.value(dtype, depth - 1))
        names = ["add", "sub", "add", "sub", "mul", "idiv", "irem", "min", "max", "and", "or", "xor", "shl", "shr"]
        return b.emit(rng.choice([*names, "mulhi"]), *(self.value(dtype, depth - 1) for _ in "ab"))

    def kept_small(self, dtype: DType, depth: int) -> Instr:
        rng = self.rng
        name = rng.choice(["irem", "and", "min", "irem", "and", "shr", "max"])
        return self.b.emit(name, self.value(dtype, depth - 1), self.number(dtype))

    def converted(self, dtype: DType, depth: int) -> Instr:
        rng, b = self.rng, self.b
        choice = rng.random()
        if choice < 0.1:
            return b.emit("convert", self.condition(depth - 1), dtype=dtype)
        if choice < 0.2:
            real = b.emit("convert", self.value(rng.choice(self.kinds), depth - 1), dtype=f32)
            return b.emit("convert", b.emit("mul", real, b.const(0.5, f32)), dtype=dtype)
        same = [t for t in self.kinds if t.bits == dtype.bits and t != dtype]
        if choice < 0.35 and same:
            return b.emit("bitcast", self.value(rng.choice(same), depth - 1), dtype=dtype)
        return b.emit("convert", self.value(rng.choice(self.kinds), depth - 1), dtype=dtype)

    def condition(self, depth: int = 2) -> Instr:
        rng, b = self.rng, self.b
        choice = rng.random()
        if depth > 0 and choice < 0.2:
            return b.emit(rng.choice(["and", "or", "xor"]), self.condition(depth - 1), self.condition(depth - 1))
        if depth > 0 and choice < 0.3:
            return b.emit("not", self.condition(depth - 1))
        flags = [f for s in self.flags for f in s]
        if flags and choice < 0.45:
            return b.emit("get", attr=rng.choice(flags))
        known = [v for s in self.scopes for v in s if v.dtype == bool_]
        if known and choice < 0.55:
            return rng.choice(known)
        dtype = rng.choice(self.kinds)
        right = self.number(dtype) if rng.random() < 0.6 else self.value(dtype, 1)
        sides = [self.value(dtype, 1), right]
        if rng.random() < 0.2:
            sides.reverse()
        return b.emit(rng.choice(_COMPARE), *sides)

    # statements

    def statement(self, depth: int) -> None:
        self.budget -= 1
        kinds: list[Callable[[], None]] = [self.access, self.access, self.guarded, self.name, self.name]
        kinds += [self.assign, self.assign, self.declare, self.flag, self.told]
        if depth < 3:
            kinds += [lambda: self.branch(depth), lambda: self.counted(depth), lambda: self.turning(depth)] * 2
        if depth:
            kinds += [self.leave]
        self.rng.choice(kinds)()

    def name(self) -> None:
        value = self.value(self.rng.choice(self.kinds)) if self.rng.random() < 0.7 else self.condition()
        self.scopes[-1].append(value)

    def declare(self) -> None:
        variable = self.b.variable("n", self.rng.choice(self.kinds))
        self.b.emit("set", self.value(variable.dtype), attr=variable)
        self.variables[-1].append(variable)

    def assign(self) -> None:
        variables = [v for s in self.variables for v in s]
        if variables:
            variable = self.rng.choice(variables)
            value = self.value(variable.dtype)
            if self.rng.random() < 0.5:
                step = self.b.const(self.rng.choice([1, 2, 3]), variable.dtype)
                value = self.b.emit(self.rng.choice(["add", "sub"]), self.b.emit("get", attr=variable), step)
            self.b.emit("set", value, attr=variable)

    def flag(self) -> None:
        """A condition kept in a variable, perhaps one of two of which the second is computed where needed."""
        b, rng = self.b, self.rng
        flags = [f for s in self.flags for f in s]
        if flags and rng.random() < 0.3:
            b.emit("set", self.condition(), attr=rng.choice(flags))
            return
        index = self.value(rng.choice(self.kinds))
        self.scopes[-1].append(index)
        variable, first = b.variable("flag", bool_), rng.choice([self.condition, lambda: self.about(index)])()
        early = self.about(index) if rng.random() < 0.4 else None
        b.emit("set", first, attr=variable)
        if rng.random() < 0.3:
            self.asked(b.emit("get", attr=variable), index)
        if rng.random() < 0.8:
            branch = b.if_(first if rng.random() < 0.6 else b.emit("not", first))
            with b.into(branch.then):
                self.open()
                if rng.random() < 0.2:
                    self.leave()
                b.emit("set", early if early is not None else self.about(index), attr=variable)
                self.close()
        self.flags[-1].append(variable)
        if rng.random() < 0.7:
            self.asked(b.emit("get", attr=variable), index)

    def asked(self, condition: Instr, index: Instr | None = None) -> None:
        branch = self.b.if_(condition)
        with self.b.into(branch.then if self.rng.random() < 0.7 else branch.otherwise):
            self.open()
            self.access(index)
            self.close()

    def told(self) -> None:
        """An index, and a condition about it."""
        value = self.value(self.rng.choice(self.kinds))
        self.scopes[-1].append(value)
        self.within(value)

    def about(self, value: Instr) -> Instr:
        """Return a condition that likely keeps a value small."""
        b, rng = self.b, self.rng
        likely = ["lt", "le", "lt", "eq"] if rng.random() < 0.8 else [*_COMPARE]
        limit = b.const(rng.choice([1, 2, 3, 5, 8, 16, 40]), value.type)
        condition = b.emit(rng.choice(likely), value, limit if rng.random() < 0.7 else self.value(value.type, 1))
        if value.type.is_signed and rng.random() < 0.7:
            least = b.emit(rng.choice(["ge", "gt"]), value, b.const(rng.choice([0, 0, -1, 1, 2]), value.type))
            condition = b.emit(rng.choice(["and", "and", "and", "or"]), condition, least)
        if rng.random() < 0.15:
            condition = b.emit("not", condition)
        return condition

    def within(self, value: Instr) -> None:
        condition = self.about(value)
        self.scopes[-1].append(condition)
        self.asked(condition, value)

    def guarded(self) -> None:
        values = [v for s in self.scopes for v in s if v.dtype != bool_]
        self.within(self.rng.choice(values))

    def access(self, index: Instr | None = None) -> None:
        rng, b = self.rng, self.b
        if index is None:
            values = [v for s in self.scopes for v in s if v.dtype != bool_]
            index = rng.choice(values) if rng.random() < 0.5 else self.value(rng.choice(self.kinds))
            if (index.type.is_signed or index.type.bits > 16) and rng.random() < 0.8:
                index = self.kept_inside(index)
        elif rng.random() < 0.2:
            near = b.const(rng.choice([1, 2, 3]), index.type)
            index = b.emit(rng.choice(["add", "sub"]), index, near)
        memories: list[Memory] = [*self.sources, self.vectors, self.cells] * 3
        memory = rng.choice([*memories, self.shared, self.private])
        if memory is self.private and rng.random() < 0.5:
            b.emit("store", index, self.value(u32, 1), memory=memory)
        elif memory in (self.cells, self.shared):
            b.emit("atomic_add", index, b.const(1, u32), memory=memory)
        else:
            found = b.emit("load", index, memory=memory)
            if found.dtype in self.kinds:
                self.scopes[-1].append(found)

    def kept_inside(self, index: Instr) -> Instr:
        rng, b = self.rng, self.b
        if index.type.is_signed:
            if rng.random() < 0.4:
                index = b.emit("max", index, b.const(rng.choice([0, 0, 1, -1]), index.type))
            else:
                index = b.emit(rng.choice(["convert", "convert", "bitcast"]), index,
                               dtype={8: u8, 16: u16, 32: u32, 64: u64}[index.type.bits])  # fmt: skip
        limit = b.const(rng.choice([1, 3, 7, 15, 31]), index.type)
        return b.emit(rng.choice(["irem", "and", "min"]), index, limit)

    def open(self) -> None:
        for each in (self.scopes, self.variables, self.flags):
            each.append([])

    def close(self) -> None:
        for each in (self.scopes, self.variables, self.flags):
            each.pop()

    def block(self, depth: int) -> None:
        self.open()
        for _ in range(self.rng.randint(1, 3)):
            self.statement(depth + 1)
        self.close()

    def branch(self, depth: int) -> None:
        branch = self.b.if_(self.condition())
        with self.b.into(branch.then):
            self.block(depth)
        if self.rng.random() < 0.5:
            with self.b.into(branch.otherwise):
                self.block(depth)

    def leave(self) -> None:
        branch: If = self.b.if_(self.condition())
        exits = [self.b.return_] + ([self.b.break_, self.b.continue_] * 2 if self.loops else [])
        with self.b.into(self.rng.choice([branch.then, branch.otherwise])):
            if self.rng.random() < 0.3:
                self.assign()
            self.rng.choice(exits)()

    def counted(self, depth: int) -> None:
        b, rng = self.b, self.rng
        dtype = rng.choice(self.kinds)
        down = dtype.is_signed and rng.random() < 0.5
        limit = b.const(rng.choice([3, 8, 20]), dtype)
        start, stop = (b.emit("min", self.value(dtype, 1), limit) for _ in "ab")
        if dtype.is_signed:
            start, stop = (b.emit("max", each, b.const(-9, dtype)) for each in (start, stop))
        step = b.const(rng.randint(1, 5) * (-1 if down else 1), dtype)
        loop = b.for_(start, stop, step, down=down)
        with b.into(loop.body):
            self.open()
            self.scopes[-1].append(loop.index)
            self.loops += 1
            self.block(depth)
            self.loops -= 1
            self.close()

    def turning(self, depth: int) -> None:
        """A while loop about a counter, which ends after some turns whatever the counter does."""
        b, rng = self.b, self.rng
        dtype = rng.choice(self.kinds)
        counter, left = b.variable("c", dtype), b.variable("left", u32)
        b.emit("set", self.value(dtype, 1), attr=counter)
        b.emit("set", b.const(rng.choice([2, 5, 9]), u32), attr=left)
        loop = b.while_()
        with b.into(loop.test):
            now = b.emit("get", attr=counter)
            told = now if rng.random() < 0.7 else b.emit(rng.choice(["add", "sub"]), now, b.const(1, dtype))
            goes = b.emit(
                rng.choice(_COMPARE), told, self.value(dtype, 1) if rng.random() < 0.4 else self.number(dtype)
            )
            loop.condition = b.emit("and", b.emit("ne", b.emit("get", attr=left), b.const(0, u32)), goes)
        with b.into(loop.body):
            self.open()
            self.variables[-1].append(counter)
            self.scopes[-1].append(b.emit("get", attr=counter))
            b.emit("set", b.emit("sub", b.emit("get", attr=left), b.const(1, u32)), attr=left)
            self.loops += 1
            if rng.random() < 0.5:
                self.access(b.emit("get", attr=counter))
            self.block(depth)
            step = b.const(rng.choice([1, 1, 2, 3]), dtype)
            stepped = b.emit(rng.choice(["add", "sub"]), b.emit("get", attr=counter), step)
            if rng.random() < 0.1:
                stepped = b.emit("shr", b.emit("get", attr=counter), b.const(1, dtype))
            b.emit("set", stepped, attr=counter)
            if rng.random() < 0.3:
                self.access(b.emit("get", attr=counter))
            self.loops -= 1
            self.close()


def attack_kernel(seed: int) -> Kernel:
    """Return the kernel of a seed."""
    return AttackKernel(seed).build()
