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

import json
import re

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
    Loc,
    Memory,
    Param,
    Return,
    Statement,
    Variable,
    While,
)
from loom.ir.ops import OPS

__all__ = ["parse_kernel", "print_kernel"]

_DIMENSIONED = ("global_id", "local_id", "group_id", "num_groups", "extract")
_TEXTS = ("print", "assert")


def print_kernel(kernel: Kernel, *, locations: bool = False) -> str:
    """Return the text form; with ``locations``, source lines follow as ``# file:line`` comments."""
    return _Printer(kernel, locations).text()


class _Printer:
    def __init__(self, kernel: Kernel, locations: bool) -> None:
        self.kernel = kernel
        self.locations = locations
        self.numbers: dict[Instr, int] = {}
        self.lines: list[str] = []

    def text(self) -> str:
        k = self.kernel
        flags = " trusted" if k.trusted else ""
        if k.guarantee is not Guarantee.BIT_EXACT:
            flags += f" guarantee {k.guarantee.name.lower()}"
        self.lines.append(f"kernel @{k.name} workgroup {' '.join(map(str, k.workgroup))}{flags} {{")
        self.lines += [f"  buffer {m.name}: {m.dtype} {m.access.value}" for m in k.buffers]
        self.lines += [f"  param {p.name}: {p.dtype}" for p in k.params]
        self.lines += [f"  shared {m.name}: {m.dtype}[{m.size}]" for m in k.shared]
        self.lines += [f"  private {m.name}: {m.dtype}[{m.size}]" for m in k.private]
        self.lines += [f"  var {v.name}: {v.dtype}" for v in k.variables]
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
        if isinstance(s.attr, (Param, Variable)):
            words.append(s.attr.name)
        elif s.op.name == "const":
            words.append(hex(s.attr))
        elif s.op.name in _DIMENSIONED:
            words.append(str(s.attr))
        values = [self.ref(a) for a in s.args]
        if s.op.name == "assert":
            words.append(values.pop(0))
        if s.op.name in _TEXTS:
            words += _interleave(s.attr, values)
        else:
            words += values
        text = " ".join(words)
        return text if s.dtype is None else f"{self.number(s)} = {text} : {s.dtype}"


def _interleave(pieces: tuple[str, ...], values: list[str]) -> list[str]:
    words = [json.dumps(pieces[0])]
    for value, piece in zip(values, pieces[1:], strict=True):
        words += [value, json.dumps(piece)]
    return words


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"]+')
_HEADER = re.compile(r"kernel @(\S+) workgroup (\d+) (\d+) (\d+)( trusted)?(?: guarantee (\w+))? \{$")
_ARRAY = re.compile(r"(shared|private) (\S+): (\w+)\[(\d+)\]$")
_BUFFER = re.compile(r"buffer (\S+): (\w+) (\w+)$")
_SCALAR = re.compile(r"(param|var) (\S+): (\w+)$")
_FOR = re.compile(r"for (%\d+) = (%\d+) (to|downto) (%\d+) step (%\d+) : \w+ \{$")


def parse_kernel(text: str, *, file: str = "<text>") -> Kernel:
    """Return the kernel a text describes; VerifyError names the line that cannot be read."""
    return _Parser(text, file).parse()


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines = [re.sub(r"\s+# [^\"]*$", "", line).strip() for line in text.splitlines()]
        self.at = 0
        self.values: dict[str, Instr] = {}
        self.memories: dict[str, Memory] = {}
        self.scalars: dict[str, Param | Variable] = {}
        self.builder = Builder("?")

    def fail(self, what: str, expected: str) -> VerifyError:
        line = self.lines[self.at] if self.at < len(self.lines) else "the end of the text"
        return VerifyError(
            f"{self.file}:{self.at + 1}", what, expected=expected, got=line,
            remedy="Compare with what 'loom ir --emit text' prints",
        )  # fmt: skip

    def next(self) -> str:
        while self.at < len(self.lines) and not self.lines[self.at]:
            self.at += 1
        if self.at >= len(self.lines):
            raise self.fail("the kernel is not closed", "'}'")
        self.builder.loc = Loc(self.file, self.at + 1)
        return self.lines[self.at]

    def parse(self) -> Kernel:
        header = _HEADER.match(self.next())
        if header is None:
            raise self.fail("no kernel header", "kernel @name workgroup X Y Z {")
        name, x, y, z, trusted, guarantee = header.groups()
        self.builder = Builder(name, (int(x), int(y), int(z)), Loc(self.file, self.at + 1))
        self.at += 1
        while self.declaration(self.next()):
            self.at += 1
        self.block_until("}")
        wanted = Guarantee[guarantee.upper()] if guarantee else Guarantee.BIT_EXACT
        return self.builder.finish(trusted=bool(trusted), guarantee=wanted)

    def declaration(self, line: str) -> bool:
        b = self.builder
        if m := _BUFFER.match(line):
            self.memories[m[1]] = b.buffer(m[1], self.dtype(m[2]), self.access(m[3]))
        elif m := _ARRAY.match(line):
            declare = b.shared if m[1] == "shared" else b.private
            self.memories[m[2]] = declare(m[2], self.dtype(m[3]), int(m[4]))
        elif m := _SCALAR.match(line):
            declare_scalar = b.param if m[1] == "param" else b.variable
            self.scalars[m[2]] = declare_scalar(m[2], self.dtype(m[3]))
        else:
            return False
        return True

    def dtype(self, name: str) -> DType:
        try:
            return lookup(name)
        except LoomError as error:
            raise self.fail(f"{error.what}", "a dtype") from None

    def access(self, name: str) -> Access:
        try:
            return Access(name)
        except ValueError:
            raise self.fail(f"no access is called {name!r}", "read, write or read_write") from None

    def block_until(self, *ends: str) -> str:
        """Read statements up to a line that starts with one of ``ends``; return that line."""
        while True:
            line = self.next()
            if line.startswith(ends):
                self.at += 1
                return line
            self.statement(line)

    def statement(self, line: str) -> None:
        b = self.builder
        word = line.split(maxsplit=1)[0]
        self.at += 1
        if line.startswith("if "):
            statement = b.if_(self.value(line.split()[1]))
            with b.into(statement.then):
                end = self.block_until("}")
            if end == "} else {":
                with b.into(statement.otherwise):
                    self.block_until("}")
        elif m := _FOR.match(line):
            start, stop, step = (self.value(m[g]) for g in (2, 4, 5))
            loop = b.for_(start, stop, step, down=m[3] == "downto")
            self.values[m[1]] = loop.index
            with b.into(loop.body):
                self.block_until("}")
        elif line == "while {":
            self.while_()
        elif line in ("break", "continue", "return"):
            b.append({"break": Break, "continue": Continue, "return": Return}[line](b.loc))
        elif word.startswith("%") or word in OPS:
            self.instr(line)
        else:
            self.at -= 1
            raise self.fail("unknown statement", "an operation, if, for, while, break, continue or return")

    def while_(self) -> None:
        loop = self.builder.while_()
        with self.builder.into(loop.test):
            end = self.block_until("} test ")
        loop.condition = self.value(end.split()[2])
        with self.builder.into(loop.body):
            self.block_until("}")

    def value(self, ref: str) -> Instr:
        if ref not in self.values:
            self.at -= 1
            raise self.fail(f"{ref} is used before it is computed", "a value")
        return self.values[ref]

    def instr(self, line: str) -> None:
        words = _TOKEN.findall(line)
        target = words[0] if len(words) > 1 and words[1] == "=" else None
        dtype = self.dtype(words[-1]) if target else None
        words = words[2:-2] if target else words
        name, rest = words[0], words[1:]
        memory = self.memories.get(rest[0]) if rest and name not in ("param", "get", "set") else None
        attr: object = None
        if memory is not None:
            rest = rest[1:]
        elif rest and rest[0] in self.scalars:
            attr, rest = self.scalars[rest[0]], rest[1:]
        elif name == "const" or name in _DIMENSIONED:
            attr, rest = int(rest[0], 0), rest[1:]
        if name in _TEXTS:
            attr = tuple(json.loads(w) for w in rest if w.startswith('"'))
        args = [self.value(w) for w in rest if not w.startswith('"')]
        value = self.builder.emit(name, *args, attr=attr, memory=memory, dtype=dtype)
        if value.dtype != dtype:
            self.at -= 1
            raise self.fail("the value has another type", str(value.dtype))
        if target:
            self.values[target] = value
