"""``group_by``: sums, means, extremes and counts of the values that share a key.

Layer: patterns. Keys are sorted stably with their values, so that a group's values lie side by side in the order
they were given. Invariant: ``group_by(k, v).sum()`` has, for every key, the bits of ``gpu_sum(v[k == key])``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from loom.core.dtype import DType, f32, i64, u32
from loom.core.errors import ArgumentError, ShapeError
from loom.core.tracebacks import brief_class
from loom.kernels.fold import groups
from loom.kernels.types import kinds, read_type, wide_type
from loom.patterns.array_calls import Arrays, first
from loom.patterns.data.sorted_keys import Runs, comparable, find_runs, plain_keys, put_in_order
from loom.patterns.data.texts import factorize, is_text
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.groups import GroupFold, levels_of
from loom.schedules.sorting.partition import may_partition, plan_partition
from loom.tensor import Tensor
from loom.tensor.ops.reductions import max_of, min_of
from loom.tensor.run.eager import evaluate

__all__ = ["GroupBy", "Groups", "group_by"]


class Groups(NamedTuple):
    """A result for every key: the different keys, ascending, and their values."""

    keys: Any
    values: Any


def group_by(keys: Any, values: Any = None, *, on: str | Device | None = None) -> GroupBy:
    """Return ``values`` grouped by ``keys``, both of one dimension and one length; values may be left out to count.

    Keys and values are of any dtype; keys may be texts, then in the order of their code points (see ``factorize``).
    Float keys: -0 and +0 are one key, shown as +0; all NaNs are one key, the last. ShapeError for two lengths.

    Args:
        keys: Array (n,) of any dtype, or texts.
        values: Array (n,) of any dtype; None: groups are counted alone.
        on: Device, or its name; None: that of the operands, else the default device.

    Returns:
        ``GroupBy``.

    Raises:
        ArgumentError: Arrays on several devices.
        DTypeError: Neither numbers nor texts; not a device.
        ShapeError: Not one dimension each, or other lengths.

    >>> keys, sums = group_by([2, 1, 2], [10.0, 20.0, 30.0]).sum()
    >>> keys.tolist(), sums.tolist()
    ([1, 2], [20.0, 40.0])
    """
    return GroupBy(keys, values, on)


@brief_class
class GroupBy:
    """Values grouped by key (see ``group_by``); each method returns ``Groups``, keys ascending.

    Floats are summed in the canonical order, each group as if it were an array of its own, in the order the
    values were given.
    """

    def __init__(
        self, keys: Any, values: Any, on: str | Device | None, where: str = "data.group_by", name: str = "keys"
    ) -> None:
        if is_text(keys):
            keys, self._names = factorize(keys)
        else:
            self._names = None
        call = self._call = Arrays(where, on, keys, values)
        given = call.input(keys, name, ndim=1)
        self._values = None if values is None else call.input(values, "values", ndim=1)
        if self._values is not None and self._values.size != given.size:
            raise ShapeError(
                "data.group_by, values", "not one for each key", expected=given.size, got=self._values.size,
                remedy="Match the lengths",
            )  # fmt: skip
        self._n = given.size
        self._longest = 0
        self._runs: Runs | None = self._partition(given) if self._n else None
        if self._n and self._runs is None:
            in_order, self._values = put_in_order(comparable(given), self._values)
            self._runs = find_runs(call, in_order)
        self._keys = plain_keys(self._runs.keys, given.dtype) if self._runs else given

    def _partition(self, given: Tensor) -> Runs | None:
        """Return the runs of whole numbers of a short range, the values moved to them; None where keys are sorted."""
        call, values = self._call, self._values
        if not may_partition(given.dtype, self._n, call.device.caps):
            return None
        ends = min_of(given), max_of(given)
        evaluate(ends)
        low, high = (int(end.item()) for end in ends)
        bits = None if values is None else values.dtype.bits
        plan = plan_partition(given.dtype, bits, self._n, low, high, call.device.caps)
        if plan is None:
            return None
        operands, kinds = [given], [((plan.span + 1,), u32)]
        if values is not None:
            operands, kinds = [given, values], [*kinds, (values.shape, values.dtype)]

        def record(chain: Chain, keys: HostSlot, *slots: HostSlot) -> None:
            if values is None:
                plan.record(chain, keys, slots[0])
            else:
                plan.record(chain, keys, slots[1], slots[0], slots[2])

        starts, *moved = call.run(("partition", plan), record, operands, *kinds)
        begins = starts.numpy()
        there = np.flatnonzero(begins[1:] != begins[:-1])
        self._values, self._longest = moved[0] if moved else None, int((begins[1:] - begins[:-1]).max())
        keys = call.lend((there.astype(object) + low).astype(given.dtype.numpy), given.dtype)
        return Runs(there.size, keys, call.lend(np.append(begins[there], begins[-1]), u32))

    @property
    def keys(self) -> Any:
        """The different keys, ascending."""
        if self._names is not None:
            return self._names.copy()  # every one of them occurs
        return self._call.result(first(self._keys, self._keys.size))  # the caller's to change

    def count(self) -> Groups:
        """Return how many values each key has, as int64.

        >>> group_by([2, 1, 2]).count().values.tolist()
        [1, 2]
        """
        return self._result(self._lengths())

    def sum(self) -> Groups:
        """Return the sums: floats in their dtype (f16 and bf16 added in f32), integers as int64 or uint64, wrapping.

            s: ``Groups``: keys, and a sum for each.

        Raises:
            ArgumentError: No values were given.

        >>> group_by([2, 1, 2], [1.5, 2.0, 3.0]).sum().values.tolist()
        [2.0, 4.5]
        """
        values = self._require_values("sum")
        return self._result(self._fold("sum", *wide_type(values.dtype)))

    def mean(self) -> Groups:
        """Return the means: the sums divided once; integers and bools give float64.

            s: ``Groups``: keys, and a mean for each, in floats.

        Raises:
            ArgumentError: No values were given.

        >>> group_by([2, 1, 2], [1, 2, 4]).mean().values.tolist()
        [2.0, 2.5]
        """
        types = kinds(self._require_values("mean").dtype)
        totals = self._fold("sum", types.total, types.total)
        return self._result(self._divide(totals, types.computed, types.result))

    def min(self) -> Groups:
        """Return the smallest values; NaN wins, and -0 is below +0.

            s: ``Groups``: keys, and an element for each, of the dtype of the values.

        Raises:
            ArgumentError: No values were given.

        >>> group_by([2, 1, 2], [1, 2, 4]).min().values.tolist()
        [2, 1]
        """
        return self._extreme("min")

    def max(self) -> Groups:
        """Return the largest values; NaN wins, and +0 is above -0.

            s: ``Groups``: keys, and an element for each, of the dtype of the values.

        Raises:
            ArgumentError: No values were given.

        >>> group_by([2, 1, 2], [1, 2, 4]).max().values.tolist()
        [2, 4]
        """
        return self._extreme("max")

    def _extreme(self, name: str) -> Groups:
        dtype = self._require_values(name).dtype
        return self._result(self._fold(name, f32 if dtype.storage_only else read_type(dtype), dtype))

    def _require_values(self, name: str) -> Tensor:
        if self._values is None:
            raise ArgumentError(
                f"data.group_by.{name}", "no values were given", remedy="Write group_by(keys, values), or use count"
            )
        return self._values

    def _result(self, values: Tensor) -> Groups:
        return Groups(self.keys, self._call.result(values))

    def _lengths(self) -> Tensor:
        """Return the number of values of each key."""

        def record(chain: Chain, runs: Runs, *slots: HostSlot) -> None:
            chain.dispatch(groups.measure_groups(), slots, [runs.count], groups=-(-runs.count // groups.LANES))

        return self._of_runs(("lengths",), record, [], i64)

    def _fold(self, name: str, accumulator: DType, result: DType) -> Tensor:
        """Return a fold of every group's values."""
        runs, x = self._runs, self._values
        assert x is not None
        if runs is not None and not self._longest:
            self._longest = int(max_of(self._lengths()).item())
        types = read_type(x.dtype), accumulator, read_type(result)
        fold = GroupFold(name, *types, x.size, runs.count if runs else 0, levels_of(self._longest))

        def record(chain: Chain, _: Runs, *slots: HostSlot) -> None:
            fold.record(chain, *slots)

        return self._of_runs((fold,), record, [x], result)

    def _divide(self, totals: Tensor, computed: DType, result: DType) -> Tensor:
        """Return totals by the number of values of each key."""
        kernel = groups.divide_groups(totals.dtype, computed, result)

        def record(chain: Chain, runs: Runs, *slots: HostSlot) -> None:
            chain.dispatch(kernel, slots, [runs.count], groups=-(-runs.count // groups.LANES))

        return self._of_runs(("mean", totals.dtype), record, [totals], result)

    def _of_runs(
        self, key: tuple[Any, ...], record: Callable[..., None], operands: list[Tensor], dtype: DType
    ) -> Tensor:
        """Return one result for each key, of operands and of where the keys start."""
        runs, call = self._runs, self._call
        if runs is None:
            return call.lend(np.empty(0, dtype.numpy), dtype)

        def record_runs(chain: Chain, *slots: HostSlot) -> None:
            record(chain, runs, *slots)

        return call.run((*key, dtype, runs.count), record_runs, [*operands, runs.starts], ((runs.count,), dtype))[0]
