"""Random programs, written as a stranger writes them who knows only the guide of the kernel language.

``random_program(seed)`` gives the source text of one module: device functions and a kernel, with float literals
on both sides of every operation, constants that only folding reveals, selects between literals, returns, breaks and
continues at every depth, loops that never turn, wide and narrow types side by side, indexes outside. Every lane
writes only what is its own, so that any device must give the interpreter's bits. Equal seeds give equal programs.
Where a float becomes an integer's bits NaN is taken out first: its payload is nobody's promise.
"""

from __future__ import annotations

import linecache
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import loom

__all__ = ["SLOTS", "Program", "random_program"]

SLOTS = 4
"""Elements of each output that a lane owns."""
_SIGNED, _UNSIGNED = ("i8", "i16", "i32", "i64"), ("u8", "u16", "u32", "u64")
_INTEGERS, _FLOATS = _SIGNED + _UNSIGNED, ("f32", "f64")
_BITS = {t: int(t[1:]) for t in (*_INTEGERS, *_FLOATS)}
_WORKGROUPS = (1, 2, 3, 5, 7, 8, 13, 16, 17, 32, 33, 64, (5, 3), (4, 4, 2), (1, 6), (16, 2))
_LITERALS = {
    "f32": (
        "0.0",
        "-0.0",
        "1.0",
        "-1.0",
        "INF",
        "-INF",
        "1e-45",
        "-1e-40",
        "3.4028234663852886e38",
        "0.5",
        "-2.5",
        "3.0",
    ),
    "f64": ("0.0", "-0.0", "1.0", "-1.0", "INF", "-INF", "5e-324", "-1e-310", "1.7976931348623157e308", "0.1", "-2.5"),
}
_HIDDEN = {
    "f32": ("bitcast(f32, i & 0)", "f32(i32(0))", "f32(u32(1))", "bitcast(f32, u32(0x80000000))", "f32(i ^ i)",
            "f32(f64(-0.0))", "bitcast(f32, (i & 0) | 0x3F800000)", "f32(i64(0))"),
    "f64": ("bitcast(f64, u64(i) & 0)", "f64(i32(0))", "f64(u8(1))", "bitcast(f64, u64(1 << 63))", "f64(f32(-0.0))"),
}  # fmt: skip
"""Constants that a compiler must fold to see: zeros of both signs, ones."""


@dataclass
class Program:
    """A module's source and the arguments of its kernel ``program``, in order: buffers, then parameters."""

    seed: int
    source: str
    arrays: list[np.ndarray[Any, Any]]
    params: list[Any]
    groups: tuple[int, int, int]

    def kernel(self) -> Any:
        """Return the kernel, its source where readers of source look for it."""
        file = f"<program {self.seed} {len(self.source)}>"
        linecache.cache[file] = (len(self.source), None, self.source.splitlines(keepends=True), file)
        names = {name: getattr(loom, name) for name in dir(loom) if not name.startswith("_") and name != "flow"}
        names |= {"loom": loom, "INF": float("inf"), "__name__": f"program_{self.seed}"}
        exec(compile(self.source, file, "exec", dont_inherit=True), names)
        return names["program"]


def random_program(seed: int, *, asserts: bool = False) -> Program:
    """Return the program of a seed; with ``asserts``, which some lanes fail, another one."""
    return _Writer(seed, asserts=asserts).program()


@dataclass
class _Scope:
    """What a block may name: locals that may be assigned, values, and whether a loop is around it."""

    locals: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)


class _Writer:
    def __init__(self, seed: int, *, asserts: bool) -> None:
        self.seed = seed
        self.asserts = asserts
        self.r = random.Random(f"program {seed}" + " with asserts" * asserts)
        self.lines: list[str] = []
        self.indent = 1
        self.count = 0
        self.scopes = [_Scope()]
        self.budget = self.r.randint(8, 45)
        self.loops = 0
        self.returns = self.r.random() < 0.7
        self.barriers = self.r.random() < 0.2
        self.types = self.r.sample([*_INTEGERS, *_FLOATS, "f32"], self.r.randint(2, 5))
        self.types = list(dict.fromkeys([*self.types, "u32", self.r.choice(_FLOATS)]))
        self.privates: dict[str, tuple[str, int]] = {}
        self.functions: dict[str, tuple[str, str]] = {}

    # the module

    def program(self) -> Program:
        r = self.r
        group = r.choice(_WORKGROUPS)
        shape = (*(group if isinstance(group, tuple) else (group,)), 1, 1)[:3]
        self.lanes = shape[0] * shape[1] * shape[2]
        counts = (r.randint(1, 3), r.choice([1, 1, 2]), 1)
        total = self.lanes * counts[0] * counts[1]
        self.halves = [h for h in ("f16", "bf16") if r.random() < 0.3]
        functions = [self.function(n) for n in range(r.randint(0, 2))]
        self.line("i = u32(((group_id(1) * num_groups(0) + group_id(0)) * workgroup_size(1) + local_id(1)) * "
                  "workgroup_size(0) + local_id(0))" if shape[2] == 1 else
                  "i = u32((((group_id(1) * num_groups(0) + group_id(0)) * workgroup_size(2) + local_id(2)) * "
                  "workgroup_size(1) + local_id(1)) * workgroup_size(0) + local_id(0))")  # fmt: skip
        self.line("lane = u32((local_id(2) * workgroup_size(1) + local_id(1)) * workgroup_size(0) + local_id(0))")
        self.scopes[-1].values |= {"i": "u32", "lane": "u32", "u32(group_id(0))": "u32"}
        self.scopes[-1].values |= {f"a_{t}": t for t in self.types}
        self.body()
        arguments = [f"x_{t}: In[{t}]" for t in (*self.types, *self.halves)]
        arguments += [f"o_{t}: InOut[{t}]" for t in (*self.types, *self.halves)]
        arguments += [f"a_{t}: {t}" for t in self.types]
        head = f"@kernel(workgroup={shape})\ndef program({', '.join(arguments)}):\n"
        source = "".join(functions) + head + "\n".join(self.lines) + "\n"
        arrays = [self.data(t, r.choice([1, 3, total, total, total + 2])) for t in (*self.types, *self.halves)]
        arrays += [self.data(t, total * SLOTS) for t in (*self.types, *self.halves)]
        return Program(self.seed, source, arrays, [self.argument(t) for t in self.types], counts)

    def data(self, dtype: str, size: int) -> np.ndarray[Any, Any]:
        """Return input data: small numbers, edges and noise."""
        rng = np.random.default_rng(self.r.getrandbits(32))
        kind = np.dtype("u2") if dtype == "bf16" else np.dtype("f2") if dtype == "f16" else _numpy(dtype)
        noise = rng.integers(0, 256, size * kind.itemsize, dtype=np.uint8).view(kind)
        if kind.kind == "f":
            some = np.array([0.0, -0.0, 1, -1, 2, -2.5, np.inf, -np.inf, np.nan, np.finfo(kind).tiny / 2], kind)
        else:
            some = np.array([0, 1, 2, 3, 5, np.iinfo(kind).max, np.iinfo(kind).min], kind)
        return np.where(rng.random(size) < 0.25, noise, some[rng.integers(0, len(some), size)])

    def argument(self, dtype: str) -> Any:
        if dtype in _FLOATS:
            return self.r.choice([0.0, -0.0, 1.0, -1.0, float("inf"), 2.5])
        return self.r.choice([0, 1, 2, 3, 7, int(np.iinfo(_numpy(dtype)).max), int(np.iinfo(_numpy(dtype)).min)])

    def function(self, number: int) -> str:
        """Write a device function of two arguments of one type, with several returns."""
        dtype, name = self.r.choice(self.types), f"helper{number}"
        outer, self.lines = self.lines, []
        self.scopes.append(_Scope(values={"a": dtype, "b": dtype}))
        hidden, self.scopes[0] = self.scopes[0], _Scope()
        for _ in range(self.r.randint(1, 3)):
            self.line(f"if {self.condition(1, plain=True)}:")
            with_else = self.r.random() < 0.4
            self.indent += 1
            self.line(f"return {self.typed(dtype, 2, plain=True)}")
            self.indent -= 1
            if with_else and self.r.random() < 0.5:
                self.line(f"elif {self.condition(1, plain=True)}:")
                self.indent += 1
                self.line(f"return {self.typed(dtype, 1, plain=True)}")
                self.indent -= 1
        self.line(f"return {self.typed(dtype, 2, plain=True)}")
        self.scopes.pop()
        self.scopes[0] = hidden
        text = f"def {name}(a, b):\n" + "\n".join(self.lines) + "\n\n"
        self.lines = outer
        self.functions[name] = dtype, text
        return text

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    # values

    def named(self, dtype: str) -> list[str]:
        return [n for s in self.scopes for n, t in (*s.locals.items(), *s.values.items()) if t == dtype]

    def literal(self, dtype: str) -> str:
        """Return a number as it stands in source: it takes the type of what it meets."""
        if dtype in _FLOATS:
            return self.r.choice(_LITERALS[dtype])
        edges = [0, 1, 2, 3, 5, 7, _BITS[dtype] - 1, _high(dtype), _high(dtype) - 1]
        edges += [-1, -2, _low(dtype)] if dtype in _SIGNED else []
        return str(self.r.choice(edges))

    def typed(self, dtype: str, depth: int = 3, *, plain: bool = False) -> str:
        """Return an expression of a type; ``plain``: of names and literals alone, no memory."""
        r = self.r
        self.budget -= 0.1
        if depth <= 0 or r.random() < 0.15:
            return self.leaf(dtype, plain=plain)
        kind = r.random()
        if kind < 0.12:
            return self.select(dtype, depth, plain=plain)
        if kind < 0.25:
            return self.converted(dtype, depth, plain=plain)
        if kind < 0.32 and not plain:
            return self.load(dtype)
        if kind < 0.38 and not plain:
            known = [n for n, (t, _) in self.functions.items() if t == dtype]
            if known:
                return f"{r.choice(known)}({self.typed(dtype, depth - 1)}, {self.typed(dtype, depth - 1)})"
        if kind < 0.50:
            return self.unary(dtype, depth, plain=plain)
        return self.binary(dtype, depth, plain=plain)

    def leaf(self, dtype: str, *, plain: bool) -> str:
        r, known = self.r, self.named(dtype)
        if known and r.random() < 0.7:
            return r.choice(known)
        if dtype in _FLOATS and not plain and r.random() < 0.5:
            return r.choice(_HIDDEN[dtype])
        return f"{dtype}({self.literal(dtype)})"

    def binary(self, dtype: str, depth: int, *, plain: bool) -> str:
        """Return an operation of two operands, either of them a bare literal now and then."""
        r = self.r
        left, right = self.typed(dtype, depth - 1, plain=plain), self.typed(dtype, depth - 1, plain=plain)
        side = r.random()
        if side < 0.2:
            left = self.literal(dtype)
        elif side < 0.4:
            right = self.literal(dtype)
        if dtype in _FLOATS:
            return r.choice(["({} + {})", "({} - {})", "({} * {})", "({} / {})", "min({}, {})", "max({}, {})"]).format(
                left, right
            )
        forms = ["({} + {})", "({} - {})", "({} * {})", "({} & {})", "({} | {})", "({} ^ {})", "({} << {})",
                 "({} >> {})", "({} // {})", "({} % {})", "idiv({}, {})", "irem({}, {})", "mulhi({}, {})",
                 "min({}, {})", "max({}, {})"]  # fmt: skip
        form = r.choice(forms)
        return form.format(*_as_bits(dtype, left, right) if form.startswith("max") else (left, right))

    def unary(self, dtype: str, depth: int, *, plain: bool) -> str:
        value = self.typed(dtype, depth - 1, plain=plain)
        names = ["-", "abs"] + (
            ["floor", "ceil", "rint", "trunc", "sqrt"] if dtype in _FLOATS else ["~", "popcount", "clz"]
        )
        name = self.r.choice(names)
        if name == "abs":
            value, _ = _as_bits(dtype, value, "0")
        return f"({name}{value})" if name in "-~" else f"{name}({value})"

    def select(self, dtype: str, depth: int, *, plain: bool) -> str:
        r = self.r
        both = [self.typed(dtype, depth - 1, plain=plain) for _ in "ab"]
        literals = r.random()
        if literals < 0.45:
            both[r.randrange(2)] = self.literal(dtype)
        elif literals < 0.6:
            both = [self.literal(dtype), self.literal(dtype)]
        condition = self.condition(depth - 1, plain=plain)
        form = "select({c}, {a}, {b})" if r.random() < 0.6 else "({a} if {c} else {b})"
        text = form.format(c=condition, a=both[0], b=both[1])
        return text if literals >= 0.6 or literals < 0.45 else self.anchored(dtype, text)

    def anchored(self, dtype: str, weak: str) -> str:
        """Let a choice between two literals meet something that has a type."""
        known = self.named(dtype)
        name = self.r.choice(known) if known else f"{dtype}({self.literal(dtype)})"
        return f"({name} {self.r.choice('+-*' if dtype in _FLOATS else '^|&')} {weak})"

    def converted(self, dtype: str, depth: int, *, plain: bool) -> str:
        r = self.r
        source = r.choice([*self.types, *_INTEGERS, *_FLOATS])
        value = self.typed(source, depth - 1, plain=plain)
        same = [t for t in (*_INTEGERS, *_FLOATS) if _BITS[t] == _BITS[dtype] and t != dtype]
        if r.random() < 0.3 and same:
            source = r.choice(same)
            if source not in _FLOATS:
                return f"bitcast({dtype}, {self.typed(source, depth - 1, plain=plain)})"
            known = self.named(source)
            if known:  # a NaN has no promised bits: 0.0 instead
                name = r.choice(known)
                return f"bitcast({dtype}, select({name} == {name}, {name}, 0.0))"
        return f"{dtype}({value})"

    def condition(self, depth: int = 2, *, plain: bool = False) -> str:
        r = self.r
        if depth > 0 and r.random() < 0.25:
            left, word = self.condition(depth - 1, plain=plain), r.choice(["and", "or"])
            joined = f"{left} {word} {self.condition(depth - 1, plain=plain)}"
            return f"({joined})" if r.random() < 0.7 else f"(not ({joined}))"
        if not plain and r.random() < 0.4:
            return f"{r.choice(['i', 'lane'])} {r.choice(['<', '>=', '==', '!='])} {r.randint(0, 2 * self.lanes)}"
        if not plain and r.random() < 0.15:
            return f"i % {r.randint(2, 5)} {r.choice(['==', '!=', '<'])} {r.randint(0, 3)}"
        known = [t for t in (*_INTEGERS, *_FLOATS) if self.named(t)]
        dtype = r.choice(known)
        op = r.choice(["<", "<=", "==", "!=", ">", ">="])
        left = self.typed(dtype, depth - 1, plain=plain)
        right = self.literal(dtype) if r.random() < 0.5 else self.typed(dtype, depth - 1, plain=plain)
        left, right = _as_bits(dtype, left, right)
        return f"{left} {op} {right}"

    def load(self, dtype: str) -> str:
        r = self.r
        found = [f"x_{dtype}"] * (dtype in self.types)
        found += [f"x_{h}" for h in self.halves] if dtype == "f32" else []
        found += [n for n, (t, _) in self.privates.items() if t == dtype]
        if not found:
            return self.leaf(dtype, plain=False)
        return f"{r.choice(found)}[{self.index()}]"

    def index(self) -> str:
        """Return an index, often inside; in any integer type, it may be anything."""
        r = self.r
        kind = r.random()
        if kind < 0.35:
            return "i"
        if kind < 0.6:
            return str(r.randint(0, 5))
        if kind < 0.8:
            return f"{self.typed('u32', 1)} & 3"
        return self.typed(r.choice(_INTEGERS), 1)

    # statements

    def body(self) -> None:
        for _ in range(self.r.randint(1, 4)):
            self.declare()
        for _ in range(self.r.randint(0, 2)):
            name, dtype, size = self.fresh("p"), self.r.choice(self.types), self.r.randint(1, 5)
            self.line(f"{name} = private({dtype}, {size})")
            self.privates[name] = dtype, size
        for _ in range(1 + 2 * self.asserts if self.barriers else 0):
            self.exchange()
            self.check()
        while self.budget > 0:
            self.statement(0)
        for dtype in self.types:
            self.store(dtype, 0)
        for half in self.halves:
            self.line(f"o_{half}[i * {SLOTS}] = {self.typed('f32', 2)}")

    def declare(self) -> None:
        dtype, name = self.r.choice(self.types), self.fresh("v")
        text = self.typed(dtype, 2)
        self.line(f"{name} = {text}")
        self.line(f"{name} = {self.typed(dtype, 1)}") if self.r.random() < 0.2 else None
        self.scopes[-1].locals[name] = dtype

    def exchange(self) -> None:
        """Lanes hand values to each other through shared memory; nobody has returned yet, loops are of one count."""
        r, dtype, name = self.r, self.r.choice(self.types), self.fresh("s")
        self.line(f"{name} = shared({dtype}, {self.lanes})")
        turns, number = r.randint(0, 3), self.fresh("t")
        self.line(f"for {number} in range({turns}):")
        self.indent += 1
        self.scopes.append(_Scope(values={}))
        if r.random() < 0.4:
            self.line(f"if {number} == {r.randint(0, 3)}:")
            self.line(f"    {r.choice(['break', 'continue'])}")
        self.check()
        self.line(f"{name}[lane] = {self.typed(dtype, 2)}")
        self.check()
        self.line("barrier()")
        mine = [n for s in self.scopes for n, t in s.locals.items() if t == dtype]
        if mine:
            self.line(f"{r.choice(mine)} = {name}[(lane + {r.randint(0, 5)}) % {self.lanes}]")
        self.line("barrier()")
        self.scopes.pop()
        self.indent -= 1

    def check(self) -> None:
        """Write an assert that few lanes fail, if there are to be any."""
        r = self.r
        if self.asserts and r.random() < 0.5:
            self.line(f"assert {self.condition(1)} or i % {r.randint(3, 9)} != {r.randint(0, 2)}, f'{{i}}'")

    def statement(self, depth: int) -> bool:
        """Write a statement; tell whether nothing after it is reached."""
        r = self.r
        self.budget -= 1
        if self.asserts and r.random() < 0.3:
            self.check()
        kind = r.random()
        if depth < 4 and kind < 0.28:
            return self.branch(depth)
        if depth < 4 and kind < 0.48 and self.loops < 3:
            self.loop(depth)
            return False
        if depth and kind < 0.58:
            return self.leave()
        if kind < 0.66:
            self.declare()
        elif kind < 0.74 and self.privates:
            name = r.choice(list(self.privates))
            self.line(f"{name}[{self.index()}] = {self.typed(self.privates[name][0], 2)}")
        elif kind < 0.86:
            self.store(r.choice(self.types), r.randrange(SLOTS))
        else:
            self.assign()
        return False

    def assign(self) -> None:
        known = [(n, t) for s in self.scopes for n, t in s.locals.items()]
        if not known:
            return self.declare()
        name, dtype = self.r.choice(known)
        if self.r.random() < 0.4:
            value = self.literal(dtype) if self.r.random() < 0.4 else self.typed(dtype, 2)
            self.line(f"{name} {self.r.choice(['+=', '-=', '*='])} {value}")
        else:
            self.line(f"{name} = {self.literal(dtype) if self.r.random() < 0.15 else self.typed(dtype)}")
        return None

    def store(self, dtype: str, slot: int) -> None:
        r = self.r
        index = f"i * {SLOTS} + {slot}"
        if r.random() < 0.1:
            index = f"i * {SLOTS} + ({self.typed('u32', 1)} & {SLOTS - 1})"
        elif r.random() < 0.05:
            index = f"{_high('u32')} - i"
        self.line(f"o_{dtype}[{index}] {r.choice(['=', '=', '+=', '-='])} {self.typed(dtype)}")

    def leave(self) -> bool:
        r = self.r
        choices = (["break", "continue"] * 2 if self.loops else []) + (["return"] if self.returns else [])
        if not choices:
            self.assign()
            return False
        self.line(r.choice(choices))
        return True

    def block(self, depth: int) -> bool:
        """Write a nested block, dead statements at its end now and then; tell whether its end is reached."""
        self.indent += 1
        self.scopes.append(_Scope())
        start, left = len(self.lines), False
        for _ in range(self.r.randint(1, 3)):
            left = self.statement(depth + 1)
            if left and self.r.random() < 0.8:
                break
        if len(self.lines) == start:
            self.line("pass")
        self.scopes.pop()
        self.indent -= 1
        return left

    def branch(self, depth: int) -> bool:
        r = self.r
        self.line(f"if {self.condition()}:")
        ends = [self.block(depth)]
        if r.random() < 0.25:
            self.line(f"elif {self.condition()}:")
            ends.append(self.block(depth))
        if r.random() < 0.5:
            self.line("else:")
            ends.append(self.block(depth))
            return all(ends) and r.random() < 0.5  # half of the time, what nobody reaches is written all the same
        return False

    def loop(self, depth: int) -> None:
        r = self.r
        self.loops += 1
        if r.random() < 0.7:
            name, dtype = self.fresh("n"), r.choice(["u32", "u32", "i32", *_INTEGERS])
            self.line(f"for {name} in range({self.bounds(dtype)}):")
            self.scopes.append(_Scope(values={name: dtype}))
            self.block(depth)
            self.scopes.pop()
        else:
            name = self.fresh("w")
            self.line(f"{name} = u32({r.randint(0, 2)})")
            self.line(f"while {name} < {self.few()}{' and ' + self.condition(1) if r.random() < 0.4 else ''}:")
            self.indent += 1
            self.line(f"{name} += {r.randint(1, 2)}")
            self.indent -= 1
            self.scopes.append(_Scope(values={name: "u32"}))
            self.block(depth)
            self.scopes.pop()
        self.loops -= 1

    def few(self) -> str:
        return (
            f"({self.typed('u32', 1)} & {self.r.choice([1, 3, 7])})"
            if self.r.random() < 0.6
            else str(self.r.randint(0, 4))
        )

    def bounds(self, dtype: str) -> str:
        """Return the bounds of a range of at most nine turns: none, apart by lane, at the edge of the type, down."""
        r = self.r
        kind = r.random()
        if kind < 0.15:
            start = r.randint(0, 9)
            return f"{dtype}({start}), {r.randint(0, start)}"
        if kind < 0.3:
            return f"{dtype}({_high(dtype) - r.randint(1, 7)}), {_high(dtype)}, {r.randint(1, 3)}"
        if kind < 0.45 and dtype in _SIGNED:
            return f"{dtype}({r.randint(0, 7)}), {r.randint(-3, 3)}, {-r.randint(1, 3)}"
        if kind < 0.6:
            return f"{dtype}({r.randint(0, 4)}), {dtype}({r.randint(0, 8)})"
        return f"{dtype}({self.typed(dtype, 1)} & 3), {dtype}({self.typed(dtype, 1)} & 7)"


def _as_bits(dtype: str, left: str, right: str) -> tuple[str, str]:
    """Return what meets 0 as bits, not as a difference: one without a sign, asked for it, is refused."""
    zero = ("0", f"{dtype}(0)")
    if dtype in _UNSIGNED and (left in zero or right in zero):
        return (left if left in zero else f"({left} ^ 0)"), (right if right in zero else f"({right} ^ 0)")
    return left, right


def _numpy(dtype: str) -> np.dtype[Any]:
    return np.dtype(f"{dtype[0]}{_BITS[dtype] // 8}")


def _high(dtype: str) -> int:
    return (1 << (_BITS[dtype] - (dtype in _SIGNED))) - 1


def _low(dtype: str) -> int:
    return -(1 << (_BITS[dtype] - 1)) if dtype in _SIGNED else 0
