"""Reads PTX as LLVM writes it for Loom's kernels: entries, their parameters, registers, shared memory, instructions.

Source: PTX ISA 8.0. Invariant: text that is not understood is an EmulationError, never left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from emulation.ptx.memory import EmulationError, Memory

__all__ = ["Entry", "Instruction", "Module", "Operand", "Parameter", "target_of"]

_INVALID = 218
_WIDTHS = {"pred": 1}
_STATEMENT = re.compile(r"(?:@(!?)([\w%$]+)\s+)?([a-z][\w.:]*)\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Operand:
    """``kind``: register, number (bits), name, memory (base, offset), vector."""

    kind: str
    name: str = ""
    number: int = 0
    parts: tuple[Operand, ...] = ()
    is_float: bool = False


@dataclass(frozen=True)
class Instruction:
    """``guard``: a predicate and whether it is negated."""

    text: str
    op: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: str | None
    negated: bool
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """A parameter of an entry; sizes in bytes."""

    name: str
    size: int


@dataclass
class Entry:
    """A kernel. ``registers``: prefix or name to bits; ``shared`` and ``local``: name to place."""

    name: str
    params: list[Parameter] = field(default_factory=list)
    lanes: tuple[int, int, int] | None = None
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)
    local: dict[str, int] = field(default_factory=dict)
    local_nbytes: int = 0


def target_of(entry: Entry, instruction: Instruction) -> int:
    """Return where a branch goes: labels are known in their scope alone."""
    name = instruction.operands[0].name
    for scope in (*instruction.scopes, ""):
        if name + scope in entry.labels:
            return entry.labels[name + scope]
    raise EmulationError(f"no label {name}", _INVALID)


class Module:
    """PTX that was read. ``shared``: places of static arrays; ``dynamic``: names of the array that launches size."""

    def __init__(self, text: str, memory: Memory) -> None:
        self.text = text
        self.entries: dict[str, Entry] = {}
        self.shared: dict[str, int] = {}
        self.shared_nbytes = 0
        self.dynamic: dict[str, int] = {}
        self.constants: dict[str, int] = {}
        self._scopes = 0
        clean = re.sub(r"//[^\n]*", "", text)
        entries = list(re.finditer(r"\.visible \.entry (\S+?)\(\s*(.*?)\)\s*(.*?)\{\n(.*?)\n\}", clean, re.DOTALL))
        for declared in re.findall(r"^\s*(\.(?:visible|shared|extern|global|const)[^(;]*);", clean, re.MULTILINE):
            self._declare(declared)
        for found in entries:
            self._entry(*found.groups())
        if not self.entries:
            raise EmulationError("PTX without an entry", _INVALID)

    def _declare(self, text: str) -> None:
        if ".entry" in text:
            return
        array = re.search(r"\.align (\d+) \.[bus](\d+)\s+(\S+?)(?:\[(\d*)\])?(?:\s*=.*)?$", text)
        if array is None:
            raise EmulationError(f"a declaration that is not read: {text}", _INVALID)
        align, nbytes, name = int(array[1]), int(array[2]) // 8, array[3]
        if ".shared" in text and array[4] == "":
            self.dynamic[name] = align
        elif ".shared" in text:
            self.shared_nbytes = -(-self.shared_nbytes // align) * align
            self.shared[name] = self.shared_nbytes
            self.shared_nbytes += nbytes * int(array[4] or 1)
        elif ".const" in text and "=" not in text:
            self.constants[name] = 0
        else:
            raise EmulationError(f"a declaration that is not read: {text}", _INVALID)

    def _entry(self, name: str, params: str, head: str, body: str) -> None:
        entry = self.entries[name] = Entry(name)
        for line in filter(None, map(str.strip, params.split(","))):
            found = re.match(r"\.param \.[busf](\d+)\b.*?(\S+)$", line)
            if found is None:
                raise EmulationError(f"a parameter that is not read: {line}", _INVALID)
            entry.params.append(Parameter(found[2], int(found[1]) // 8))
        lanes = re.search(r"\.reqntid (\d+), (\d+), (\d+)", head)
        entry.lanes = (int(lanes[1]), int(lanes[2]), int(lanes[3])) if lanes else None
        renamed: list[dict[str, str]] = []
        for statement in _statements(body):
            self._statement(entry, statement, renamed)

    def _statement(self, entry: Entry, text: str, renamed: list[dict[str, str]]) -> None:
        while label := re.match(r"([$\w]+):(?!:)\s*", text):
            entry.labels[label[1] + (renamed[-1][""] if renamed else "")] = len(entry.instructions)
            text = text[label.end() :]
        if not text:
            return
        if text == "{":
            self._scopes += 1
            renamed.append({"": f"@{self._scopes}"})
            return
        if text == "}":
            renamed.pop()
            return
        if text.startswith(".reg"):
            self._registers(entry, text, renamed)
        elif text.startswith(".shared"):
            self._declare(text)
        elif text.startswith(".local"):
            found = re.match(r"\.local \.align (\d+) \.b8\s+(\S+)\[(\d+)\]", text)
            if found is None:
                raise EmulationError(f"not read: {text}", _INVALID)
            entry.local_nbytes = -(-entry.local_nbytes // int(found[1])) * int(found[1])
            entry.local[found[2]] = entry.local_nbytes
            entry.local_nbytes += int(found[3])
        elif text.startswith((".pragma", ".loc", ".file")):
            return
        else:
            entry.instructions.append(_instruction(text, renamed))

    def _registers(self, entry: Entry, text: str, renamed: list[dict[str, str]]) -> None:
        found = re.match(r"\.reg \.([a-z]+)(\d*)\s+(.*)", text)
        if found is None:
            raise EmulationError(f"not read: {text}", _INVALID)
        bits = int(found[2]) if found[2] else _WIDTHS[found[1]]
        for name in map(str.strip, found[3].split(",")):
            many = re.match(r"(\S+)<(\d+)>", name)
            if many:
                entry.registers[many[1]] = bits
            elif renamed:
                renamed[-1][name] = f"{name}{renamed[-1]['']}"
                entry.registers[renamed[-1][name]] = bits
            else:
                entry.registers[name] = bits


def _statements(body: str) -> list[str]:
    """Split at semicolons and at braces of scopes, not at those of vectors."""
    found: list[str] = []
    current, depth = "", 0
    for char in body:
        if char == "{" and current.strip(" \t\n").split(":")[-1].strip() == "":
            if current.strip():
                found.append(current.strip())
            found.append("{")
            current = ""
        elif char == "{":
            depth += 1
            current += char
        elif char == "}" and depth:
            depth -= 1
            current += char
        elif char == "}":
            found += [current.strip(), "}"] if current.strip() else ["}"]
            current = ""
        elif char == ";":
            found.append(current.strip())
            current = ""
        else:
            current += char
    return found


def _instruction(text: str, renamed: list[dict[str, str]]) -> Instruction:
    found = _STATEMENT.fullmatch(text.strip())
    if found is None:
        raise EmulationError(f"not read: {text}", _INVALID)
    negated, guard, op, rest = found.groups()
    op = op.replace("::", "_")
    operands = tuple(_operand(part, renamed) for part in _parted(rest))
    scopes = tuple(scope[""] for scope in reversed(renamed))
    named = _named(guard, renamed) if guard else None
    return Instruction(text, tuple(op.split(".")), operands, named, bool(negated), scopes)


def _parted(text: str) -> list[str]:
    found, depth, current = list[str](), 0, ""
    for char in text:
        depth += (char in "{[") - (char in "}]")
        if char == "," and not depth:
            found.append(current.strip())
            current = ""
        else:
            current += char
    return [*found, current.strip()] if current.strip() else found


def _named(name: str, renamed: list[dict[str, str]]) -> str:
    return next((scope[name] for scope in reversed(renamed) if name in scope), name)


def _operand(text: str, renamed: list[dict[str, str]]) -> Operand:
    if text.startswith("{"):
        return Operand("vector", parts=tuple(_operand(part, renamed) for part in _parted(text[1:-1])))
    if text.startswith("["):
        found = re.fullmatch(r"\[\s*([^\s+\-\]]+)\s*(?:\+\s*(-?\d+))?\s*\]", text)
        if found is None:
            raise EmulationError(f"an address that is not read: {text}", _INVALID)
        return Operand("memory", number=int(found[2] or 0), parts=(_operand(found[1], renamed),))
    if re.fullmatch(r"0[fF][0-9A-Fa-f]{8}|0[dD][0-9A-Fa-f]{16}", text):
        return Operand("number", number=int(text[2:], 16), is_float=True)
    if re.fullmatch(r"-?(0x[0-9A-Fa-f]+|\d+)U?", text):
        return Operand("number", number=int(text.rstrip("U"), 0))
    name = _named(text, renamed)
    if name.startswith("%") or "@" in name:
        return Operand("register", name)
    return Operand("name", name)
