"""``x[key]`` as numpy has it: ints, slices of any step, ``...``, None, masks, and integer arrays, mixed.

Layer: tensor. A key is read once, for taking and for assigning. Ints beside arrays are arrays; arrays broadcast, and
their axes come where the first one stands, or first, if something stands between them. Invariant: an index outside is
an IndexOutside: of the host at once, of a tensor after waiting for it, unless a program is to be fed with it, which
then finds zeros there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Any, cast

import numpy as np

from loom.core.arrays import read_array
from loom.core.dtype import i64, of_numpy
from loom.core.errors import DTypeError, IndexOutside
from loom.core.given import is_array, is_list
from loom.core.late.dataclass import dataclass
from loom.tensor.handle.operators import function
from loom.tensor.ops.elementwise import apply, where
from loom.tensor.ops.elementwise import cast as convert
from loom.tensor.ops.indexing import pick, positions_of
from loom.tensor.ops.views import broadcast_to, permute, reshape, reverse, slice_range, take_slices
from loom.tensor.record.graph import KNOWN, Node, whole_view
from loom.tensor.run.eager import evaluate

__all__ = ["KeyPlaces", "as_mask", "index", "read_key"]

_WHERE = "tensor[...]"


@dataclass(slots=True)
class KeyPlaces:
    """What a key names: a part by slices (``starts``, ``steps``, ``sizes``), seen as ``inner``, and there ``arrays``.

    ``arrays``: (axis of ``inner``, positions: an array of the host, or a tensor, that broadcast together).
    ``shape``: of the elements named.
    """

    starts: list[int] = field(default_factory=list[int])
    steps: list[int] = field(default_factory=list[int])
    sizes: list[int] = field(default_factory=list[int])
    backwards: tuple[int, ...] = ()
    inner: tuple[int, ...] = ()
    arrays: list[tuple[int, Any]] = field(default_factory=list[Any])
    first: int = 0
    """The axis of the result at which those of the arrays begin."""
    common: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Elements of the arrays' common shape."""
        return math.prod(self.common)

    def basic_of(self, x: Any) -> Any:
        """Return the part that slices name, in the shape ``inner``."""
        found = take_slices(x, self.starts, self.steps, self.sizes)
        return reshape(reverse(found, self.backwards) if self.backwards else found, self.inner)

    @property
    def _order(self) -> list[int]:
        """Axes of ``inner``, those of the arrays first."""
        own = [axis for axis, _ in self.arrays]
        return own + [a for a in range(len(self.inner)) if a not in own]

    def merge_axes(self, part: Any) -> Any:
        """Return a part with the axes of the arrays as one, the first."""
        order = self._order
        rows = permute(part, order)
        return reshape(rows, (math.prod(rows.shape[: len(self.arrays)]), *rows.shape[len(self.arrays) :]))

    def back(self, moved: Any, part: Any) -> Any:
        """Return what ``merge_axes`` made as it was, in the sizes of the slices."""
        order = self._order
        whole = reshape(moved, tuple(part.shape[a] for a in order))
        inverse = [order.index(a) for a in range(len(order))]
        return reshape(permute(whole, inverse), tuple(self.sizes))

    def into_rows(self, ndim: int) -> list[int]:
        """Return the axes of a result with those of the arrays first."""
        own = list(range(self.first, self.first + len(self.common)))
        return own + [a for a in range(ndim) if a not in own]

    def positions(self, like: Any) -> Any:
        """Return the arrays as one of positions along the one axis of ``merge_axes``, u32."""
        sizes = [self.inner[axis] for axis, _ in self.arrays]
        if all(not isinstance(a, Node) for _, a in self.arrays):
            total = np.zeros(self.common, np.int64)
            for (_, given), n in zip(self.arrays, sizes, strict=True):
                total = total * n + cast("Any", np.where)(given < 0, given + n, given)
            return _constant_on(np.ascontiguousarray(total.reshape(-1).astype(np.uint32)), like)
        joined: Any = None
        for (_, given), n in zip(self.arrays, sizes, strict=True):
            at = given if isinstance(given, Node) else _constant_on(np.ascontiguousarray(given), like)
            at = convert(at, i64)
            inside = apply("and", apply("ge", at, -n), apply("lt", at, n))
            at = where(inside, where(apply("lt", at, 0), apply("add", at, n), at), -(1 << 40))
            at = broadcast_to(at, self.common)
            joined = at if joined is None else joined * n + at
        return positions_of(reshape(joined, (self.count,)), _WHERE, math.prod(sizes))

    def host_key(self, key: Any) -> Any:
        """Return a key that numpy takes, None if it is of tensors."""
        keys: tuple[Any, ...] = cast("tuple[Any, ...]", key) if isinstance(key, tuple) else (key,)
        if any(isinstance(k, Node) for k in keys):
            return None
        return tuple(_indices(k) if is_list(k) and not isinstance(k, tuple) else k for k in keys)


def index(x: Any, key: Any) -> Any:
    """Return ``x[key]``."""
    if isinstance(key, Node) and key.shape and key.dtype.is_bool and key.shape == x.shape:
        return function("masked_select")(x, key)
    places = read_key(x, key)
    part = places.basic_of(x)
    if not places.arrays:
        found = reshape(part, places.shape)
        return whole_view(x) if found is x else found
    if len(places.arrays) == 1 and places.first == places.arrays[0][0]:
        rows = pick(part, places.positions(x), places.first, shared=True)
        return reshape(rows, places.shape)
    rows = pick(places.merge_axes(part), places.positions(x), 0, shared=True)
    order = places.into_rows(len(places.shape))
    rows = reshape(rows, tuple(places.shape[a] for a in order))
    return permute(rows, [order.index(a) for a in range(len(order))])


def as_mask(key: Any, x: Any) -> Any:
    """Return a key that is one mask of the whole tensor as a tensor; None for any other."""
    if isinstance(key, Node):
        return key if key.dtype.is_bool and key.shape == x.shape else None
    if is_array(key) and key.dtype == np.bool_ and key.shape == x.shape:
        return _constant_on(np.ascontiguousarray(key), x)
    return None


def read_key(x: Any, key: Any) -> KeyPlaces:
    """Return what a key names of a tensor."""
    keys = _expand(x, key)
    places = KeyPlaces()
    kinds: list[str] = []  # of the axes of ``inner`` and the arrays on them, in the order of the key
    axis, several = 0, any(_is_array_key(k) for k in keys)
    backwards: list[int] = []
    for k in keys:
        if k is None:
            kinds.append("new")
            places.inner += (1,)
            continue
        if isinstance(k, _Truth):
            places.arrays.append((len(places.inner), np.zeros(int(k.value), np.int64)))
            kinds.append("array")
            places.inner += (1,)
            continue
        n = x.shape[axis]
        if isinstance(k, slice):
            start, step, size = slice_range(k, n, axis)
            if step < 0:
                start, step = start + (size - 1) * step if size else 0, -step
                backwards.append(axis)
            _add(places, start, step, size)
            places.inner += (size,)
            kinds.append("slice")
        elif not several and not isinstance(k, (Node, np.ndarray)):
            start, step, size = slice_range(k, n, axis)
            _add(places, start, step, size)
        else:
            _add(places, 0, 1, n)
            places.arrays.append((len(places.inner), _check(k, n, axis)))
            places.inner += (n,)
            kinds.append("array")
        axis += 1
    places.backwards = tuple(backwards)
    _settle(places, kinds)
    return places


class _Truth:
    """A mask of no dimension."""

    def __init__(self, value: bool) -> None:
        self.value = value


def _add(places: KeyPlaces, start: int, step: int, size: int) -> None:
    places.starts.append(start)
    places.steps.append(step)
    places.sizes.append(size)


def _settle(places: KeyPlaces, kinds: Sequence[str]) -> None:
    """Work out the shape of the result, and where in it the axes of the arrays are."""
    if not places.arrays:
        places.shape = places.inner
        return
    try:
        places.common = np.broadcast_shapes(*(a.shape for _, a in places.arrays))
    except ValueError:
        raise IndexOutside(
            _WHERE, "the index arrays do not broadcast", expected="shapes that go together",
            got=" and ".join(str(a.shape) for _, a in places.arrays), remedy="Reshape one",
        ) from None  # fmt: skip
    at = [n for n, kind in enumerate(kinds) if kind == "array"]
    together = at[-1] - at[0] + 1 == len(at)
    places.first = at[0] if together else 0
    own = {axis for axis, _ in places.arrays}
    rest = [n for a, n in enumerate(places.inner) if a not in own]
    places.shape = (*rest[: places.first], *places.common, *rest[places.first :])


def _is_array_key(k: Any) -> bool:
    return isinstance(k, (Node, np.ndarray, _Truth))


def _expand(x: Any, key: Any) -> list[Any]:
    """Return one key for each axis and each None: ``...`` spread, lists as arrays, masks as positions."""
    given: list[Any] = list(cast("tuple[Any, ...]", key)) if isinstance(key, tuple) else [key]
    keys: list[Any] = []
    for k in given:
        keys += _read_one(k)
    dots = [n for n, k in enumerate(keys) if k is Ellipsis]
    count = sum(k is not None and k is not Ellipsis and not isinstance(k, _Truth) for k in keys)
    if count > x.ndim or len(dots) > 1:
        raise IndexOutside(_WHERE, "too many indices", expected=f"at most {x.ndim}", got=count,
                             remedy=f"The tensor has shape {x.shape}")  # fmt: skip
    at = dots[0] if dots else len(keys)
    keys[at : at + len(dots)] = [slice(None)] * (x.ndim - count)
    axis = 0
    for n, k in enumerate(keys):
        if isinstance(k, _Mask):
            fits = all(own in (n, 0) for n, own in zip(x.shape[axis:], k.shape, strict=False))  # as numpy takes them
            if k.number == 0 and not fits:
                raise IndexOutside(_WHERE, "the mask has another shape", expected=x.shape[axis : axis + len(k.shape)],
                                   got=k.shape, remedy="Match the axes it stands for")  # fmt: skip
            keys[n] = k.positions
        axis += keys[n] is not None and not isinstance(k, _Truth)
    return keys


class _Mask:
    """The positions along axis ``number`` of those that a mask stands for."""

    def __init__(self, shape: tuple[int, ...], number: int, positions: Any) -> None:
        self.shape, self.number, self.positions = shape, number, positions


def _read_one(k: Any) -> list[Any]:
    """Return what one key stands for: itself, or a key for each axis of a mask."""
    if isinstance(k, (bool, np.bool_)):
        return [_Truth(bool(cast("Any", k)))]
    if isinstance(k, Node):
        if not k.dtype.is_bool:
            return [k]
        if not k.shape:
            return [_Truth(bool(k))]
        return [_Mask(k.shape, n, p) for n, p in enumerate(function("nonzero")(k))]
    if is_list(k) or is_array(k) or hasattr(k, "__dlpack__"):
        found = _indices(k)
        if found.dtype == np.bool_:
            if not found.ndim:
                return [_Truth(bool(found))]
            return [_Mask(found.shape, n, p) for n, p in enumerate(np.nonzero(found))]
        return [found]
    return [k]


def _indices(k: Any) -> np.ndarray[Any, Any]:
    """Return a list or array of the host as integers, or bools; DTypeError for others."""
    found, dtype = read_array(k, _WHERE)
    if found.size == 0 and not dtype.is_bool and is_list(k):
        return found.astype(np.int64)
    if not (dtype.is_integer or dtype.is_bool):
        raise DTypeError(_WHERE, "not an index", expected="integers, or bools", got=dtype,
                         remedy="Convert with astype")  # fmt: skip
    return found


def _check(k: Any, n: int, axis: int) -> Any:
    """Return positions along an axis of ``n``, known to be inside unless a program is to be fed with them."""
    if not isinstance(k, Node):
        if not is_array(k):
            k = np.asarray(slice_range(k, n, axis)[0], np.int64)
        if k.dtype == np.uint64:
            k = np.minimum(k, np.uint64(1 << 62))
        found = k.astype(np.int64)
        if found.size:
            _refuse(int(found.min()), int(found.max()), n, axis)
        return found
    if not k.dtype.is_integer:
        raise DTypeError(_WHERE, "not an index", expected="integers, or bools", got=k.dtype,
                         remedy="Convert with astype")  # fmt: skip
    if not k.is_fed and k.size:
        ends: list[Any] = [k, cast("Any", k).min(), cast("Any", k).max()]
        evaluate(ends)
        _refuse(int(ends[1].item()), int(ends[2].item()), n, axis)
    return k


def _refuse(least: int, most: int, n: int, axis: int) -> None:
    if least < -n or most >= n:
        wrong = least if least < -n else most
        raise IndexOutside(_WHERE, f"index {wrong} is outside axis {axis}", expected=f"{-n} to {n - 1}", got=wrong,
                           remedy="Check the shape")  # fmt: skip


def _constant_on(memory: np.ndarray[Any, Any], like: Any) -> Any:
    """Return an array of the host as a tensor on the device of another."""
    home = like.home
    storage = home.allocate(memory.nbytes, zeroed=False)
    storage.write(0, memory.reshape(-1).view(np.uint8))
    return type(like)(KNOWN, (), memory.shape, of_numpy(memory.dtype, _WHERE), data=storage, device=home)
