"""Neighbouring floats read and written as one word: the parts of complex numbers, which lie side by side.

Layer: kernels. Lanes of a CPU that read every second float gather, and those that write so scatter; words stay in rows.
Invariant: the same bits go to the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from loom.core.dtype import f32, u32, u64
from loom.ir.frontend.intrinsics import bitcast
from loom.kernels.maps.nest import Apply, Load, LoopNest, Store, Value, constant_strides

__all__ = ["pair_words"]


def first_part(word: Any) -> Any:
    """Return the float in the lower half of a u64."""
    return bitcast(f32, u32(word))


def second_part(word: Any) -> Any:
    """Return the float in the upper half of a u64."""
    return bitcast(f32, u32(word >> 32))


def both_parts(first: Any, second: Any) -> Any:
    """Return two floats as one u64."""
    return u64(bitcast(u32, first)) | (u64(bitcast(u32, second)) << 32)


def pair_words(nest: LoopNest) -> LoopNest:
    """Return a nest with buffers of u64 for those of f32 that are read and written in pairs alone."""
    accesses: dict[int, list[Load | Store]] = {}
    for each in (*nest.values, *nest.stores):
        if isinstance(each, (Load, Store)):
            accesses.setdefault(each.buffer, []).append(each)
    wide = {b for b, found in accesses.items() if nest.buffers[b][0] == f32 and _are_pairs(found)}
    return _widen(nest, wide) if wide else nest


def _pair(access: Load | Store) -> tuple[bool, int, tuple[int, ...]]:
    return isinstance(access, Load), access.offset // 2, constant_strides(access)


def _are_pairs(found: Sequence[Load | Store]) -> bool:
    """Tell whether both floats of each pair are read, or both written, whenever one is."""
    if any(a.begin is not None or any(s % 2 for s in constant_strides(a)) for a in found):
        return False
    pairs = [(_pair(a), a.offset % 2) for a in found]
    known = set(pairs)
    return len(known) == len(pairs) and all((pair, 1 - half) in known for pair, half in pairs)


def _widen(nest: LoopNest, wide: set[int]) -> LoopNest:
    values: list[Value] = []
    places: list[int] = []
    words: dict[Any, int] = {}
    for value in nest.values:
        if isinstance(value, Load) and value.buffer in wide:
            half, word = value.offset % 2, _word(value)
            if word not in words:
                words[word] = len(values)
                values.append(word)
            value = Apply(second_part if half else first_part, (words[word],))
        elif isinstance(value, Apply):
            value = replace(value, operands=tuple(places[o] for o in value.operands))
        places.append(len(values))
        values.append(value)
    stores: list[Store] = []
    halves: dict[Any, list[int]] = {}
    for store in nest.stores:
        if store.buffer not in wide:
            stores.append(replace(store, value=places[store.value]))
            continue
        parts = halves.setdefault((store.buffer, _pair(store)), [0, 0, 0])
        parts[store.offset % 2] = places[store.value]
        parts[2] += 1
        if parts[2] == 2:
            values.append(Apply(both_parts, (parts[0], parts[1])))
            stores.append(replace(_word(store), value=len(values) - 1))
    buffers = tuple((u64, access) if b in wide else (dtype, access) for b, (dtype, access) in enumerate(nest.buffers))
    return LoopNest(nest.shape, tuple(values), tuple(stores), buffers)


def _word(access: Any) -> Any:
    """Return the access of the word in which a float is."""
    return replace(access, offset=access.offset // 2, strides=tuple(s // 2 for s in access.strides))
