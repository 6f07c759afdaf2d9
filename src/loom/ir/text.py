"""The text form of kernels: prints, parses back, and is what the content hash is taken of.

Layer: ir. One statement a line; values are numbered in order of appearance; constants are bit patterns.
Invariant: ``print_kernel(parse_kernel(t)) == t`` for every printed ``t``, and two kernels with equal
text give equal bits. Source locations appear only as comments, on request.

    kernel @scale workgroup 64 1 1 {
      buffer y: f32 read_write
      param a: f32
      %0 = global_id 0 : u32
      %1 = load y %0 : f32
      %2 = param a : f32
      %3 = mul %1 %2 : f32
      store y %0 %3
    }
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, cast

from loom.core.dtype import DType, lookup
from loom.core.errors import LoomError, VerifyError
from loom.core.numerics import Guarantee
from loom.ir.builder import Builder
from loom.ir.kernel import (
    Access,
    Block,
    Break,
    Continue,
    For,
    If,
    Instr,
    Kernel,
    LaneOrder,
    Loc,
    Memory,
    Param,
    Return,
    Statement,
    Variable,
    While,
)
from loom.ir.ops import OPS, Result

__all__ = ["hash_kernel", "parse_kernel", "print_kernel"]

_DIMENSIONED = ("global_id", "local_id", "group_id", "num_groups", "extract")
_TEXTS = ("print", "assert", "within")


def print_kernel(kernel: Kernel, *, locations: bool = False, anonymous: bool = False) -> str:
    """Return the text form; with ``locations``, source lines follow as ``# file:line`` comments.

    ``anonymous`` numbers the variables, whose names nothing ever shows, instead of naming them.
    """
    return _Printer(kernel, locations, anonymous).text()


def hash_kernel(kernel: Kernel) -> str:
    """Return the SHA-256 of the text form: equal for kernels that mean the same operations in the same order.

    Locations and the names of variables do not count; those of memories and parameters, which errors show, do.
    """
    return hashlib.sha256(print_kernel(kernel, anonymous=True).encode()).hexdigest()


class _Printer:
    def __init__(self, kernel: Kernel, locations: bool, anonymous: bool) -> None:
        self.kernel = kernel
        self.locations = locations
        self.variables = {v: f"v{n}" if anonymous else v.name for n, v in enumerate(kernel.variables)}
        self.numbers: dict[Instr, int] = {}
        self.lines: list[str] = []

    def text(self) -> str:
        k = self.kernel
        flags = (" trusted" if k.trusted else "") + (" signed" if k.goes_below else "")
        if k.guarantee is not Guarantee.BIT_EXACT:
            flags += f" guarantee {k.guarantee.name.lower()}"
        if k.order is not LaneOrder.PROVED:
            flags += f" order {k.order.value}"
        self.lines.append(f"kernel @{k.name} workgroup {' '.join(map(str, k.workgroup))}{flags} {{")
        self.lines += [f"  buffer {m.name}: {m.dtype} {m.access.value}{_bound(m)}" for m in k.buffers]
        self.lines += [f"  param {p.name}: {p.dtype}{_extent_text(p)}" for p in k.params]
        self.lines += [f"  shared {m.name}: {m.dtype}[{m.size}]" for m in k.shared]
        self.lines += [f"  private {m.name}: {m.dtype}[{m.size}]" for m in k.private]
        self.lines += [f"  var {name}: {v.dtype}" for v, name in self.variables.items()]
        self.block(k.body, "  ")
        self.lines.append("}\n")
        return "\n".join(self.lines)

    def line(self, indent: str, text: str, loc: Loc | None = None) -> None:
        comment = f"  # {loc}" if self.locations and loc is not None else ""
        self.lines.append(f"{indent}{text}{comment}")

    def ref(self, value: Instr) -> str:
        return f"%{self.numbers[value]}"

    def number(self, value: Instr) -> str:
        self.numbers[value] = len(self.numbers)
        return self.ref(value)

    def block(self, block: Block, indent: str) -> None:
        for statement in block.statements:
            self.statement(statement, indent)

    def statement(self, s: Statement, indent: str) -> None:
        inner = indent + "  "
        if isinstance(s, Instr):
            self.line(indent, self.instr(s), s.loc)
        elif isinstance(s, If):
            self.line(indent, f"if {self.ref(s.condition)} {{", s.loc)
            self.block(s.then, inner)
            if s.otherwise.statements:
                self.line(indent, "} else {")
                self.block(s.otherwise, inner)
            self.line(indent, "}")
        elif isinstance(s, For):
            bounds = f"{self.ref(s.start)} {'downto' if s.down else 'to'} {self.ref(s.stop)}"
            step = self.ref(s.step)
            self.line(indent, f"for {self.number(s.index)} = {bounds} step {step} : {s.index.dtype} {{", s.loc)
            self.block(s.body, inner)
            self.line(indent, "}")
        elif isinstance(s, While):
            self.line(indent, "while {", s.loc)
            self.block(s.test, inner)
            self.line(indent, f"}} test {self.ref(s.condition)} {{")
            self.block(s.body, inner)
            self.line(indent, "}")
        else:
            self.line(indent, type(s).__name__.lower(), s.loc)

    def instr(self, s: Instr) -> str:
        words = [s.op.name]
        if s.memory is not None:
            words.append(s.memory.name)
        if isinstance(s.attr, Param):
            words.append(s.attr.name)
        elif isinstance(s.attr, Variable):
            words.append(self.variables.get(s.attr, s.attr.name))
        elif s.op.name == "const":
            words.append(hex(s.attr))
        elif s.op.name in _DIMENSIONED:
            words.append(str(s.attr))
        elif s.op.name in _SIZED:
            words += map(str, s.attr)
        values = [self.ref(a) for a in s.args]
        if s.op.name == "assert":
            words.append(values.pop(0))
        attr: Any = s.attr
        if s.op.name == "within":
            words += [*values, *map(json.dumps, attr)]
        elif s.op.name in _TEXTS and isinstance(attr, tuple):
            words += _interleave(cast("tuple[str, ...]", attr), values)
        else:
            words += values
        text = " ".join(words)
        return text if s.dtype is None else f"{self.number(s)} = {text} : {s.dtype}"


def _bound(memory: Memory) -> str:
    """Return what is asked of what is bound to a buffer, and what a table holds."""
    text = f" {memory.ndim}d" if memory.ndim else ""
    text += f" {memory.record}" if memory.record else ""
    return text if memory.data is None else f"{text} = {memory.data.hex()}"


def _extent_text(param: Param) -> str:
    return "" if param.extent is None else f" extent {param.extent[0]} {param.extent[1]}"


def _interleave(pieces: tuple[str, ...], values: list[str]) -> list[str]:
    words = [json.dumps(pieces[0])]
    for value, piece in zip(values, pieces[1:], strict=True):
        words += [value, json.dumps(piece)]
    return words


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"]+')
_HEADER = re.compile(
    r"kernel @(\S+) workgroup (\d+) (\d+) (\d+)( trusted)?( signed)?(?: guarantee (\w+))?(?: order (free|any))? \{$"
)
_ARRAY = re.compile(r"(shared|private) (\S+): (\w+)\[(\d+)\]$")
_BUFFER = re.compile(r"buffer (\S+): (\w+) (\w+)(?: (\d+)d)?(?: (\{\S+\}))?(?: = ((?:[0-9a-f]{2})*))?$")
_SCALAR = re.compile(r"(param|var) (\S+): (\w+)(?: extent (\S+) (\d+))?$")
_IF = re.compile(r"if (%\d+) \{$")
_FOR = re.compile(r"for (%\d+) = (%\d+) (to|downto) (%\d+) step (%\d+) : (\w+) \{$")
_TEST = re.compile(r"\} test (%\d+) \{$")
_END, _ELSE = re.compile(r"\}$"), re.compile(r"\} else \{$")
_ON_MEMORY = ("length", *(name for name, op in OPS.items() if op.result is Result.ELEMENT), "store", "tile_product",
              "wide_product", "fetch")  # fmt: skip
_SIZED = {"tile_product": (0, 2), "wide_product": (1, 2), "fetch": (1, 3), "fetched": (0, 2), "release": (0, 2)}
"""Operations with sizes in their text: how many names of arrays, and then how many numbers."""
_ON_SCALAR = ("param", "get", "set")


def parse_kernel(text: str, *, file: str = "<text>") -> Kernel:
    """Return the kernel a text describes; VerifyError names the line that cannot be read."""
    return _Parser(text, file).parse()


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines = [re.sub(r"(^|\s+)# [^\"]*$", "", line).strip() for line in text.splitlines()]
        self.at = 0
        self.seen = 0
        """The line looked at last, which errors name; ``at`` may be the one after it."""
        self.values: dict[str, Instr] = {}
        self.memories: dict[str, Memory] = {}
        self.scalars: dict[str, Param | Variable] = {}
        self.builder = Builder("?")

    def fail(self, what: str, expected: str) -> VerifyError:
        line = self.lines[self.seen] if self.seen < len(self.lines) else "the end of the text"
        return VerifyError(
            f"{self.file}:{self.seen + 1}", what, expected=expected, got=line,
            remedy="Compare with what 'loom ir --emit text' prints",
        )  # fmt: skip

    def next(self) -> str:
        while self.at < len(self.lines) and not self.lines[self.at]:
            self.at += 1
        self.seen = self.at
        if self.at >= len(self.lines):
            raise self.fail("the kernel is not closed", "'}'")
        self.builder.loc = Loc(self.file, self.at + 1)
        return self.lines[self.at]

    def parse(self) -> Kernel:
        header = _HEADER.match(self.next())
        if header is None:
            raise self.fail("no kernel header", "kernel @name workgroup X Y Z {")
        name, x, y, z, trusted, signed, guarantee, order = header.groups()
        wanted = Guarantee.__members__.get((guarantee or "bit_exact").upper())
        if wanted is None:
            raise self.fail(f"no guarantee is called {guarantee!r}", "fast or run_to_run")
        self.builder = Builder(name, (int(x), int(y), int(z)), Loc(self.file, self.at + 1))
        self.builder.goes_below = bool(signed)
        self.at += 1
        while self.declaration(self.next()):
            self.at += 1
        try:
            self.block_until(_END)
        except RecursionError:
            raise self.fail("statements are nested too deeply", "fewer levels") from None
        if any(self.lines[self.at :]):
            self.next()
            raise self.fail("text after the kernel", "the end of the text")
        return self.builder.finish(trusted=bool(trusted), guarantee=wanted, order=LaneOrder(order or "proved"))

    def declaration(self, line: str) -> bool:
        b = self.builder
        if m := _BUFFER.match(line):
            data = None if m[6] is None else bytes.fromhex(m[6])
            self.memories[m[1]] = b.buffer(
                m[1], self.dtype(m[2]), self.access(m[3]), ndim=int(m[4] or 0), record=m[5] or "", data=data
            )
        elif m := _ARRAY.match(line):
            declare = b.shared if m[1] == "shared" else b.private
            self.memories[m[2]] = declare(m[2], self.dtype(m[3]), int(m[4]))
        elif m := _SCALAR.match(line):
            extent = None if m[4] is None else (m[4], int(m[5]))
            dtype = self.dtype(m[3])
            self.scalars[m[2]] = b.param(m[2], dtype, extent=extent) if m[1] == "param" else b.variable(m[2], dtype)
        else:
            return False
        return True

    def dtype(self, name: str) -> DType:
        try:
            return lookup(name)
        except LoomError as error:
            raise self.fail(error.what, "a dtype") from None

    def access(self, name: str) -> Access:
        try:
            return Access(name)
        except ValueError:
            raise self.fail(f"no access is called {name!r}", "read, write or read_write") from None

    def block_until(self, *ends: re.Pattern[str]) -> re.Match[str]:
        """Read statements up to a line that is one of ``ends``; return its match."""
        while True:
            line = self.next()
            for end in ends:
                if m := end.match(line):
                    self.at += 1
                    return m
            self.statement(line)

    def statement(self, line: str) -> None:
        b = self.builder
        word = line.split(maxsplit=1)[0]
        self.at += 1
        if m := _IF.match(line):
            statement = b.if_(self.value(m[1]))
            with b.into(statement.then):
                end = self.block_until(_END, _ELSE)
            if end.re is _ELSE:
                with b.into(statement.otherwise):
                    self.block_until(_END)
        elif m := _FOR.match(line):
            self.for_(m)
        elif line == "while {":
            self.while_()
        elif line in ("break", "continue", "return"):
            b.append({"break": Break, "continue": Continue, "return": Return}[line](b.loc))
        elif word.startswith("%") or word in OPS:
            self.instr(line)
        else:
            raise self.fail("unknown statement", "an operation, if, for, while, break, continue or return")

    def for_(self, m: re.Match[str]) -> None:
        start, stop, step = (self.value(m[g]) for g in (2, 4, 5))
        loop = self.builder.for_(start, stop, step, down=m[3] == "downto")
        if str(loop.index.dtype) != m[6]:
            raise self.fail("the counter has another type", str(loop.index.dtype))
        self.define(m[1], loop.index)
        with self.builder.into(loop.body):
            self.block_until(_END)

    def while_(self) -> None:
        loop = self.builder.while_()
        with self.builder.into(loop.test):
            end = self.block_until(_TEST)
        loop.condition = self.value(end[1])
        with self.builder.into(loop.body):
            self.block_until(_END)

    def value(self, ref: str) -> Instr:
        if not ref.startswith("%"):
            raise self.fail(f"{ref!r} is no value", "%0, %1, ...")
        if ref not in self.values:
            raise self.fail(f"{ref} is used before it is computed", "a value")
        return self.values[ref]

    def define(self, ref: str, value: Instr) -> None:
        if ref in self.values:
            raise self.fail(f"{ref} is computed twice", "a number of its own")
        self.values[ref] = value

    def instr(self, line: str) -> None:
        words = _TOKEN.findall(line)
        target, dtype = None, None
        if words[0].startswith("%"):
            if len(words) < 5 or words[1] != "=" or words[-2] != ":":
                raise self.fail("not an operation with a result", "%0 = operation ... : dtype")
            target, dtype, words = words[0], self.dtype(words[-1]), words[2:-2]
        name, rest = words[0], words[1:]
        memory, attr, rest = self.subject(name, rest)
        if name in _TEXTS:
            pieces = [w for w in rest if w.startswith('"')]
            attr = tuple(self.piece(w) for w in pieces)
        args = [self.value(w) for w in rest if not w.startswith('"')]
        value = self.builder.emit(name, *args, attr=attr, memory=memory, dtype=dtype)
        if value.dtype != dtype:
            raise self.fail("the value has another type", str(value.dtype) if value.dtype else "no result")
        if target:
            self.define(target, value)

    def subject(self, name: str, rest: list[str]) -> tuple[Memory | None, object, list[str]]:
        """Return the memory or attribute that stands before the operands, and the operands."""
        first = rest[0] if rest else ""
        if name in _ON_MEMORY:
            if first not in self.memories:
                raise self.fail(f"{first!r} is no memory", "a buffer, shared or private array declared above")
            if name in _SIZED:
                return self.memories[first], *self.sizes(name, rest[1:])
            return self.memories[first], None, rest[1:]
        if name in _SIZED:
            return None, *self.sizes(name, rest)
        if name in _ON_SCALAR:
            if first not in self.scalars:
                raise self.fail(f"{first!r} is no parameter or variable", "one declared above")
            return None, self.scalars[first], rest[1:]
        if name == "const" or name in _DIMENSIONED:
            try:
                return None, int(first, 0), rest[1:]
            except ValueError:
                raise self.fail(f"{first!r} is no whole number", "a bit pattern or dimension") from None
        return None, None, rest

    def sizes(self, name: str, rest: list[str]) -> tuple[tuple[Any, ...], list[str]]:
        """Return the names and numbers that stand before the operands, and the operands."""
        names, numbers = _SIZED[name]
        end = names + numbers
        return (*rest[:names], *(self.count(w) for w in rest[names:end])), rest[end:]

    def count(self, word: str) -> int:
        if not word.isdecimal():
            raise self.fail(f"{word!r} is no number of words", "a whole number")
        return int(word)

    def piece(self, word: str) -> str:
        try:
            return str(json.loads(word))
        except ValueError:
            raise self.fail(f"{word} is no text", "a JSON string") from None
