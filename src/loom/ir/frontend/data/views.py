"""Memory of several dimensions, and of records, in kernels: what an index of it means.

Layer: ir. An element of ``a[i, j, k]`` is found at ``(i * shape[1] + j) * shape[2] + k``, computed in 32 bits, or in
64 if an index has as many; the host is told of an index outside its axis where it asks for that. Invariant: what is
emitted for an element is what is emitted for one whose place was written out.
"""

from __future__ import annotations

from collections.abc import Callable

from loom.core.dtype import u32, u64
from loom.core.given import is_tuple
from loom.ir.builder import Builder
from loom.ir.frontend.base.values import AxesView, Operand, RecordPlace, Static, Typing
from loom.ir.frontend.data.structs import info_of
from loom.ir.kernel import Instr, Memory

__all__ = ["Views"]


class Views:
    """Indexes views. ``to_index`` makes an integer value of an operand, ``loaded`` the value of an element."""

    def __init__(
        self,
        builder: Builder,
        typing: Typing,
        to_index: Callable[[Operand], Instr],
        loaded: Callable[[Memory, Instr], Instr],
    ) -> None:
        self.b = builder
        self.typing = typing
        self.to_index = to_index
        self.load_element = loaded

    def narrow(self, view: AxesView, index: Operand) -> AxesView:
        """Return what is left of a view after an index, or a tuple of some."""
        items: tuple[Operand, ...] = (index,)
        if isinstance(index, tuple):
            items = index
        elif isinstance(index, Static) and is_tuple(index.value):
            items = tuple(Static(v) for v in index.value)
        name, ndim = view.memory.name, len(view.shape)
        if len(items) > len(view.rest):
            axes = ", ".join("ijklmnop"[:ndim])
            raise self.b.error(
                f"{name!r} has {ndim} dimension{'s' * (ndim > 1)}", f"{len(view.rest)} indexes at most", len(items),
                f"Write {name}[{axes}]",
            )  # fmt: skip
        indexes = view.indexes
        for item in items:
            indexes = (*indexes, self.index(view, len(indexes), item))
        return AxesView(view.memory, view.shape, view.kind, indexes, view.key)

    def index(self, view: AxesView, axis: int, item: Operand) -> Instr:
        """Return an index of one axis as an integer value; the host may be told that it lies outside."""
        extent = view.shape[axis]
        name = view.memory.name
        if isinstance(item, Static) and item.value is Ellipsis:
            raise self.b.error("... indexes no element", "an index for each axis", "...", "Write every index")
        value = self.to_index(item)
        if isinstance(extent, Static) and isinstance(item, Static):
            if isinstance(item.value, int) and item.value >= extent.value:
                raise self.b.error(
                    f"no element {item.value} along axis {axis} of {name!r}", f"at most {extent.value - 1}", item.value,
                    "Check the index",
                )  # fmt: skip
            return value
        if view.memory.data is not None and len(view.shape) == 1:
            return value  # what lies outside is outside of the memory, which tells
        length = self.typing.as_value(extent, u32)
        what = "table" if view.memory.data is not None else view.memory.space.value
        self.b.emit("within", value, length, attr=(f"axis {axis} of {what}", name))
        return value

    def item(self, view: AxesView, index: Operand) -> Operand:
        """Return an element, the place of a record, or a row: what the axes left have."""
        found = self.narrow(view, index)
        if found.rest:
            return found
        if found.kind is not None:
            return self.place(found)
        value = self.load_element(found.memory, self.flat(found))
        if view.key is not None:
            self.typing.weak[value] = view.key
        return value

    def element(self, view: AxesView, index: Operand) -> tuple[Memory, Instr]:
        """Return the memory and the number of the element that all indexes together name."""
        found = self.narrow(view, index)
        if found.rest:
            name, ndim = view.memory.name, len(view.shape)
            axes = ", ".join("ijklmnop"[:ndim])
            raise self.b.error(
                f"{name!r} has {ndim} dimensions", f"{ndim} indexes", len(found.indexes), f"Write {name}[{axes}]"
            )
        return found.memory, self.flat(found)

    def place(self, view: AxesView) -> RecordPlace:
        """Return where a record starts."""
        assert view.kind is not None
        flat = self.flat(view)
        words = self.b.const(info_of(view.kind).record.words, flat.type)
        return RecordPlace(view.memory, self.b.emit("mul", flat, words), view.kind)

    def flat(self, view: AxesView) -> Instr:
        """Return the number of an element."""
        wide = u64 if any(i.type.bits == 64 for i in view.indexes) else u32
        if len(view.indexes) == 1 and view.kind is None:
            return view.indexes[0]
        found: Instr | None = None
        inside: Instr | None = None
        for index, extent in zip(view.indexes, view.shape, strict=True):
            step = index if index.type == wide else self.b.emit("convert", index, dtype=wide)
            if view.memory.data is not None:  # a table is 0 outside, also where another element would be found
                below = self.b.emit("lt", step, self.typing.as_value(extent, wide))
                inside = below if inside is None else self.b.emit("and", inside, below)
            if found is not None:
                length = self.typing.as_value(extent, wide)
                length = length if length.type == wide else self.b.emit("convert", length, dtype=wide)
                step = self.b.emit("add", self.b.emit("mul", found, length), step)
            found = step
        assert found is not None, "a view has axes"
        return found if inside is None else self.b.emit("select", inside, found, self.b.const(wide.maximum, wide))

    def length(self, view: AxesView) -> Operand:
        """Return the length of the first axis that is left."""
        return view.rest[0]

    def attribute(self, view: AxesView, name: str) -> Operand | None:
        """Return what a name means for a view: its shape, size, ndim or dtype; None if nothing."""
        rest = view.rest
        if name == "shape":
            known = [e.value for e in rest if isinstance(e, Static)]
            return Static(tuple(known)) if len(known) == len(rest) else rest
        if name == "ndim":
            return Static(len(rest))
        if name == "dtype":
            return Static(view.kind or view.memory.dtype)
        return self.size(view) if name == "size" else None

    def size(self, view: AxesView) -> Operand:
        """Return the number of elements."""
        found: Operand = Static(1)
        for extent in view.rest:
            if isinstance(found, Static) and isinstance(extent, Static):
                found = Static(found.value * extent.value)
            elif isinstance(found, Static) and found.value == 1:
                found = extent
            else:
                found = self.typing.emit("mul", self.typing.as_value(found, u32), self.typing.as_value(extent, u32))
        return found
