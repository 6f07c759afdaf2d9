"""The kernels of sorting, selecting and listing runs by workgroups of many lanes, on small inputs.

Oracles besides the interpreter: numpy's stable sort, counts and unique. Floats with NaNs are compared with the
interpreter only.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from conformance.cases.library.sorting import Array, _case, _elements, _found, _known, _outputs, _part_sizes, _values
from conformance.running import Case, case
from loom.core.dtype import DType, f16, f32, f64, i8, i64, u8, u16, u32, u64
from loom.kernels.sort import search_threads as sort_search_threads
from loom.kernels.sort import select_threads as sort_select_threads
from loom.kernels.sort import threads as sort_threads
from loom.kernels.sort.exchange import SortTile
from loom.kernels.sort.keys import DIGITS, Order, Records

_ROWS = [
    Records(Order(u8, descending=True), "index"), Records(Order(i8), u64), Records(Order(u16)),
    Records(Order(f32, descending=True), "position"), Records(Order(f16), "index"), Records(Order(i64), "index"),
    Records(Order(f64)), Records(Order(u32), u8),
]  # fmt: skip


def _word(records: Records) -> DType:
    return u64 if records.word == u64 else u32


def _rows(records: Records, size: int, tile: SortTile) -> Case:
    rows = 2
    bits, values = _elements(records.order, rows * size), _values(records, rows * size)
    outputs = [np.zeros(1 if o.size == 1 else rows * size, o.dtype) for o in _outputs(records, size)]
    known: dict[str, Array] = {}
    parts = [_known(records, bits[r * size :][:size], values[r * size :][:size]) for r in range(rows)]
    for name in parts[0]:
        known[name] = np.concatenate([part[name] for part in parts])
    return _case(sort_threads.sort_rows(records, tile, keys_out=True), [bits, values, *outputs], [size], rows, **known)


for _n, _records in enumerate(_ROWS):
    for _size, _lanes, _items in ((67, 32, 3), (32, 32, 1)):
        case(f"sorting-threads/row-{_records.name}-{_size}", widths=(4, 16), slow=_n % 4 != 0 or _items == 1)(
            partial(_rows, _records, _size, SortTile(_lanes, _items, _word(_records)))
        )


# passes over two rows of three blocks, the last tile of which is cut short


_LANES, _ITEMS, _TURNS, _SIZE, _BLOCKS = 256, 1, 1, 600, 3


def _places(digits: Array) -> tuple[Array, Array]:
    """Return the places of each row's digits by block, and the sums of the digits."""
    blocks = digits.reshape(-1, _SIZE)
    counts = np.array(
        [[np.bincount(row[at : at + _LANES], minlength=DIGITS) for at in range(0, _SIZE, _LANES)] for row in blocks]
    ).transpose(0, 2, 1)
    places = np.cumsum(counts, 2) - counts
    return places.astype(np.uint32).reshape(-1), counts.sum(2).astype(np.uint32).reshape(-1)


def _by_digit(bits: Array, digits: Array) -> Array:
    """Return each row's stable order by the digits."""
    rows = np.argsort(digits.reshape(-1, _SIZE), axis=1, kind="stable") + np.arange(0, len(bits), _SIZE)[:, None]
    return bits[rows.reshape(-1)]


def _count(first: bool) -> Case:
    records = Records(Order(u16))
    bits = _elements(records.order, 2 * _SIZE)
    digits = (bits if first else bits >> 8) & 0xFF
    places, sums = _places(digits)
    counts = np.diff(places.reshape(2, DIGITS, _BLOCKS), axis=2, append=sums.reshape(2, DIGITS, 1)).reshape(-1)
    kernel = sort_threads.count_digits(records, SortTile(_LANES, _ITEMS, u32), first=first)
    buffers = [bits, bits, np.zeros_like(places)]
    return _case(kernel, buffers, [_SIZE, _BLOCKS, _TURNS, 1 - first], 2 * _BLOCKS, counts=counts.astype(np.uint32))


def _scan(blocks: int) -> Case:
    counts = np.random.default_rng(blocks).integers(0, 1000, (3, blocks)).astype(np.uint32)
    places = np.cumsum(counts, 1, dtype=np.uint32) - counts
    known = {"counts": places.reshape(-1), "totals": counts.sum(1).astype(np.uint32)}
    return _case(sort_threads.scan_counts(), [counts.reshape(-1), np.zeros(3, np.uint32)], [blocks], 3, **known)


def _scan_few() -> Case:
    counts = np.random.default_rng(2).integers(0, 1000, (2 * DIGITS, 3)).astype(np.uint32)
    places = np.cumsum(counts, 1, dtype=np.uint32) - counts
    known = {"counts": places.reshape(-1), "totals": counts.sum(1).astype(np.uint32)}
    buffers = [counts.reshape(-1), np.zeros(2 * DIGITS, np.uint32)]
    return _case(sort_threads.scan_few_counts(), buffers, [3], 2, **known)


def _scatter(records: Records, *, first: bool, last: bool) -> Case:
    size, words = 2 * _SIZE, records.words
    bits, values = _elements(records.order, size), _values(records, size)
    number = 0 if first else records.passes - 1
    digits = bits >> bits.dtype.type(8 * number) & bits.dtype.type(0xFF)
    places, sums = _places(digits)
    payload = np.tile(np.arange(_SIZE), 2) if records.payload == "index" else values
    source = np.zeros((size, words), records.word.numpy)
    source[:, 0] = bits if records.key_shift == 0 else bits.astype(np.uint64) << np.uint64(32)
    if records.payload is not None:
        source[:, -1] += payload.astype(np.uint64)
    moved = _by_digit(source.reshape(size, words), digits)
    known = {"target": moved.reshape(-1)}
    if last:
        known = {"keys": _by_digit(bits, digits)}
        if records.payload is not None:
            known["payloads"] = _by_digit(payload.astype(records.payload_output.numpy), digits)
    kernel = sort_threads.scatter_digits(
        records, SortTile(_LANES, _ITEMS, _word(records)), first=first, last=last, keys_out=last
    )
    x = bits if first else np.zeros(8, bits.dtype)
    target = np.zeros(1 if last else size * words, records.word.numpy)
    outputs = _outputs(records, size) if last else [np.zeros(1, o.dtype) for o in _outputs(records, 1)]
    given = [x, values if first else np.zeros(8, values.dtype)]
    buffers = [*given, np.zeros(1, source.dtype) if first else source.reshape(-1), places, sums, target, *outputs]
    return _case(kernel, buffers, [_SIZE, _BLOCKS, _TURNS, number], 2 * _BLOCKS, **known)


case("sorting-threads/count-first", widths=(4,))(partial(_count, True))
case("sorting-threads/count", widths=(4,), slow=True)(partial(_count, False))
for _blocks in (5, 300):
    case(f"sorting-threads/scan-{_blocks}", widths=(1, 4))(partial(_scan, _blocks))
case("sorting-threads/scan-few", widths=(1, 4))(_scan_few)
for _n, (_records, _first, _last) in enumerate(
    [
        (Records(Order(u8), "index"), True, True),
        (Records(Order(u32)), True, False),
        (Records(Order(u16), u32), False, True),
        (Records(Order(u64), u64), True, False),
        (Records(Order(u64), u64), False, True),
        (Records(Order(u32)), False, False),
    ]
):
    _name = f"sorting-threads/scatter-{_records.name}{'-first' * _first}{'-last' * _last}"
    case(_name, widths=(4,), slow=_n % 3 != 0)(partial(_scatter, _records, first=_first, last=_last))


# selection and runs: a tile and some elements more


_MANY, _TILE = 400, 290


def _prefixed() -> Case:
    bits = _elements(Order(u32), _MANY)
    found, key = _found(bits, 177)
    found[0] &= np.uint64(0xFF000000)
    same = bits >> 24 == key >> 24
    counts = np.zeros((4, DIGITS), np.uint32)
    known = counts.copy()
    known[2] = np.bincount(bits[same] >> 16 & 0xFF, minlength=DIGITS)
    kernel = sort_select_threads.count_prefixed(Order(u32))
    return _case(kernel, [bits, found, counts.reshape(-1)], [_MANY, _TILE, 2], 2, counts=known.reshape(-1))


def _digit() -> Case:
    counts = np.random.default_rng(9).integers(0, 7, (2, DIGITS)).astype(np.uint32)
    rank = int(counts[1, :100].sum())
    digit = int(np.searchsorted(np.cumsum(counts[1]), rank, "right"))
    known = np.array([0xAB0000 | digit << 8, rank - int(counts[1, :digit].sum())], np.uint64)
    buffers = [counts.reshape(-1), np.array([0xAB0000, rank], np.uint64)]
    return _case(sort_select_threads.find_digit(), buffers, [1], found=known)


def _parts(step: str) -> Case:
    order, rank = Order(u32), 177
    bits = _elements(order, _MANY) % np.uint32(50)
    found, key = _found(bits, rank)
    sizes = _part_sizes(bits, key, _TILE)
    tiles = len(sizes)
    flat = sizes.T.reshape(-1)
    places = (np.cumsum(flat) - flat).reshape(3, tiles).T.astype(np.uint32).reshape(-1)
    if step == "count":
        buffers = [bits, found, np.zeros(3 * tiles, np.uint32)]
        return _case(sort_select_threads.count_parts(order), buffers, [_MANY, _TILE], tiles, counts=sizes.reshape(-1))
    if step == "place":
        return _case(sort_select_threads.place_parts(), [sizes.reshape(-1)], [tiles], counts=places)
    if step == "write":
        known = np.concatenate([bits[bits < key], bits[bits == key], bits[bits > key]])
        buffers = [bits, found, places, np.zeros(_MANY, np.uint32)]
        return _case(sort_select_threads.write_parts(order), buffers, [_MANY, _TILE], tiles, out=known)
    lowest = np.argsort(bits, kind="stable")[: rank + 1]
    below, equal = np.sort(lowest[bits[lowest] < key]), lowest[bits[lowest] == key]
    positions = np.concatenate([below, equal]).astype(np.uint32)
    buffers = [bits, found, places, np.zeros(rank + 1, np.uint32), np.zeros(rank + 1, np.uint32)]
    known_parts = {"out": bits[positions], "positions": positions}
    kernel = sort_select_threads.pick_lowest(order)
    return _case(kernel, buffers, [_MANY, _TILE, rank + 1], tiles, **known_parts)


def _clear() -> Case:
    counts = np.arange(2 * DIGITS, dtype=np.uint32)
    return _case(sort_select_threads.clear_counts(), [counts], [], 2, counts=np.zeros_like(counts))


def _runs(step: str) -> Case:
    order = Order(u32)
    bits = np.sort(_elements(order, _MANY) % np.uint32(90))
    values, starts, numbers = np.unique(bits, return_index=True, return_inverse=True)
    first = np.array([(starts < at).sum() for at in (0, _TILE, _MANY)], np.uint32)
    if step == "count":
        buffers = [bits, np.zeros(2, np.uint32)]
        return _case(sort_search_threads.count_runs(order), buffers, [_MANY, _TILE], 2, counts=np.diff(first))
    if step == "place":
        return _case(sort_search_threads.place_runs(), [np.append(np.diff(first), np.uint32(0))], [2], counts=first)
    back = np.random.default_rng(0).permutation(_MANY)
    inverse = np.empty(_MANY, np.uint64)
    inverse[back] = numbers.reshape(-1)
    out, where = np.zeros(values.size, np.uint32), np.zeros(values.size, np.uint32)
    buffers = [bits, back.astype(np.uint64), first, out, where, np.zeros(_MANY, np.uint64)]
    known = {"out": values, "starts": starts.astype(np.uint32), "numbers": inverse}
    return _case(sort_search_threads.write_runs(order, inverse=True), buffers, [_MANY, _TILE], 2, **known)


case("sorting-threads/select-prefixed", widths=(4,), slow=True)(_prefixed)
case("sorting-threads/select-digit", widths=(4,))(_digit)
case("sorting-threads/select-clear", widths=(4,))(_clear)
for _name in ("count", "place", "write", "pick"):
    case(f"sorting-threads/select-{_name}", widths=(4,), slow=_name == "count")(partial(_parts, _name))
for _name in ("count", "place", "write"):
    case(f"sorting-threads/runs-{_name}", widths=(4,), slow=_name == "count")(partial(_runs, _name))
