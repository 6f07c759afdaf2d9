"""The kernels of sorting, selecting and searching, on small inputs, trusted and watched.

Oracles besides the interpreter: numpy's stable sort, counts, and binary search. Bits are sorted as they are
(floats with NaNs among them are compared with the interpreter only). Most of these kernels have one lane a
group, so that the vector width changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from conformance.values import random_bits
from loom.core.dtype import DType, bf16, bool_, f16, f32, f64, i8, i16, i64, u8, u16, u32, u64
from loom.kernels.sort import buckets as sort_buckets
from loom.kernels.sort import radix as sort
from loom.kernels.sort import search as sort_search
from loom.kernels.sort import select as sort_select
from loom.kernels.sort.keys import DIGITS, Order, Records
from loom.kernels.sort.scatter import scatter_tiles
from loom.kernels.sort.small import sort_row

__all__ = ["bucket_steps"]

Array = np.ndarray[Any, Any]
Step = tuple[Any, list[Array], list[Any], int]


def _case(kernel: Any, buffers: list[Array], params: list[Any], groups: int = 1, **known: Array) -> Case:
    """A case in the modes the library is used in; ``known`` gives buffers whose contents are known."""
    return Case(
        kernel.verified.kernel, tuple(buffers), tuple(params), (groups, 1, 1), known, modes=("trusted", "reported")
    )


def _elements(order: Order, size: int) -> Array:
    """Bits of elements, many of them equal; bools are 0 or 1."""
    bits = random_bits(order.bits.numpy, size, seed=size + order.dtype.bits)
    bits[size // 2 :] = bits[: size - size // 2]
    return bits & order.bits.numpy.type(1) if order.dtype.is_bool else bits


def _ranks(order: Order, bits: Array) -> Array:
    """Return the stable order of integer elements."""
    values = bits.view(order.dtype.numpy)
    ranks = np.unique(values, return_inverse=True)[1]
    return np.argsort(-ranks if order.descending else ranks, kind="stable")


def _nothing() -> Array:
    return np.zeros(8, np.uint8)


def _outputs(records: Records, size: int) -> list[Array]:
    return [
        np.zeros(size, records.order.bits.numpy),
        np.zeros(1 if records.payload is None else size, records.payload_output.numpy),
    ]


def _values(records: Records, size: int) -> Array:
    kind = records.payload_input
    return _nothing() if kind is None else random_bits(kind.numpy, size, seed=1)


def _known(records: Records, bits: Array, values: Array) -> dict[str, Array]:
    """Return what is known of a whole sort: all of it, for integers."""
    if records.order.dtype.is_float:
        return {}
    places = _ranks(records.order, bits)
    known = {"keys": bits[places]}
    if records.payload is not None:
        moved = values if records.payload_input is not None else np.arange(bits.size)
        known["payloads"] = moved[places].astype(records.payload_output.numpy)
    return known


# whole rows

_KINDS = [
    Records(Order(bool_)), Records(Order(u8, descending=True), "index"), Records(Order(i8), u64),
    Records(Order(f16), "index"), Records(Order(bf16)), Records(Order(i16), u16), Records(Order(u32)),
    Records(Order(f32)), Records(Order(f32, descending=True), "position"), Records(Order(u32), u8),
    Records(Order(i64), "index"), Records(Order(f64)), Records(Order(u64, descending=True), u64),
]  # fmt: skip


def _row(records: Records, size: int) -> Case:
    rows = 2
    bits, values = _elements(records.order, rows * size), _values(records, rows * size)
    both = np.zeros(2 * rows * size * records.words, records.word.numpy)
    outputs = [np.zeros(rows * size, o.dtype) for o in _outputs(records, size)]
    known: dict[str, Array] = {}
    parts = [_known(records, bits[r * size :][:size], values[r * size :][:size]) for r in range(rows)]
    for name in parts[0]:
        known[name] = np.concatenate([part[name] for part in parts])
    return _case(sort_row(records, keys_out=True), [bits, values, both, *outputs], [size], rows, **known)


for _n, _records in enumerate(_KINDS):
    case(f"sorting/row-{_records.name}", widths=(1,), slow=_n % 3 != 0)(partial(_row, _records, 67))


# narrow keys: counts, scan, scatters


def _counts(digits: Array, tile: int) -> Array:
    """Return the rows of counts of each tile, and a row of zeros."""
    rows = [np.bincount(digits[at : at + tile], minlength=DIGITS) for at in range(0, digits.size, tile)]
    return np.array([*rows, np.zeros(DIGITS, np.int64)], np.uint32)


def _places(digits: Array, tile: int) -> Array:
    """Return what a scan makes of the counts."""
    counts = _counts(digits, tile).astype(np.int64)
    tiles = len(counts) - 1
    sizes = counts[:tiles].T.reshape(-1)
    ends = np.cumsum(sizes)
    starts = (ends - sizes).reshape(DIGITS, tiles).T
    return np.concatenate([starts, ends.reshape(DIGITS, tiles)[:, -1:].T]).astype(np.uint32).reshape(-1)


def _count_input(dtype: DType) -> Case:
    order, size, tile = Order(dtype), 300, 130
    bits = np.concatenate([np.zeros(5, order.bits.numpy), _elements(order, size)])
    known = {}
    if dtype == u16:
        known["counts"] = _counts(bits[5:] & 0xFF, tile).reshape(-1)[: 3 * DIGITS]
    counts = np.zeros(3 * DIGITS, np.uint32)
    return _case(sort.count_input(order), [bits, counts], [size, 5, tile], 3, **known)


def _scan(tiles: int) -> Case:
    digits = random_bits(np.dtype(np.uint8), 100 * tiles, seed=tiles)
    known = _places(digits, 100)
    return _case(sort.scan_digits(), [_counts(digits, 100).reshape(-1)], [tiles], counts=known)


def _only(dtype: DType) -> Case:
    records, size, tile = Records(Order(dtype), "index"), 300, 130
    bits = _elements(records.order, size)
    keys = bits ^ np.uint8(records.order.sign if dtype.is_signed else 0)
    buffers = [bits, _nothing(), _places(keys, tile), np.zeros(2 * tile, np.uint64), *_outputs(records, size)]
    kernel = scatter_tiles(records, "only", keys_out=True)
    return _case(kernel, buffers, [size, 0, tile, 3], 2, **_known(records, bits, bits))


def _first_and_last(*, last: bool) -> Case:
    records, size, tile = Records(Order(u16)), 300, 130
    bits = _elements(records.order, size)
    by_low = bits[np.argsort(bits & 0xFF, kind="stable")]
    scratch = np.zeros(2 * tile, np.uint16)
    if not last:
        buffers = [bits, _nothing(), _places(bits & 0xFF, tile), scratch, np.zeros(size, np.uint16)]
        return _case(scatter_tiles(records, "first"), buffers, [size, 0, tile, 3], 2, out=by_low)
    buffers = [by_low, _places(by_low >> 8, tile), scratch, *_outputs(records, size)]
    return _case(scatter_tiles(records, "last", keys_out=True), buffers, [size, 0, tile, 3], 2, keys=np.sort(bits))


case("sorting/count-u16", widths=(1,))(partial(_count_input, u16))
case("sorting/count-f16", widths=(1,), slow=True)(partial(_count_input, f16))
for _tiles in (1, 3):
    case(f"sorting/scan-{_tiles}")(partial(_scan, _tiles))
case("sorting/only-u8", widths=(1,))(partial(_only, u8))
case("sorting/only-i8", widths=(1,), slow=True)(partial(_only, i8))
case("sorting/first-u16", widths=(1,))(partial(_first_and_last, last=False))
case("sorting/last-u16", widths=(1,))(partial(_first_and_last, last=True))


# records: what varies, counts, a pass between


def _middle(words: int) -> Case:
    size, tile = 300, 130
    records = Records(Order(u32)) if words == 1 else Records(Order(u64), u64)
    keys = _elements(records.order, size)
    both = np.zeros((2, size, words), records.word.numpy)
    both[0, :, 0] = keys
    both[0, :, -1] = keys if words == 1 else np.arange(size)
    digits = keys >> records.word.numpy.type(8) & records.word.numpy.type(0xFF)
    moved = both.copy()
    moved[1] = both[0][np.argsort(digits, kind="stable")]
    state = np.array([0xFF00], records.word.numpy)
    buffers = [both.reshape(-1), _places(digits.astype(np.int64), tile), state]
    buffers.append(np.zeros(2 * tile * words, records.word.numpy))
    return _case(scatter_tiles(records, "middle"), buffers, [size, tile, 3, 1], 2, both=moved.reshape(-1))


def _count_records() -> Case:
    keys = _elements(Order(u32), 300)
    known = _counts(keys >> np.uint32(8) & np.uint32(0xFF), 130).reshape(-1)[: 3 * DIGITS]
    buffers = [keys, np.array([0xFF00], np.uint32), np.zeros(3 * DIGITS, np.uint32)]
    return _case(sort.count_records(Records(Order(u32))), buffers, [300, 130, 1], 3, counts=known)


def _varying() -> Case:
    keys = _elements(Order(u32), 300) & np.uint32(0x00FFF0F0)
    known = np.array([np.bitwise_or.reduce(keys[at : at + 130] ^ keys[0]) for at in (0, 130, 260)], np.uint32)
    return _case(sort.find_varying(Records(Order(u32))), [keys, np.zeros(3, np.uint32)], [300, 130], 3, varying=known)


case("sorting/middle-1", widths=(1,))(partial(_middle, 1))
case("sorting/middle-2", widths=(1,), slow=True)(partial(_middle, 2))
case("sorting/count-records", widths=(1,))(_count_records)
case("sorting/varying", widths=(1,))(_varying)


# buckets


def bucket_steps(records: Records, size: int, tile: int) -> Iterator[Step]:
    """Yield the steps through buckets over one set of arrays, each to be run before the next is asked for."""
    order, buckets, groups = records.order, 5, 2
    tiles, room = -(-size // tile), size
    prefixes = sort_buckets.prefixes(order)
    bits = _elements(order, size)
    tallies, table, bounds = np.zeros(prefixes, np.uint32), np.zeros(prefixes, np.uint8), np.zeros(2, bits.dtype)
    counts, ways = np.zeros((tiles + 1) * DIGITS, np.uint32), np.zeros(3 * sort_buckets.WAYS, np.uint32)
    scratch = np.zeros(groups * tile * records.words, records.word.numpy)
    both = np.zeros((2 * size + 2 * groups * room) * records.words, records.word.numpy)
    yield sort_buckets.choose_buckets(order), [bits, tallies, table, bounds], [size, 0, buckets], 1
    yield sort_buckets.count_buckets(order), [bits, bounds, table, counts], [size, 0, tile], tiles
    yield sort.scan_digits(), [counts], [tiles], 1
    yield sort_buckets.decide(), [counts, ways], [tiles, groups, size], 1
    buffers = [bits, _nothing(), table, counts, bounds, scratch, both]
    yield scatter_tiles(records, "to_buckets"), buffers, [size, 0, tile, tiles], groups
    buffers = [both, counts, ways, np.zeros(1, bits.dtype), *_outputs(records, size)]
    yield sort_buckets.sort_buckets(records, keys_out=True), buffers, [size, 0, tiles, buckets, room], groups


def _bucket_step(records: Records, number: int) -> Case:
    from loom.runtime.chain import Chain

    size = 400
    for at, (kernel, buffers, params, groups) in enumerate(bucket_steps(records, size, 150)):
        if at == number:
            bits = _elements(records.order, size)
            known = _known(records, bits, bits) if number == _STEPS - 1 else {}
            return _case(kernel, buffers, params, groups, **known)
        chain = Chain("cpu")
        chain.dispatch(kernel, buffers, params, groups)
        chain.build().run()
    raise AssertionError(number)


_STEPS = 6
for _records in (Records(Order(u32)), Records(Order(f32), "index"), Records(Order(i64), "index"), Records(Order(f64))):
    for _step in range(_STEPS):
        if _step not in (2, 3) or _records.payload is None:
            _rare = _step == 0 or _records.order.dtype != u32
            case(f"sorting/bucket-{_records.name}-{_step}", widths=(1,), slow=_rare)(
                partial(_bucket_step, _records, _step)
            )


# selection


def _found(bits: Array, rank: int) -> tuple[Array, int]:
    """Return the key of a rank and the rank among its equals, as a search leaves them."""
    key = np.sort(bits)[rank]
    return np.array([key, rank - (bits < key).sum()], np.uint64), int(key)


def _prefixed() -> Case:
    bits, tile = _elements(Order(u32), 300), 130
    found, key = _found(bits, 77)
    found[0] &= np.uint64(0xFF000000)
    same = bits >> 24 == key >> 24
    digits = np.where(same, bits >> 16 & 0xFF, 999)
    rows = [np.bincount(digits[at : at + tile], minlength=1000)[:DIGITS] for at in (0, 130, 260)]
    buffers = [bits, found, np.zeros(3 * DIGITS, np.uint32)]
    kernel = sort_select.count_prefixed(Order(u32))
    return _case(kernel, buffers, [300, tile, 2], 3, counts=np.array(rows, np.uint32).reshape(-1))


def _digit() -> Case:
    counts = random_bits(np.dtype(np.uint32), 2 * DIGITS, seed=9) % np.uint32(7)
    sizes = counts.reshape(2, DIGITS).sum(0)
    rank = int(sizes[:100].sum()) + int(sizes[100]) - 1 if sizes[100] else int(sizes[:100].sum())
    digit = int(np.searchsorted(np.cumsum(sizes), rank, "right"))
    known = np.array([0xAB0000 | digit << 8, rank - int(sizes[:digit].sum())], np.uint64)
    return _case(sort_select.find_digit(), [counts, np.array([0xAB0000, rank], np.uint64)], [2, 1], found=known)


def _part_sizes(bits: Array, key: int, tile: int = 130) -> Array:
    tiles = [bits[at : at + tile] for at in range(0, bits.size, tile)]
    rows = [(b < key, b == key, b > key) for b in tiles]
    return np.array([[p.sum() for p in row] for row in rows], np.uint32)


def _parts(step: str) -> Case:
    order = Order(u32)
    bits = _elements(order, 300)
    found, key = _found(bits, 77)
    sizes = _part_sizes(bits, key)
    flat = sizes.T.reshape(-1)
    places = (np.cumsum(flat) - flat).reshape(3, 3).T.astype(np.uint32).reshape(-1)
    lowest = np.argsort(bits, kind="stable")[:78]
    below, equal = np.sort(lowest[bits[lowest] < key]), lowest[bits[lowest] == key]
    if step == "count":
        counts = np.zeros(9, np.uint32)
        return _case(sort_select.count_parts(order), [bits, found, counts], [300, 130], 3, counts=sizes.reshape(-1))
    if step == "place":
        return _case(sort_select.place_parts(), [sizes.reshape(-1)], [3], counts=places)
    if step == "write":
        known = np.concatenate([bits[bits < key], bits[bits == key], bits[bits > key]])
        buffers = [bits, found, places, np.zeros(300, np.uint32)]
        return _case(sort_select.write_parts(order), buffers, [300, 130], 3, out=known)
    positions = np.concatenate([below, equal]).astype(np.uint32)
    buffers = [bits, found, places, np.zeros(78, np.uint32), np.zeros(78, np.uint32)]
    known_parts = {"out": bits[positions], "positions": positions}
    return _case(sort_select.pick_lowest(order), buffers, [300, 130, 78], 3, **known_parts)


case("sorting/select-prefixed", widths=(1,))(_prefixed)
case("sorting/select-digit", widths=(1,))(_digit)
for _name in ("count", "place", "write", "pick"):
    case(f"sorting/select-{_name}", widths=(1,))(partial(_parts, _name))


# runs and search


def _runs(step: str) -> Case:
    order = Order(u32)
    bits = np.sort(_elements(order, 300) % np.uint32(90))
    values, starts, numbers, lengths = np.unique(bits, return_index=True, return_inverse=True, return_counts=True)
    first = np.array([(starts < at).sum() for at in (0, 130, 260, 300)], np.uint32)
    if step == "count":
        return _case(
            sort_search.count_runs(order), [bits, np.zeros(3, np.uint32)], [300, 130], 3, counts=np.diff(first)
        )
    if step == "place":
        sizes = np.append(np.diff(first), np.uint32(0))
        return _case(sort_search.place_runs(), [sizes], [3], counts=first)
    if step == "write":
        back = np.argsort(np.random.default_rng(0).permutation(300))
        inverse = np.empty(300, np.uint64)
        inverse[back] = numbers.reshape(-1)
        out, where = np.zeros(values.size, np.uint32), np.zeros(values.size, np.uint32)
        buffers = [bits, back.astype(np.uint64), first, out, where, np.zeros(300, np.uint64)]
        known = {"out": values, "starts": starts.astype(np.uint32), "numbers": inverse}
        return _case(sort_search.write_runs(order, inverse=True), buffers, [300, 130], 3, **known)
    buffers = [starts.astype(np.uint32), first, np.zeros(300, np.uint64)]
    known_lengths = np.append(lengths, np.zeros(300 - lengths.size)).astype(np.uint64)
    return _case(sort_search.measure_runs(), buffers, [300, 3], 5, lengths=known_lengths)


def _search(dtype: DType, right: bool, in_order: bool = True) -> Case:
    order = Order(dtype)
    bits, values = _elements(order, 150), _elements(order, 100)
    known = {}
    if not dtype.is_float and in_order:
        bits = np.sort(bits.view(dtype.numpy)).view(bits.dtype)
        found = np.searchsorted(bits.view(dtype.numpy), values.view(dtype.numpy), "right" if right else "left")
        known["out"] = found.astype(np.uint64)
    buffers = [bits, values, np.zeros(100, np.uint64)]
    return _case(sort_search.search(order, right=right), buffers, [150, 100], 2, **known)


for _name in ("count", "place", "write", "measure"):
    case(f"sorting/runs-{_name}", widths=(1, 4, 8, 16) if _name == "measure" else (1,))(partial(_runs, _name))
for _n, _dtype in enumerate((i16, u32, i64, f32, f16, f64)):
    for _right in (False, True):
        case(f"sorting/search-{_dtype}-{'right' if _right else 'left'}", slow=_n % 3 != 0 or _right)(
            partial(_search, _dtype, _right)
        )
case("sorting/search-unsorted")(partial(_search, u32, right=False, in_order=False))
