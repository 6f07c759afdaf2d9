"""Programs that a stranger draws over rows: the schedules of a GPU, which fold rows in one kernel with what is around
them, have the bits of the processor's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.caps import Caps
from loom.core.dtype import DType, bf16
from loom.core.numerics import canonical_bits
from loom.schedules import rows as schedule
from loom.tensor import Tensor
from loom.tensor.program import Drafted
from loom.tensor.record.timelines import build
from unit.tensor.fusing.drafts import GPU

Step = Callable[[Random, list[Tensor]], Tensor]

_SHORT = replace(GPU, short=True)
_LENGTHS = (*(64,) * 6, 128, 128, 192, 256, 576, 1024, 4096, 63, 65, 1)
_LEADS = ((8,), (4,), (6,), (64,), (3,), (2, 3), (3, 1), (1, 5), (2, 1, 2), (1,), ())
_MOST = 1 << 14
_ENDS = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -6e4, 1.0]
_UNARY = ("exp", "neg", "abs", "sqrt", "rsqrt", "floor", "neg", "abs", "floor", "sigmoid", "sin")
_FLOATS = (*("f32",) * 7, "f64", "f16", "bf16")
_ALL = (*_FLOATS, "i32", "bool", "i64", "u8")


class Drawn:
    """A program that a seed draws: the same over any device. Only shapes and types are looked at."""

    def __init__(self, seed: int, on: str) -> None:
        r = Random(seed)
        rng = np.random.default_rng(seed)
        self.r, self.on = r, on
        n, lead = r.choice(_LENGTHS), r.choice(_LEADS)
        self.rows = (*lead, n)
        dtype = r.choice(_FLOATS)
        shapes = [self.rows, self.rows, (n,), lead, (*lead, 1), r.choice([(), (1,), (1, n), self.rows])]
        hazards = r.random() < 0.3
        self.parameters: list[Tensor] = []
        for shape in shapes:
            data = rng.normal(0, 2, shape)
            if hazards and r.random() < 0.5:
                data = np.where(rng.random(shape) < r.choice([0.01, 0.5, 1]), rng.choice(_ENDS, shape), data)
            if r.random() < 0.1:
                data = np.zeros(shape) * r.choice([1.0, -1.0])
            with np.errstate(over="ignore"):
                self.parameters.append(tensor.parameter(data, r.choice([dtype] * 6 + ["f32"]), on=on))
        self.pool = list(self.parameters)
        wanted = r.choice([5, 8, 12, 20, 40])
        for _ in range(wanted):
            made = self.step()
            if made is not None and made.size <= _MOST and len(made.shape) <= 4:
                self.pool.append(made)
        own = self.pool[len(shapes) :]
        self.outputs = r.sample(own, min(len(own), r.choice([1, 2, 3, 6])))
        floats = [x for x in self.outputs if x.dtype.is_float]
        if floats and r.random() < 0.4:
            loss = tensor.stack([tensor.cast(x, "f32").sum() for x in floats]).sum()
            self.outputs += [loss, *tensor.grad(loss, self.parameters)]
        self.updates: list[tuple[Tensor, Tensor]] = []
        for p in self.parameters:
            fitting = [x for x in (*self.pool, *self.outputs) if x.shape == p.shape and x is not p]
            if fitting and r.random() < 0.5:
                new = tensor.cast(r.choice(fitting), p.dtype)
                self.updates.append((p, r.choice([lambda p, x: x, lambda p, x: p - x * 0.5])(p, new)))

    def step(self) -> Tensor | None:
        r = self.r
        recent = self.pool[-r.choice([3, 6, 100]) :]
        x, y, z = (self.taken(recent) for _ in range(3))
        return r.choice(_STEPS)(r, [x, y, z])

    def taken(self, pool: list[Tensor]) -> Tensor:
        """Draw a tensor, of a row's shape rather than another."""
        found = self.r.choice(pool)
        return found if found.shape == self.rows or self.r.random() < 0.5 else self.r.choice(pool)


def _float(x: Tensor) -> Tensor:
    return x if x.dtype.is_float else tensor.cast(x, "f32")


def _fitting(r: Random, xs: list[Tensor]) -> list[Tensor]:
    """Return tensors that can be broadcast together, of one float type."""
    found = [_float(xs[0])]
    for x in xs[1:]:
        y = tensor.cast(_float(x), found[0].dtype)
        if y.ndim and y.shape == found[0].shape[:-1] and r.random() < 0.9:
            y = y.reshape(*y.shape, 1)
        try:
            shape = np.broadcast_shapes(y.shape, *(f.shape for f in found))
        except ValueError:
            y, shape = found[-1] * 0.5, found[0].shape
        found.append(y if np.prod(shape) <= _MOST else found[0])
    return found


def _unary(r: Random, xs: list[Tensor]) -> Tensor:
    x = _float(xs[0])
    return r.choice([
        lambda: x.map(r.choice(_UNARY)), lambda: x * r.choice([0.5, -1.0, 0.0, 3.0]), lambda: x + r.choice([1, -0.0]),
        lambda: tensor.clip(x, -1, 2), x.relu, lambda: tensor.silu(x),
    ])()  # fmt: skip


def _binary(r: Random, xs: list[Tensor]) -> Tensor:
    a, b = _fitting(r, xs[:2])
    return r.choice([
        lambda: a + b, lambda: a - b, lambda: a * b, lambda: a / b, lambda: tensor.maximum(a, b),
        lambda: tensor.minimum(a, b), lambda: tensor.cast(a > b, a.dtype), lambda: a > b,
    ])()  # fmt: skip


def _where(r: Random, xs: list[Tensor]) -> Tensor:
    a, b, c = _fitting(r, xs)
    if c.ndim and r.random() < 0.5:
        at = tensor.arange(c.shape[-1], dtype="i32", on=c.device)
        return tensor.where(at >= r.randrange(c.shape[-1] + 1), c, r.choice([-np.inf, 0.0, -0.0]))
    return tensor.where(a > b, c, a)


def _fold(r: Random, xs: list[Tensor]) -> Tensor:
    x, keep = xs[0], r.random() < 0.5
    axis = -1 if r.random() < 0.8 or not x.ndim else r.choice([None, *range(x.ndim), tuple(range(x.ndim))[-2:]])
    if not x.ndim or not x.size:
        return x
    x = tensor.permute(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)) if x.ndim > 1 and r.random() < 0.15 else x
    folds = [lambda: x.sum(axis, keepdims=keep), lambda: x.mean(axis, keepdims=keep)]
    folds += [lambda: x.max(axis, keepdims=keep), lambda: x.min(axis, keepdims=keep)]
    folds += [lambda: tensor.variance(_float(x), axis, keepdims=keep), lambda: x.sum(axis, keepdims=keep)]
    if isinstance(axis, int):
        folds += [lambda: x.argmax(axis), lambda: tensor.logsumexp(_float(x), axis)]
    return r.choice(folds)()


def _first_class(x: Tensor) -> Tensor:
    classes = tensor.cast(tensor.zeros(x.shape[:-1], on=x.device), "i32")
    return tensor.cross_entropy(x, classes, reduction="none") if x.ndim == 2 else x


def _rows(r: Random, xs: list[Tensor]) -> Tensor:
    x = _float(xs[0])
    if not x.ndim or not x.size:
        return x
    return r.choice([
        lambda: tensor.softmax(x), lambda: tensor.log_softmax(x), lambda: tensor.layer_norm(x),
        lambda: tensor.rms_norm(x), lambda: x - x.mean(-1, keepdims=True), lambda: x * x.max(-1, keepdims=True),
        lambda: tensor.normalize(x, axis=-1), lambda: _first_class(x),
        lambda: tensor.softmax(x, 0), lambda: x / x.sum(-1, keepdims=True),
    ])()  # fmt: skip


def _view(r: Random, xs: list[Tensor]) -> Tensor:
    x = xs[0]
    if not x.ndim:
        return x.broadcast_to((64,))
    last, half = x.shape[-1], max(1, x.shape[-1] // 2)
    views = [
        lambda: tensor.permute(x, tuple(r.sample(range(x.ndim), x.ndim))), lambda: x[..., ::-1], lambda: x[::-1],
        lambda: x[..., :half], lambda: x[..., half - 1 : last], lambda: x[1:], lambda: x[..., ::2],
        lambda: x.reshape(x.size // max(last, 1), last), lambda: x.reshape(*x.shape, 1), lambda: x.reshape(1, *x.shape),
        lambda: x.reshape(-1), lambda: x.reshape(*x.shape[:-1], last // half, half) if last % half == 0 else x,
        lambda: x.broadcast_to((*x.shape[:-1], 64)) if last == 1 else x, lambda: x[0] if x.shape[0] else x,
        lambda: x.reshape(*x.shape, 1).broadcast_to((*x.shape, 64)), lambda: x.broadcast_to((4, *x.shape)),
        lambda: x[..., 0] if last else x, lambda: x[..., :1], lambda: x[:0],
    ]  # fmt: skip
    return r.choice(views)()


def _joined(r: Random, xs: list[Tensor]) -> Tensor:
    x, y = xs[0], tensor.cast(xs[1], xs[0].dtype)
    if not x.ndim:
        return tensor.stack([x, x])
    if x.shape[1:] == y.shape[1:] and x.ndim == y.ndim:
        return tensor.concat([x, y], 0)
    return r.choice([lambda: tensor.concat([x, x], -1), lambda: tensor.stack([x, x], r.randrange(x.ndim + 1))])()


def _typed(r: Random, xs: list[Tensor]) -> Tensor:
    return tensor.cast(xs[0], r.choice(_ALL))


def _other(r: Random, xs: list[Tensor]) -> Tensor:
    x = _float(xs[0])
    if not x.ndim or not x.size:
        return x + 1
    return r.choice([
        lambda: tensor.cumulative_sum(x, axis=-1), lambda: tensor.sort(x), lambda: tensor.take(x, [0, -1], axis=0),
        lambda: x @ tensor.cast(tensor.ones((x.shape[-1], 3), on=x.device), x.dtype) if x.ndim > 1 else x,
        lambda: tensor.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % 64)]),
    ])()  # fmt: skip


_STEPS: list[Step] = [_unary] * 4 + [_binary] * 7 + [_where] * 2 + [_fold] * 6 + [_rows] * 3 + [_view] * 4
_STEPS += [_joined, _typed, _typed, _other]


def _bits(data: np.ndarray[Any, Any], dtype: DType) -> bytes:
    """Return the bits of elements that are bytes in memory, of each NaN the same."""
    words = data.view(dtype.bits_numpy)
    found = (words.astype(np.uint32) << 16).view(np.float32) if dtype == bf16 else data.view(dtype.numpy)
    return canonical_bits(found).tobytes()


def _bytes(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.frombuffer(x.tobytes(), np.uint8)


def _as_scheduled(seed: int, caps: Caps | None, on: str = "cpu") -> tuple[list[bytes], list[str]]:
    """Return what two runs leave on the processor, by the schedules of a device's caps, and the kernels."""
    drawn, where = Drawn(seed, on), loom.device(on)
    drafted = Drafted(drawn.outputs, drawn.updates, where, caps=caps)
    for buffer in drafted.results:
        buffer.place = where.allocate(buffer.nbytes)
    program = build(drafted.draft, drafted.plan, where, "rows").build()
    found: list[bytes] = []
    for _ in range(2):
        program.run()
        for buffer, x in zip(drafted.results, drawn.outputs, strict=True):
            found.append(_bits(buffer.place.read(0, x.nbytes), x.dtype) if x.nbytes else b"")
        found += [_bits(_bytes(p.numpy()), p.dtype) for p in drawn.parameters]
    return found, [d.kernel.name for d in drafted.draft.dispatches]


def _on_device(seed: int, on: str) -> list[bytes]:
    """Return what two runs leave on a device."""
    drawn = Drawn(seed, on)
    program = tensor.compile(drawn.outputs, drawn.updates, on=on)
    found: list[bytes] = []
    for _ in range(2):
        program.run()
        arrays = zip(
            (*program.read(), *(p.numpy() for p in drawn.parameters)), (*drawn.outputs, *drawn.parameters), strict=True
        )
        found += [_bits(_bytes(x), t.dtype) for x, t in arrays]
    return found


@pytest.fixture(autouse=True)
def _few_rows_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_LEAST_ROWS", 2)


def _same(seed: int, caps: Caps, on: str) -> bool:
    """Compare a program of fused rows with that of kernels of their own; tell whether rows were fused."""
    (found, names), (expected, _) = _as_scheduled(seed, caps, on), _as_scheduled(seed, None, on)
    assert found == expected, seed
    return any(name.startswith("rows_") for name in names)


@pytest.mark.parametrize("first", [0, 8])
def test_drawn_programs_by_the_schedules_of_a_gpu(first: int) -> None:
    assert sum(_same(seed, GPU, "interp") for seed in range(first, first + 8))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1200, 20))
@pytest.mark.parametrize("caps", [GPU, _SHORT])
def test_many_drawn_programs(first: int, caps: Caps) -> None:
    assert sum(_same(seed, caps, "interp") for seed in range(first, first + 20))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(2000, 2060, 10))
def test_drawn_programs_on_devices(first: int, on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_LEAST_ROWS", 1)
    for seed in range(first, first + 10):
        assert _on_device(seed, on) == _on_device(seed, "cpu"), seed
