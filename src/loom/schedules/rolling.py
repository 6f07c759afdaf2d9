"""Records the folds of every window of an array.

Layer: schedules. Invariant: no window is computed from its neighbour by taking something away, whoever folds a block.
"""

from __future__ import annotations

from loom.core.dtype import DType, f32, f64
from loom.core.late.dataclass import dataclass
from loom.kernels.fold.rolling import BLOCK_LANES, DIVIDE_LANES, fold_windows, window_results
from loom.kernels.types import read_type, wide_type
from loom.schedules.recorder import Recorder, StorageLike

__all__ = ["Windows"]

_GROUP = 4096
"""Elements a workgroup folds, at least."""


@dataclass(frozen=True, slots=True)
class Windows:
    """A fold of windows: "sum", "mean", "min" or "max", of ``window`` of the ``n`` elements each.

    ``held`` is what elements are folded in, ``computed`` what results are computed in at the end.
    """

    name: str
    n: int
    window: int
    element: DType
    held: DType
    computed: DType
    result: DType

    @classmethod
    def of(cls, name: str, n: int, window: int, dtype: DType) -> Windows:
        """Choose the types for elements of ``dtype``."""
        element = read_type(dtype)
        if name in ("min", "max") or dtype.is_float:
            held = f32 if dtype.storage_only else element
            return cls(name, n, window, element, held, held, dtype)
        wide = wide_type(dtype)[1]
        if name == "sum":
            return cls(name, n, window, element, wide, wide, wide)
        return cls(name, n, window, element, f64 if element.bits == 64 else wide, f64, f64)

    @property
    def results(self) -> int:
        """Number of windows."""
        return self.n - self.window + 1

    @property
    def room(self) -> int:
        """The bytes that folds take apart from the results; one if they are the results."""
        return 1 if self.name != "mean" and self.held == read_type(self.result) else self.results * self.held.nbytes

    def record(self, chain: Recorder, x: StorageLike, out: StorageLike, folds: StorageLike) -> None:
        """Record the folds into ``out``; ``folds`` is memory of ``room`` bytes."""
        n, window, results = self.n, self.window, self.results
        lanes, blocks = (BLOCK_LANES, 1) if chain.device.caps.threads else (1, max(1, _GROUP // window))
        kernel = fold_windows(self.element, self.held, "sum" if self.name == "mean" else self.name, lanes)
        target = out if self.room == 1 else folds
        chain.dispatch(kernel, [x, target], [n, window, blocks], groups=-(-results // (lanes * blocks * window)))
        if target is folds:
            finish = window_results(self.held, self.computed, read_type(self.result), mean=self.name == "mean")
            chain.dispatch(finish, [target, out], [results, window], groups=-(-results // DIVIDE_LANES))
