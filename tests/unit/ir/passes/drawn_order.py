"""Kernels drawn at random that use atomics in every way, half of them so that the order of lanes shows.

What is shown is known by how a kernel is made. Memory is cut in slots of four elements. A slot has one use at a time:
in buffers for the whole kernel, in shared memory until the next barrier. Nothing is drawn but what that use allows;
then, for one half, a single fault is put in somewhere: a second use of a slot, an old value that is used, an exchange,
an index that two lanes share.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

__all__ = ["FAULTS", "Drawn", "draw"]

_KINDS = ("add", "and", "or", "xor", "min", "max")
_SHAPES = [(8,), (32,), (5,), (64,), (4, 4), (8, 2), (3, 2, 2)]
_SLOTS = 4
_HEAD = """import loom
from loom import In, InOut, Out, i32, i64, u32, u64


"""


@dataclass
class Drawn:
    """A kernel's text over x (In), y, z (InOut), out (InOut) and n; its groups, and the fault that it has or None."""

    text: str
    dtype: str
    groups: tuple[int, int, int]
    lanes: int
    n: int
    fault: str | None


@dataclass
class _Writer:
    """Locals: ``l`` the lane in its group, ``i`` its number of all, ``w`` what data says, ``v`` what it has."""

    r: random.Random
    shape: tuple[int, ...]
    groups: tuple[int, int, int]
    dtype: str
    lines: list[str] = field(default_factory=list[str])
    helpers: list[str] = field(default_factory=list[str])
    uses: dict[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])
    depth: int = 1

    def add(self, line: str, deeper: int = 0) -> None:
        self.lines.append("    " * (self.depth + deeper) + line)

    # what is free of order

    def use(self, memory: str, slot: int) -> str:
        """Return what a slot is used for now: an atomic, or "one" lane."""
        kinds = [*_KINDS, "one"] if memory == "s" else list(_KINDS)
        return self.uses.setdefault((memory, slot), self.r.choice(kinds))

    def at(self, slot: int) -> str:
        first = 4 * slot
        return self.r.choice([
            f"{first + self.r.randrange(4)}", f"{first} + w % 4", f"{first} + (w & 3)",
            f"min({first} + w % 9, {first + 3})", f"{first} + u32({self.r.choice(['l', 'i'])}) % 4",
        ])  # fmt: skip

    def value(self) -> str:
        return f"{self.dtype}({self.r.choice(['w', 'w * 3 + 1', 'u32(l)', 'u32(i) * 7 + w', '5', 'w & 6'])})"

    def atomic(self, kind: str, memory: str, at: str, value: str) -> str:
        """Return an atomic as a value, plainly, by an alias or in a helper."""
        way = self.r.randrange(6)
        if way == 0 and memory in ("y", "z"):
            return f"loom.atomic_{kind}(also_{memory}, {at}, {value})"
        if way == 1:
            name = f"helper_{len(self.helpers)}"
            self.helpers.append(
                f"def {name}(memory, at, value):\n    return loom.atomic_{kind}(memory, at, value)\n\n\n"
            )
            return f"{name}({memory}, {at}, {value})"
        return f"loom.atomic_{kind}({memory}, {at}, {value})"

    def free(self) -> None:
        """Write something whose order does not show."""
        way = self.r.randrange(8)
        if way == 0:
            self.own()
        elif way == 1:
            self.modes()
        else:
            memory, slot = self.r.choice("yys"), self.r.randrange(_SLOTS)
            kind = self.use(memory, slot)
            if kind == "one":
                self.by_one(memory, slot)
            else:
                self.common(kind, memory, slot)

    def common(self, kind: str, memory: str, slot: int) -> None:
        if self.r.random() < 0.2:  # a lane for each element
            self.add("if l < 4:")
            self.add(self.atomic(kind, memory, f"{4 * slot} + l", self.value()), 1)
            return
        call = self.atomic(kind, memory, self.at(slot), self.value())
        if self.r.random() < 0.2:
            self.add(f"unused = {call}")
            self.add("unused = unused + 1")
        else:
            self.add(call)

    def by_one(self, memory: str, slot: int) -> None:
        """One lane of a group may do anything with shared memory."""
        self.add(f"if {self.r.choice(['l == 0', '0 == l', 'l < 1'])}:")
        at = 4 * slot + self.r.randrange(4)
        self.add(self.r.choice([
            f"v = v ^ loom.atomic_{self.r.choice(['add', 'exchange'])}({memory}, {at}, {self.value()})",
            f"{memory}[{at}] = {memory}[{at}] * 3 + v",
            f"loom.atomic_compare_exchange({memory}, {at}, {self.value()}, {self.value()})",
        ]), 1)  # fmt: skip

    def own(self) -> None:
        """A lane may do anything with its own element, of z and of the shared array behind the slots."""
        memory, at = self.r.choice([("z", "i"), ("s", f"{4 * _SLOTS} + l")])
        way = self.r.randrange(4)
        if way == 0:
            self.add(f"{memory}[{at}] = {memory}[{at}] + v")
        elif way == 1:
            self.add(f"loom.atomic_compare_exchange({memory}, {at}, {self.value()}, {self.value()})")
        else:
            self.add(f"v = v + {self.atomic(self.r.choice([*_KINDS, 'exchange']), memory, at, self.value())}")

    def modes(self) -> None:
        """A parameter may choose between uses of a slot of its own (the last)."""
        one, other = self.r.sample(_KINDS, 2)
        first, second = self.r.choice([("n == 2", "n != 2"), ("n > 3", "n <= 3"), ("n == 1", "n == 2")])
        if self.uses.setdefault(("y", _SLOTS), f"{first} {one} {other}") == f"{first} {one} {other}":
            self.add(f"if {first}:")
            self.add(self.atomic(one, "y", self.at(_SLOTS), self.value()), 1)
            self.add("else:" if self.r.random() < 0.5 and "==" not in second else f"if {second}:")
            self.add(self.atomic(other, "y", self.at(_SLOTS), self.value()), 1)
        else:
            self.add("v = v + 1")

    def barrier(self) -> None:
        self.add("loom.barrier()")
        self.uses = {key: use for key, use in self.uses.items() if key[0] != "s"}

    def some(self, write: list[str | None], deeper: int = 2) -> None:
        """Write statements, plain and in branches and loops; ``write`` has the faults to put in between."""
        for fault in write:
            way = self.r.random()
            if fault is not None and deeper == 2 and self.r.random() < 0.6:
                getattr(self, f"fault_{fault}")()
            elif way < 0.15 and self.depth == 1:
                self.barrier()
                if fault is not None:
                    getattr(self, f"fault_{fault}")()
            elif way < 0.25 and self.depth == 1:  # whole phases, turn by turn
                self.barrier()
                self.add(f"for t{len(self.lines)} in range({self.r.choice(['2', 'n % 3', 'n'])}):")
                self.depth += 1
                self.some([fault, None], 0)
                self.barrier()
                self.depth -= 1
            elif way < 0.5 and deeper:
                self.add(self.r.choice([
                    "if w % 3 == 1:", "if n > 1:", "if l > 2:", "if i < 50:", "if n > 0 and w > 7:",
                    "if loom.group_id() == 0:", f"for t{len(self.lines)} in range(w % 3):",
                    f"for t{len(self.lines)} in loom.static_range(2):",
                ]))  # fmt: skip
                self.depth += 1
                self.some([fault, None][: self.r.randint(1, 2)], deeper - 1)
                self.depth -= 1
            elif fault is not None:
                getattr(self, f"fault_{fault}")()
            else:
                self.free()

    # what shows the order

    def slot(self) -> tuple[str, int, str]:
        """Return memory, slot and an element with an atomic in all lanes there, which are two groups at least."""
        memory, slot = self.r.choice("ys"), self.r.randrange(_SLOTS)
        if self.use(memory, slot) == "one":
            memory = "y"
        return memory, slot, str(4 * slot + self.r.randrange(4))

    def fault_two_kinds(self) -> None:
        memory, slot, at = self.slot()
        kind = self.use(memory, slot)
        other = self.r.choice([k for k in _KINDS if k != kind])
        self.add(self.atomic(kind, memory, at, self.value()))
        if memory == "y" and self.depth == 1 and self.r.random() < 0.5:
            self.barrier()
        self.add(self.atomic(other, memory, at, self.value()))

    def fault_two_branches(self) -> None:
        memory, slot, at = self.slot()
        kind = self.use(memory, slot)
        self.add(f"if w % {self.r.randint(2, 5)} == 0:")
        self.add(self.atomic(kind, memory, at, self.value()), 1)
        self.add("else:")
        self.add(self.atomic(self.r.choice([k for k in _KINDS if k != kind]), memory, at, self.value()), 1)

    def fault_old_value(self) -> None:
        memory, slot, at = self.slot()
        call = self.atomic(self.use(memory, slot), memory, at, self.value())
        self.add(
            self.r.choice([f"v = v * 3 + {call}", f"v = {call}", f"old = {call}\n{'    ' * self.depth}v = v ^ old"])
        )

    def fault_decision(self) -> None:
        memory, slot, at = self.slot()
        self.add(f"if {self.atomic(self.use(memory, slot), memory, at, self.value())} > 9:")
        self.add("v = v + 1", 1)

    def fault_exchange(self) -> None:
        memory, _, at = self.slot()
        self.add(self.atomic("exchange", memory, at, self.value()))

    def fault_compare(self) -> None:
        memory, _, at = self.slot()
        self.add(f"loom.atomic_compare_exchange({memory}, {at}, {self.value()}, {self.value()})")

    def fault_read(self) -> None:
        memory, slot, at = self.slot()
        self.add(self.atomic(self.use(memory, slot), memory, at, self.value()))
        self.add(f"v = v + {memory}[{at}]")

    def fault_write(self) -> None:
        memory, slot, at = self.slot()
        self.add(self.atomic(self.use(memory, slot), memory, at, self.value()))
        self.add(f"if l == {self.r.randint(3, 4)}:")  # which is above 2, as branches around may ask
        self.add(f"{memory}[{at}] = v", 1)

    def fault_turns(self) -> None:
        """A second kind at the end of a turn, behind the barrier, and the first at the start of the next."""
        memory, slot, at = self.slot()
        kind = self.use(memory, slot)
        if self.depth > 1:
            return self.fault_two_kinds()
        self.barrier()
        self.add(f"for t{len(self.lines)} in range({self.r.choice(['2', 'n'])}):")
        self.add(self.atomic(kind, memory, at, self.value()), 1)
        self.add("loom.barrier()", 1)
        self.add(self.atomic(self.r.choice([k for k in _KINDS if k != kind]), memory, at, self.value()), 1)
        return self.barrier()

    def fault_shared_index(self) -> None:
        """An element that two lanes of a group, or of two groups, take for their own."""
        inner = ["l // 2", "u32(l) & 3", "0 * l", "w"] + ["loom.local_id(0)"] * (len(self.shape) > 1)
        outer = ["l"] + [f"loom.global_id({d})" for d in range(3) if self.others(d)]
        at = self.r.choice([*inner, *outer] if self.depth == 1 else ["0 * l", "w"])
        self.add(f"v = v + loom.atomic_{self.r.choice(['add', 'exchange'])}(z, {at}, {self.value()})")

    def others(self, dimension: int) -> bool:
        """Tell whether lanes share their number along a dimension."""
        shape = (*self.shape, 1, 1)[:3]
        return any(shape[d] * self.groups[d] > 1 for d in range(3) if d != dimension)

    def fault_one_of_each_group(self) -> None:
        if self.depth > 1:  # where there may be one group, or no such lane
            return self.fault_old_value()
        slot = self.r.randrange(_SLOTS)
        self.add("if l == 0:")
        return self.add(f"v = v + {self.atomic(self.use('y', slot), 'y', str(4 * slot), self.value())}", 1)


FAULTS = tuple(name.removeprefix("fault_") for name in vars(_Writer) if name.startswith("fault_"))


def draw(seed: int) -> Drawn:
    """Return the kernel of a seed: of an even one nothing shows, of an odd one the order of lanes does."""
    r = random.Random(seed)
    shape = r.choice(_SHAPES)
    groups = (r.randint(2, 3), *((r.randint(1, 2), 1) if len(shape) == 1 and r.random() < 0.4 else (1, 1)))
    if len(shape) > 1:
        groups = (r.randint(1, 3), r.randint(2, 3), r.randint(1, 2) if len(shape) > 2 else 1)
    across = [(*shape, 1, 1)[d] * groups[d] for d in range(3)]
    fault = r.choice(FAULTS) if seed % 2 else None
    writer = _Writer(r, shape, groups, r.choice(["u32", "i32", "u64", "i64"]))
    statements: list[str | None] = [None] * r.randint(1, 6)
    if fault is not None:
        statements.insert(r.randint(0, len(statements)), fault)
    writer.some(statements)
    lane = "loom.local_id(0)" + "".join(f" + loom.local_id({d}) * {_product(shape[:d])}" for d in range(1, len(shape)))
    number = "loom.global_id(0)" + "".join(
        f" + loom.global_id({d}) * {_product(across[:d])}" for d in range(1, 3) if across[d] > 1
    )
    size = _product(shape)
    body = "\n".join(writer.lines)
    kind = writer.dtype
    text = (
        f"{_HEAD}{''.join(writer.helpers)}@loom.kernel(workgroup={shape})\n"
        f"def drawn(x: In[u32], y: InOut[{kind}], z: InOut[{kind}], out: Out[{kind}], n: u32):\n"
        f"    l = {lane}\n    i = {number}\n    s = loom.shared({kind}, {4 * _SLOTS + size})\n"
        f"    also_y, also_z = y, z\n    w, v = x[i], {kind}(1)\n{body}\n    out[i] = v\n"
    )
    return Drawn(text, kind, groups, _product(across), r.randint(0, 4), fault)


def _product(sizes: tuple[int, ...] | list[int]) -> int:
    found = 1
    for size in sizes:
        found *= size
    return found
