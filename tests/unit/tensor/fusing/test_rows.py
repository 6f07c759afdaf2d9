"""Folds of rows in one kernel with what makes the rows and what is made of the folds: the bits are those of kernels of
their own, and few kernels are left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.dtype import f32
from loom.schedules import rows as schedule
from loom.schedules.axis import Rows
from loom.schedules.fold import Folding
from loom.schedules.rows import takes_rows
from loom.tensor import Tensor
from loom.tensor.program import Drafted
from unit.tensor.fusing.drafts import GPU, computed

Array = np.ndarray[Any, Any]

SUM = Folding("sum", f32, f32, f32)


def same(outputs: list[Tensor]) -> list[str]:
    """Compare outputs of fused rows with those of kernels of their own; return the kernels."""
    (found, names), (expected, plain) = computed(outputs, GPU), computed(outputs, None)
    assert found == expected
    assert not any(name.startswith("rows_") for name in plain), "vectors of a CPU fold rows by themselves"
    return names


def drawn(seed: int, *shapes: tuple[int, ...], dtype: str = "f32") -> list[Tensor]:
    rng = np.random.default_rng(seed)
    return [tensor.array(rng.normal(0, 3, shape), dtype, on="cpu") for shape in shapes]


@pytest.mark.parametrize("n", [64, 256, 576, 1024, 4096])
@pytest.mark.parametrize("outer", [(8,), (2, 3), (7,)])
def test_norms_and_softmax_with_their_gradients(n: int, outer: tuple[int, ...]) -> None:
    x, y, weight, bias = drawn(n, (*outer, n), (*outer, n), (n,), (n,))
    made = [tensor.softmax(x), tensor.layer_norm(x + y, weight, bias), tensor.log_softmax(x * 2), tensor.rms_norm(y)]
    loss = tensor.stack([(m * y).sum() for m in made]).sum()
    names = same([*made, *tensor.grad(loss, [x, y, weight, bias])])
    assert not any("short_rows" in name for name in names)


def test_each_is_one_kernel() -> None:
    x, y, weight, bias = drawn(1, (8, 512), (8, 512), (512,), (512,))
    for made in (tensor.softmax(x + y), tensor.layer_norm(x * 2, weight, bias), tensor.log_softmax(x)):
        assert len(same([made])) == 1
    both = [tensor.softmax(x), tensor.softmax(y)]
    assert len(same(both)) == 2, "rows of one shape that nothing joins are two kernels"


def test_doubles_and_numbers_at_the_ends() -> None:
    (x,) = drawn(2, (6, 128), dtype="f64")
    same([tensor.softmax(x), tensor.layer_norm(x), x - x.min(-1, keepdims=True)])
    ends = np.random.default_rng(3).choice([0.0, -0.0, np.inf, -np.inf, 1e-45, -3e38, 1.0], (40, 128))
    ends[3:9, 5:] = np.nan
    ends[9:15] = -0.0
    ends[15:20] = np.minimum(ends[15:20], -0.0)
    at_ends = tensor.array(ends, "f32", on="cpu")
    same([at_ends - at_ends.max(-1, keepdims=True), at_ends.sum(-1) + 1, at_ends * at_ends.min(-1, keepdims=True)])


def test_several_folds_in_turn_and_values_of_rows_that_others_read() -> None:
    x, y = drawn(4, (4, 3, 192), (4, 3, 192))
    most = (x * y).max(-1, keepdims=True)
    away = x - most
    sums = (away * away).sum(-1)
    means = sums.reshape(4, 3, 1) * (1 / 192)
    scaled = away * means + y
    last = (scaled * most).sum(-1, keepdims=True)
    names = same([most, sums, scaled, last.reshape(12), (last + x).sum(1), x.sum(-1).T])
    assert sum(name.startswith("rows_") for name in names) >= 1


def test_masks_that_rows_share_and_coordinates() -> None:
    x, bias = drawn(5, (2, 3, 64, 64), (64,))
    at = tensor.arange(64, dtype="i32", on="cpu")
    seen = tensor.expand_dims(at, 1) >= at
    chances = tensor.softmax(tensor.where(seen, x + bias, -np.inf))
    classes = tensor.array(np.arange(384).reshape(2, 3, 64) % 64, "i32", on="cpu")
    picked = tensor.where(tensor.one_hot(classes, 64, "bool"), tensor.log_softmax(x), 0).sum(-1)
    same([chances, picked, picked.mean(), tensor.permute(chances, (0, 2, 1, 3)).sum(-1)])


def test_what_is_no_row_of_its_own_stays_apart() -> None:
    x, y = drawn(6, (64, 64), (64, 64))
    sums = x.sum(-1, keepdims=True)
    same([x + sums, y + sums.T, x.T + x.sum(-1), (x + y).sum(0), tensor.softmax(x.T), (x * 2)[::-1] + sums])


def test_updates_of_what_rows_are_made_of() -> None:
    arrays = [np.random.default_rng(7).normal(size=s).astype(np.float32) for s in ((8, 64), (64,))]
    after: list[list[bytes]] = []
    for caps in (GPU, None):
        x, weight = (tensor.parameter(a, on="cpu") for a in arrays)
        y = tensor.layer_norm(x, weight)
        grads = tensor.grad((y * y * y).sum(), [x, weight])
        updates = [(p, p - g * 0.5) for p, g in zip((x, weight), grads, strict=True)]
        found, _ = computed([y], caps, updates)
        after.append([*found, *(p.numpy().tobytes() for p in (x, weight))])
    assert after[0] == after[1]


def test_a_packed_copy_is_read_where_it_is_though_what_it_was_made_of_is_updated() -> None:
    data = np.random.default_rng(10).normal(size=(64, 64)).astype(np.float32)
    found: list[list[bytes]] = []
    for caps in (GPU, None):
        x = tensor.parameter(data, on="cpu")
        double, turned = x * 2, x.T
        sums = turned.sum(-1)
        for k in range(70):  # so many that the other fold has no place in their kernel
            sums = sums * 0.5 + k
        found.append(computed([double, sums, turned.max(-1) * 2], caps, [(x, double)])[0])
    assert found[0] == found[1]


def test_a_packed_copy_that_is_made_in_place_of_what_it_is_of_is_what_is_folded() -> None:
    x, y = drawn(12, (64, 64), (64, 64))
    sums = (x * 2).T.sum(-1, keepdims=True)
    same([y - sums, sums * 3])


def test_the_only_class_of_a_row_value_is_number_0() -> None:
    x, y = drawn(13, (8, 64), (8, 64))
    classes = tensor.array(np.arange(8) % 2, "i32", on="cpu")
    first = tensor.one_hot(classes, 1, "bool")  # the index along an axis of one element
    total = tensor.where(first, x.sum(-1, keepdims=True), 0.5)
    same([total])
    same([y * total, (y * total).sum(-1)])


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_many_folds_of_a_row_take_no_more_shared_memory_than_one(dtype: str) -> None:
    (x,) = drawn(11, (8, 64), dtype=dtype)
    total = x.max(-1)
    for _ in range(20):
        total = total - (x - total.reshape(8, 1)).sum(-1) * 0.01
    drafted = Drafted([total], [], loom.device("cpu"), caps=GPU)
    kernels = [d.kernel.kernel for d in drafted.draft.dispatches if d.kernel.name.startswith("rows_")]
    taken = [sum((m.size or 0) * m.dtype.nbytes for m in kernel.shared) for kernel in kernels]
    assert max(taken) == (64 + 8) * 4 * total.dtype.nbytes
    same([total])


_STEPS: list[tuple[int, Callable[..., Tensor]]] = [
    (2, lambda a, b: a + b),
    (2, lambda a, b: a * b * 0.25),
    (2, lambda a, b: tensor.where(a > b, a, b * 0.5)),
    (1, lambda a: a.sigmoid()),
    (1, lambda a: a.relu() - 0.25),
    (1, lambda a: a.sum(-1, keepdims=True) * 0.01 if a.ndim else a),
    (1, lambda a: a.max(-1, keepdims=True) if a.ndim else a),
    (1, lambda a: a.mean(-1) if a.ndim == 2 and a.shape[-1] > 6 else a),
    (1, lambda a: a.reshape(-1, 1) if a.ndim == 1 and a.size == 6 else a),
    (1, lambda a: tensor.reverse(a) + 1 if a.ndim else a),
    (1, lambda a: tensor.softmax(a.broadcast_to((6, 64))) if a.shape != (6,) else a * 2),
]


@pytest.mark.parametrize("seed", range(12))
def test_random_records(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = drawn(seed, (6, 64), (6, 64), (1, 64), (6, 1), (64,), ())
    while len(made) < 34:
        count, fn = _STEPS[rng.integers(len(_STEPS))]
        operands = [made[-1 - int(rng.integers(min(len(made), 8)))] for _ in range(count)]
        if {(6,), (64,)} <= {x.shape for x in operands} or ({(6,)} < {x.shape for x in operands}):
            continue
        made.append(fn(*operands))
    same([made[k] for k in (12, 20, 27, 31, 33)])


def test_functions_of_complex_numbers_stay_apart() -> None:
    rng = np.random.default_rng(8)
    z = tensor.array((rng.normal(size=(8, 64)) + 1j * rng.normal(size=(8, 64))).astype(np.complex64), on="cpu")
    size = tensor.real(tensor.exp(z) * z)
    names = same([tensor.softmax(size), tensor.imag(tensor.exp(z)) - size.sum(-1, keepdims=True)])
    assert any(name.startswith("rows_") for name in names)


def test_which_rows_are_taken() -> None:
    assert takes_rows(GPU, Rows(4, 64), SUM)
    assert not takes_rows(GPU, Rows(3, 64), SUM), "too few to hide waiting"
    assert not takes_rows(GPU, Rows(8, 32), SUM)
    assert not takes_rows(GPU, Rows(8, 100), SUM), "lanes without an element"
    assert not takes_rows(GPU, Rows(8, 8192), SUM), "more than a tile"
    assert not takes_rows(GPU, Rows(8, 64, 2), SUM), "columns"
    assert not takes_rows(GPU, Rows(8, 64), Folding("count", f32, f32, f32))
    assert not takes_rows(loom.device("cpu").caps, Rows(1 << 20, 64), SUM)


def test_devices_have_the_bits_of_the_cpu(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_LEAST_ROWS", 0)
    rng = np.random.default_rng(9)
    arrays = [rng.normal(0, 3, s).astype(np.float32) for s in ((2, 4, 576), (576,), (576,), (8, 64))]
    results: list[list[bytes]] = []
    for where in ("cpu", on):
        x, weight, bias, y = (tensor.parameter(a, on=where) for a in arrays)
        loss = (tensor.layer_norm(x, weight, bias) * x).sum() + (tensor.log_softmax(y) * tensor.softmax(y * 2)).sum()
        program = tensor.compile([loss, *tensor.grad(loss, [x, weight, bias, y])], on=where)
        program.run()
        results.append([a.tobytes() for a in program.read()])
    assert results[0] == results[1]
