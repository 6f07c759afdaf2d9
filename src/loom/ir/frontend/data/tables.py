"""Constants that a lane indexes by a number of its own: tuples, lists and arrays known at compile time.

Layer: ir. A few elements are chosen by comparison; more are a buffer that the kernel brings with it (``Memory.data``),
so that no driver knows what is in it. Numbers of Python have no type until they meet one, in a table as elsewhere.
Invariant: what lies outside a table is 0, and told like what lies outside any memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core.dtype import DType, bool_, f32, of_numpy, u32
from loom.core.given import is_array, is_list, is_scalar
from loom.ir.builder import Builder
from loom.ir.frontend.base.values import AxesView, Operand, Static, is_number
from loom.ir.frontend.data.fields import leaves, rebuilt
from loom.ir.frontend.data.views import Views
from loom.ir.kernel import Access, Instr, Memory

if TYPE_CHECKING:
    from loom.ir.frontend.base.indexes import IndexTyping

__all__ = ["Tables"]

MOST_NBYTES = 1 << 24
"""Of one table; more should be an argument."""
_MOST_CHOSEN = 8
"""Elements that are chosen by comparison: a load by index takes about as long."""


class Tables:
    """``item`` is an element by an index of run time; ``kept`` finds the type that weak numbers turned out to need."""

    def __init__(
        self, builder: Builder, typing: IndexTyping, views: Views, kept: Callable[[Any], DType | None]
    ) -> None:
        self.b = builder
        self.typing = typing
        self.views = views
        self.kept = kept
        self._buffers: dict[tuple[DType, bytes], Memory] = {}

    def is_table(self, operand: Operand) -> bool:
        """Tell whether an operand has items that an index of run time may choose among."""
        if isinstance(operand, tuple):
            return bool(operand)
        return isinstance(operand, Static) and (is_array(operand.value) or is_list(operand.value))

    def item(self, table: Operand, index: Operand, name: str, key: Any) -> Operand:
        """Return ``table[index]``; ``key`` names the place in the source across translations."""
        if isinstance(table, tuple):
            return self.choose_item(list(table), self.number(index), name, key)
        assert isinstance(table, Static)
        value: Any = table.value
        if is_list(value) and not _is_regular(value):
            return self.choose_item([Static(v) for v in value], self.number(index), name, key)
        array, weak = self.array(value, name)
        if array.ndim == 1 and array.size <= _MOST_CHOSEN and not isinstance(index, tuple):
            plain: list[Operand] = [Static(v.item() if weak else v) for v in array]
            return self.choose_item(plain, self.number(index), name, key)
        kept = self.typing.settle(key, self.kept(key), [array.min().item()]) if weak else None
        dtype = kept or self.natural(array, weak)
        memory = self.buffer(array, dtype, name)
        is_open = weak and dtype != bool_ and self.kept(key) is None
        shape = tuple(Static(n) for n in array.shape)
        return self.views.item(AxesView(memory, shape, key=key if is_open else None), index)

    def number(self, index: Operand) -> Instr:
        """Return an index as an integer value."""
        value = self.views.to_index(index)
        if not value.type.is_integer or value.type.is_vector:
            raise self.b.error("a table is indexed by an integer", "an integer", value.dtype, "Convert with u32(...)")
        return value

    def choose_item(self, items: list[Operand], index: Instr, name: str, key: Any) -> Operand:
        """Return one of a few operands, by comparing the index with every position."""
        forms = [leaves(item) for item in items]
        if len({len(f) for f in forms}) != 1:
            raise self.b.error(
                f"the items of {name!r} differ in kind", "numbers, or records of one class", f"{len(items)} items",
                "Index it with a constant",
            )  # fmt: skip
        length = self.b.const(len(items), u32)
        self.b.emit("within", index, length, attr=("axis 0 of table", name))
        found = [self.one_of([f[n] for f in forms], index, key) for n in range(len(forms[0]))]
        return rebuilt(items[0], iter(found))

    def one_of(self, values: list[Operand], index: Instr, key: Any) -> Instr:
        weak = all(isinstance(v, Static) and not is_scalar(v.value) for v in values)
        numbers = [v.value for v in values if isinstance(v, Static)]
        kept = self.typing.settle(key, self.kept(key), numbers) if weak else None
        typed = [self.typing.as_value(v, kept) for v in values] if kept else self.typing.unify([Static(0), *values])[1:]
        if not weak and any(v.dtype != typed[0].dtype for v in typed):
            raise self.b.error("a table mixes types", typed[0].dtype, ", ".join(str(v.dtype) for v in typed),
                               "Convert its items to one type")  # fmt: skip
        dtype = typed[0].type
        zero: Instr = self.typing.constant(False if dtype.is_bool else 0, dtype)
        for position, value in enumerate(typed):
            here = self.b.emit("eq", index, self.b.const(position, index.type))
            zero = self.b.emit("select", here, value, zero)
        if weak and kept is None:
            self.typing.weak[zero] = key
        return zero

    # what is in a table

    def array(self, value: Any, name: str) -> tuple[np.ndarray[Any, Any], bool]:
        """Return a table as an array, and whether its numbers are Python's, which have no type yet."""
        weak = False
        if not is_array(value):
            items = _flat(value)
            weak = not any(is_scalar(v) for v in items)
            kinds = {type(v) is bool for v in items}
            if len(kinds) > 1:
                raise self.b.error(f"{name!r} mixes bools and numbers", "one of them", "both", "Write 1 and 0")
            whole = weak and all(isinstance(v, int) for v in items)
            big = whole and any(not -(1 << 63) <= v < 1 << 63 for v in items)
            if big and any(not 0 <= v < 1 << 64 for v in items):
                raise self.b.error(f"a number of {name!r} does not fit", "64 bits", max(items, key=abs), "Use floats")
            value = np.array(value, np.uint64 if big else None)
        array = cast("np.ndarray[Any, Any]", np.asarray(value))
        if array.dtype.kind not in "biuf" or not array.size or not array.ndim:
            what = f"{name!r} has no elements" if array.dtype.kind in "biuf" else f"{name!r} holds no numbers"
            raise self.b.error(what, "numbers to index", f"{array.dtype} of shape {array.shape}", "Check the table")
        return array, weak

    def natural(self, array: np.ndarray[Any, Any], weak: bool) -> DType:
        """Return the type of a table's elements, of weak numbers the one they take when nothing else decides."""
        if not weak or array.dtype.kind == "b":
            return of_numpy(array.dtype if array.dtype.isnative else array.dtype.newbyteorder("="), self.b.where())
        if array.dtype.kind == "f":
            return f32
        return max((self.typing.default_dtype(int(v)) for v in (array.min(), array.max())), key=lambda t: t.bits)

    def buffer(self, array: np.ndarray[Any, Any], dtype: DType, name: str) -> Memory:
        """Return the buffer that holds an array as ``dtype``, the same for the same contents."""
        if array.nbytes > MOST_NBYTES:
            raise self.b.error(
                f"the table {name!r} is too large", f"at most {MOST_NBYTES} bytes", array.nbytes,
                f"Pass it as an argument: {name}: In[{dtype}]",
            )  # fmt: skip
        if dtype.is_integer and array.dtype.kind in "iu":
            low, high = int(array.min()), int(array.max())
            if low < dtype.minimum or high > dtype.maximum:
                raise self.b.error(f"a number of {name!r} does not fit", dtype, low if low < 0 else high,
                                   "Choose a wider type")  # fmt: skip
        elif dtype.is_integer and array.dtype.kind == "f":
            raise self.b.error(f"{name!r} holds floats and meets an integer", dtype, "floats", "Convert with f32(...)")
        with np.errstate(over="ignore"):
            data = np.ascontiguousarray(array, dtype.numpy).tobytes()
        if (dtype, data) not in self._buffers:
            self._buffers[dtype, data] = self.b.buffer(name, dtype, Access.READ, data=data)
        return self._buffers[dtype, data]


def _flat(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in _flat(item)] if is_list(value) else [value]


def _is_regular(value: Any) -> bool:
    """Tell whether nested lists hold numbers in a regular shape."""

    def shape(part: Any) -> tuple[int, ...] | None:
        if not is_list(part):
            return () if is_number(part) else None
        inner = {shape(each) for each in part}
        first = next(iter(inner)) if len(inner) == 1 else None
        return None if first is None else (len(part), *first)

    return shape(value) is not None
