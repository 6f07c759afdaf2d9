"""Runs entries of PTX: the lanes of some groups side by side, those at one instruction together.

Among lanes that can go on those that are furthest back go first, now and then others; so lanes that parted meet again.
Invariant: an instruction for a whole warp is done when all its lanes are there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from emulation.ptx.arithmetic import COMPARISONS, PLAIN, converted, dtype_of
from emulation.ptx.memory import EmulationError, Memory
from emulation.ptx.module import Instruction, Module, Operand, target_of
from emulation.ptx.tensor import Barriers, matrix_product, wide_product

__all__ = ["Groups"]

Array = np.ndarray[Any, Any]
_RUNNING, _AT_BARRIER, _AT_WARP, _ENDED, _HELD = 0, 1, 2, 3, 4
_DIRT = 0xA5
_MOST_TURNS = 20_000_000
_BARRIERS = ("mbarrier", "cp", "fence", "membar")
_OWN = (
    "ld", "st", "atom", "red", "setp", "selp", "cvt", "cvta", "mul", "mad", "mov", "dp4a", "shf", "shl", "shr", "bfe",
)  # fmt: skip
_TOUCHING = ("ld", "st", "atom", "red", "cp")
_ROUNDED = ("add", "sub", "mul", "div", "sqrt", "fma", "rcp", "mad")


class Groups:
    """Groups that run side by side. ``early``: of a kernel that was begun early; ``ahead``: others are not over yet."""

    def __init__(
        self, module: Module, entry: str, grid: Any, block: Any, shared_bytes: int, arguments: Sequence[bytes],
        memory: Memory, chosen: Array, drawn: random.Random | None, early: bool,
    ) -> None:  # fmt: skip
        self.module, self.entry, self.memory = module, module.entries[entry], memory
        self.lanes = block[0] * block[1] * block[2]
        self.groups = len(chosen)
        self.count = self.groups * self.lanes
        lane, group = np.tile(np.arange(self.lanes), self.groups), np.repeat(chosen, self.lanes)
        self.group_of = np.repeat(np.arange(self.groups), self.lanes)
        self.warp_of = self.group_of * -(-self.lanes // 32) + lane // 32
        self.squad_of = self.group_of * -(-self.lanes // 128) + lane // 128
        self.special = {
            "%tid.x": lane % block[0], "%tid.y": lane // block[0] % block[1], "%tid.z": lane // block[0] // block[1],
            "%ctaid.x": group % grid[0], "%ctaid.y": group // grid[0] % grid[1],
            "%ctaid.z": group // grid[0] // grid[1], "%laneid": lane % 32,
            **{f"%ntid.{c}": np.full(self.count, n) for c, n in zip("xyz", block, strict=True)},
            **{f"%nctaid.{c}": np.full(self.count, n) for c, n in zip("xyz", grid, strict=True)},
        }  # fmt: skip
        self.static = -(-module.shared_nbytes // 16) * 16
        self.shared_nbytes = self.static + shared_bytes
        self.room = -(-max(1, self.shared_nbytes) // 16) * 16
        self.shared: Array = np.full(self.groups * self.room, _DIRT, np.uint8)
        self.local_nbytes = -(-max(1, self.entry.local_nbytes) // 16) * 16
        self.local: Array = np.full(self.count * self.local_nbytes, _DIRT, np.uint8)
        self.arguments = dict(zip((p.name for p in self.entry.params), arguments, strict=True))
        self.registers: dict[str, Array] = {}
        self.pc: Array = np.zeros(self.count, np.int64)
        self.state: Array = np.zeros(self.count, np.int8)
        self.early, self.ahead = early, False
        self.barriers = Barriers(self)
        self.random = random.Random(1) if drawn is None else drawn
        self.where: Instruction = self.entry.instructions[0]

    # operands

    def register(self, name: str) -> Array:
        """Return a register of all lanes."""
        found = self.registers.get(name)
        if found is None:
            known = self.entry.registers
            bits = known.get(name) or known.get(name.rstrip("0123456789")) or 0
            if not bits:
                raise EmulationError(f"no register {name}", 218)
            dtype = np.bool_ if bits == 1 else f"u{bits // 8}"
            found = self.registers[name] = np.zeros(self.count, dtype)
        return found

    def value(self, operand: Operand, kind: str, at: Any) -> Array:
        """Return an operand's values as a type."""
        dtype = dtype_of(kind)
        if operand.kind == "number":
            if dtype.kind == "b":
                return np.array([bool(operand.number)])
            mask = (1 << 8 * dtype.itemsize) - 1
            return np.array([operand.number & mask], f"u{dtype.itemsize}").view(dtype)
        if operand.kind == "name":
            return np.array([self.address(operand.name)], np.uint64).astype(f"u{dtype.itemsize}").view(dtype)
        if operand.name in self.special:
            return self.special[operand.name][at].astype(dtype)
        found = self.register(operand.name)[at]
        if found.dtype == np.bool_:
            return found
        if found.dtype.itemsize != dtype.itemsize:
            found = found.astype(f"u{dtype.itemsize}")
        return np.ascontiguousarray(found).view(dtype)

    def address(self, name: str) -> int:
        """Return where an array lies in its space."""
        for known in (self.module.shared, self.entry.local, self.module.constants):
            if name in known:
                return known[name]
        if name in self.module.dynamic:
            return self.static
        raise EmulationError(f"no symbol {name}", 218)

    def put(self, operand: Operand, found: Array, at: Any) -> None:
        """Set a register."""
        if operand.name == "_":
            return
        register = self.register(operand.name)
        if np.bool_ in (found.dtype, register.dtype):
            register[at] = found
            return
        if found.dtype.kind == "f":
            found = np.ascontiguousarray(found).view(f"u{found.dtype.itemsize}")
        if found.dtype.kind == "i":
            found = found.astype(f"i{register.dtype.itemsize}").view(register.dtype)
        register[at] = found

    # turns

    def release(self) -> None:
        """Let lanes go on that wait for other kernels, which are over now."""
        self.ahead = False
        self.state[self.state == _HELD] = _RUNNING

    @np.errstate(all="ignore")
    def run(self) -> None:
        """Run all lanes to their end, or to where they wait for other kernels."""
        for _ in range(_MOST_TURNS):
            able = self.state == _RUNNING
            if not able.any():
                if self.ahead and (self.state == _ENDED).any():
                    raise self.wrong("lanes end before they wait for the kernels before theirs")
                if (self.state == _ENDED).all() or (self.state == _HELD).any():
                    return
                raise self.wrong("lanes wait for each other for ever", 702)
            places = self.pc[able]
            place = places.min() if self.random.random() < 0.9 else places[self.random.randrange(len(places))]
            here = able & (self.pc == place)
            others = places[places > place]
            stop = int(others.min()) if len(others) else len(self.entry.instructions)
            at: Any = slice(None) if here.all() else np.flatnonzero(here)
            self.together(int(place), at, stop)
        raise self.wrong("it does not end", 702)

    def wrong(self, text: str, code: int = 700) -> EmulationError:
        """Return what went wrong, and where."""
        return EmulationError(f"{self.entry.name}: {self.where.text!r}: {text}", code)

    def together(self, place: int, at: Any, stop: int) -> None:
        """Run lanes that are at one instruction until they part, wait, end or meet others."""
        instructions = self.entry.instructions
        while place < len(instructions):
            instruction = self.where = instructions[place]
            if self.controls(instruction, place, at):
                return
            chosen = at
            if instruction.guard is not None:
                chosen = np.arange(self.count)[at][self.register(instruction.guard)[at] != instruction.negated]
            if isinstance(chosen, slice) or len(chosen):
                try:
                    self.do(instruction, chosen)
                except EmulationError as error:
                    raise self.wrong(str(error), error.code) from None
            place += 1
            if place == stop:
                self.pc[at] = place
                return
        self.state[at] = _ENDED
        self.meet(at)

    def controls(self, instruction: Instruction, place: int, at: Any) -> bool:
        """Do an instruction after which lanes may be at several places, or wait; False if it is none."""
        name = instruction.op[0]
        if instruction.op == ("griddepcontrol", "wait") and self.ahead:
            self.state[at] = _HELD
            self.pc[at] = place + 1
            return True
        if name in ("mma", "wgmma") or instruction.op[:2] == ("bar", "warp"):
            self.gather(instruction, place, at)
            return True
        if name not in ("bra", "ret", "exit", "trap", "bar", "barrier"):
            return False
        lanes = np.arange(self.count)[at]
        self.pc[lanes] = place + 1
        if instruction.guard is not None:
            lanes = lanes[self.register(instruction.guard)[lanes] != instruction.negated]
        if not len(lanes):
            return True
        if name == "trap":
            raise self.wrong("trap", 719)
        if name == "bra":
            self.pc[lanes] = target_of(self.entry, instruction)
            return True
        self.state[lanes] = _AT_BARRIER if name.startswith("bar") else _ENDED
        self.meet(lanes)
        return True

    def meet(self, at: Any) -> None:
        """Let groups go on of which all lanes wait at the barrier; those that ended do not count."""
        for group in np.unique(self.group_of[at]):
            own = slice(group * self.lanes, (group + 1) * self.lanes)
            states = self.state[own]
            if ((states == _AT_BARRIER) | (states == _ENDED)).all():
                states[states == _AT_BARRIER] = _RUNNING

    def gather(self, instruction: Instruction, place: int, at: Any) -> None:
        """Do an instruction for all lanes of a warp, or of four, once they are there."""
        units = self.squad_of if instruction.op[0] == "wgmma" else self.warp_of
        self.state[at] = _AT_WARP
        self.pc[at] = place
        for unit in np.unique(units[at]):
            lanes = np.flatnonzero((units == unit) & (self.state != _ENDED))
            if not ((self.state[lanes] == _AT_WARP) & (self.pc[lanes] == place)).all():
                continue
            if instruction.op[0] == "mma":
                matrix_product(self, instruction, lanes)
            elif instruction.op[:2] == ("wgmma", "mma_async"):
                wide_product(self, instruction, lanes)
            self.state[lanes] = _RUNNING
            self.pc[lanes] = place + 1

    # instructions

    def do(self, instruction: Instruction, at: Any) -> None:
        """Do an instruction for lanes."""
        op, operands = instruction.op, instruction.operands
        if self.ahead and op[0] in _TOUCHING and "global" in op:
            raise EmulationError("memory is touched before the wait for the kernels before this one")
        if self.early and "nc" in op:
            raise EmulationError("a load of memory that others may write since the kernel was begun")
        if op[0] == "griddepcontrol":
            return
        if op[0] in _BARRIERS:
            self.barriers.do(op, operands, at)
        elif op[0] in _OWN and (op[0] not in ("mul", "mad") or op[1] == "wide"):
            getattr(self, f"_{op[0]}")(op, operands, at)
        else:
            self._plain(op, operands, at)

    def _plain(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        name, kind = op[0], op[-1]
        special = f"{name}.{op[1]}" if len(op) > 1 else name
        function = PLAIN.get(special, PLAIN.get(name))
        if function is None:
            raise EmulationError("an instruction that is not emulated", 218)
        if kind in ("f32", "f64") and name in _ROUNDED and "rn" not in op:
            raise EmulationError("a rounding that is not said", 218)
        self.put(operands[0], function(*(self.value(o, kind, at) for o in operands[1:])), at)

    def _setp(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        if len(op) != 3:
            raise EmulationError("a comparison that is not emulated", 218)
        values = [self.value(o, op[-1], at) for o in operands[1:]]
        self.put(operands[0], np.broadcast_to(COMPARISONS[op[1]](*values), self.shape(at)), at)

    def _selp(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        kept, other = (self.value(o, op[-1], at) for o in operands[1:3])
        self.put(operands[0], np.where(self.value(operands[3], "pred", at), kept, other), at)

    def _cvt(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        self.put(operands[0], converted(op[1:-2], self.value(operands[1], op[-1], at), op[-2]), at)

    def _cvta(self, _op: tuple[str, ...], operands: Any, at: Any) -> None:
        self.put(operands[0], self.value(operands[1], "u64", at), at)

    def _counted(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        """An instruction all of whose operands but the first are counts."""
        first = np.broadcast_to(self.value(operands[1], op[-1], at), self.shape(at))
        counts = [self.value(o, "u32", at) for o in operands[2:]]
        self.put(operands[0], PLAIN[op[0]](first, *counts), at)

    _shl = _shr = _bfe = _counted

    def _mov(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        if "vector" in (operands[0].kind, operands[1].kind):
            self._packed(op[-1], operands, at)
        else:
            self._plain(op, operands, at)

    def shape(self, at: Any) -> tuple[int, ...]:
        """Return the shape of values of lanes."""
        return (self.count,) if isinstance(at, slice) else (len(at),)

    def _mul(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        """The product in twice the bits."""
        bits = 2 * int(op[-1][1:])
        wide = f"{'i' if op[-1][0] == 's' else 'u'}{bits // 8}"
        a, b = (self.value(o, op[-1], at).astype(wide) for o in operands[1:3])
        found = a * b
        if op[0] == "mad":
            found = found + self.value(operands[3], f"{op[-1][0]}{bits}", at)
        self.put(operands[0], found, at)

    _mad = _mul

    def _packed(self, kind: str, operands: Any, at: Any) -> None:
        into, of = operands
        count = len(into.parts or of.parts)
        width = int(kind[1:]) // count
        if into.kind == "vector":
            whole = self.value(of, kind, at)
            for n, part in enumerate(into.parts):
                if part.name != "_":
                    self.put(part, (whole >> whole.dtype.type(n * width)).astype(f"u{width // 8}"), at)
            return
        whole = np.zeros(self.shape(at), dtype_of(kind))
        for n, part in enumerate(of.parts):
            whole = whole | self.value(part, f"b{width}", at).astype(whole.dtype) << whole.dtype.type(n * width)
        self.put(into, whole, at)

    def _dp4a(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        sides: list[Array] = []
        for operand, kind in zip(operands[1:3], op[1:], strict=True):
            words = np.broadcast_to(self.value(operand, "u32", at), self.shape(at)).copy()
            sides.append(words.view(f"{'i' if kind[0] == 's' else 'u'}1").reshape(-1, 4).astype(np.int64))
        total = (sides[0] * sides[1]).sum(1) + self.value(operands[3], "s32", at)
        self.put(operands[0], (total & 0xFFFFFFFF).astype(np.uint32), at)

    def _shf(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        low, high, by = (self.value(o, "u32", at).astype(np.uint64) for o in operands[1:])
        by = by & np.uint64(31) if "wrap" in op else np.minimum(by, 32)
        whole = high << np.uint64(32) | low
        found = whole << by >> np.uint64(32) if op[1] == "l" else whole >> by
        self.put(operands[0], (found & np.uint64(0xFFFFFFFF)).astype(np.uint32), at)

    # memory

    def place(self, space: str, operand: Operand, nbytes: int, at: Any) -> tuple[Array, Array]:
        """Return the bytes of a space, and where in them lanes touch ``nbytes``."""
        base = np.broadcast_to(self.value(operand.parts[0], "u64", at), self.shape(at))
        address = base + np.uint64(operand.number & (1 << 64) - 1)
        if space == "global":
            return self.memory.bytes, self.memory.places(address, nbytes)
        whole, room, unit = (
            (self.shared, self.room, self.group_of) if space == "shared" else (self.local, self.local_nbytes, None)
        )
        limit = self.shared_nbytes if space == "shared" else self.entry.local_nbytes
        if (address > np.uint64(max(0, limit - nbytes))).any():
            raise EmulationError(f"byte {int(address.max())} of {limit} of {space} memory")
        if (address % np.uint64(nbytes)).any():
            raise EmulationError(f"{nbytes} bytes at {int(address.max())} of {space} memory, which is no multiple", 716)
        own = unit[at] if unit is not None else np.arange(self.count)[at]
        return whole, address.astype(np.int64) + own * room

    def _ld(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        kind, space = op[-1], op[1]
        dtype, into = dtype_of(kind), operands[0].parts or (operands[0],)
        if space in ("param", "const"):
            name, offset = operands[1].parts[0].name, operands[1].number
            data = bytes(8) if space == "const" else self.arguments[name]
            self.put(into[0], np.frombuffer(data[offset : offset + dtype.itemsize], dtype), at)
            return
        space = next(s for s in op if s in ("global", "shared", "local"))
        whole, places = self.place(space, operands[1], dtype.itemsize * len(into), at)
        for n, each in enumerate(into):
            self.put(each, whole.view(dtype)[places // dtype.itemsize + n], at)

    def _st(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        kind = op[-1]
        dtype, values = dtype_of(kind), operands[1].parts or (operands[1],)
        space = next(s for s in op if s in ("global", "shared", "local"))
        whole, places = self.place(space, operands[0], dtype.itemsize * len(values), at)
        for n, each in enumerate(values):
            whole.view(dtype)[places // dtype.itemsize + n] = self.value(each, kind, at)

    def _red(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        self._atom(op, (Operand("name", "_"), *operands), at)

    def _atom(self, op: tuple[str, ...], operands: Any, at: Any) -> None:
        """Lanes one after the other, in a drawn order."""
        kind = op[-1]
        dtype = dtype_of(kind)
        space = next(s for s in op if s in ("global", "shared"))
        way = next(s for s in op if s in ("add", "and", "or", "xor", "min", "max", "exch", "cas", "inc", "dec"))
        whole, places = self.place(space, operands[1], dtype.itemsize, at)
        cells, places = whole.view(dtype), places // dtype.itemsize
        values = [np.broadcast_to(self.value(o, kind, at), self.shape(at)) for o in operands[2:]]
        before = np.zeros(self.shape(at), dtype)
        lanes = list(range(len(places)))
        self.random.shuffle(lanes)
        for lane in lanes:
            old = before[lane] = cells[places[lane]]
            given = values[0][lane : lane + 1]
            if way == "cas":
                new = values[1][lane] if old == given[0] else old
            elif way == "exch":
                new = given[0]
            else:
                new = PLAIN[way](np.array([old], dtype), given)[0]
            cells[places[lane]] = new
        self.put(operands[0], before, at)
