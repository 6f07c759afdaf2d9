"""Order-free products on all devices: the bits of the definition, the bounds it rests on, and how good they are."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest

import loom
from loom import gpu_matmul, tensor
from loom.core.errors import ArgumentError, DTypeError, StateError
from loom.kernels.matmul.tiles import Blocking, Tile
from loom.kernels.precisions import PRECISIONS
from loom.kernels.types import product_types
from loom.schedules.matmul import Multiplication, record_matmul
from unit.patterns.canonical import same_bits
from unit.patterns.linalg.order_free import TOPS, digits, order_free_product

Array = np.ndarray[Any, Any]
NAMES = list(TOPS)


def numbers(*shape: int, spread: int = 12) -> Array:
    rng = np.random.default_rng(shape)
    return (rng.standard_normal(shape) * np.exp2(rng.integers(-spread, spread, shape))).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (3, 129, 5), (17, 640, 33), (4, 4225, 6)])
def test_the_bits_are_those_of_the_definition(on: str, name: str, m: int, k: int, n: int) -> None:
    a, b = numbers(m, k), numbers(k, n)
    expected = order_free_product(a, b, name)
    for x, turned_a in ((a, False), (np.ascontiguousarray(a.T), True)):
        for y, turned_b in ((b, False), (np.ascontiguousarray(b.T), True)):
            found = gpu_matmul(x, y, transpose_a=turned_a, transpose_b=turned_b, precision=name, on=on)
            assert same_bits(found, expected), (turned_a, turned_b)


def edges(k: int) -> Array:
    """Return rows of everything that is special, of k elements."""
    rng = np.random.default_rng(k)
    rows = [rng.standard_normal(k).astype(np.float32) for _ in range(14)]
    rows[0][:] = 0
    rows[1][:] = -0.0
    rows[2][k // 2] = np.inf
    rows[3][k - 1] = np.nan
    rows[4] *= np.float32(2.0**-140)
    rows[5] *= np.float32(3e38) / np.abs(rows[5]).max()
    rows[6][:] = 1.4e-45
    rows[7][0] = 1e30
    for row, top in zip(rows[8:11], TOPS.values(), strict=True):  # the largest number that rounding does not exceed
        row[:] = top
        row[0] = np.nextafter(np.float32(top + 0.5), np.float32(0))
    for row, top in zip(rows[11:14], TOPS.values(), strict=True):
        row[:] = 0.5
        row[0] = top + 0.5
    return np.stack(rows)


@pytest.mark.parametrize("name", NAMES)
def test_zeros_infinities_and_ends_of_the_range(on: str, name: str) -> None:
    a = edges(200)
    assert same_bits(gpu_matmul(a, a, transpose_b=True, precision=name, on=on), order_free_product(a, a.T, name))


@pytest.mark.parametrize("name", NAMES)
def test_zeros_beyond_the_end_change_nothing(on: str, name: str) -> None:
    a, b = np.full((3, 129), -(2.0**-100), np.float32), np.full((129, 5), 2.0**-100, np.float32)
    longer = np.pad(a, ((0, 0), (0, 200))), np.pad(b, ((0, 200), (0, 0)))
    found = gpu_matmul(a, b, precision=name, on=on)
    assert not np.signbit(found).any(), "products that all fall below the least number are +0"
    assert same_bits(gpu_matmul(*longer, precision=name, on=on), found)


def drawn(rng: np.random.Generator, rows: int, k: int) -> Array:
    """Return numbers of one of several kinds: all exponents, near the least or the largest, halves of steps, few."""
    x = rng.standard_normal((rows, k))
    kinds = (
        x, x * np.exp2(rng.integers(-150, 126, (rows, k))), x * 2.0**-140, np.sign(x) * 3.4028235e38, x * (x > 1.5),
        rng.choice([127.5, 126.5, 2015.5, 0.5, -0.5, 8355711.5, 1.5], (rows, k)), np.full((rows, k), -(2.0**-119)),
    )  # fmt: skip
    return kinds[rng.integers(len(kinds))].astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_drawn_products_have_the_bits_of_the_definition(on: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for case in range(40):
        m, n, k = (int(rng.integers(1, top)) for top in (20, 20, 400))
        a, b, name = drawn(rng, m, k), np.ascontiguousarray(drawn(rng, n, k).T), NAMES[case % 3]
        assert same_bits(gpu_matmul(a, b, precision=name, on=on), order_free_product(a, b, name)), (case, m, n, k, name)


@pytest.mark.parametrize("name", NAMES)
def test_batches_are_multiplied_each_by_itself(on: str, name: str) -> None:
    a, b = numbers(3, 1, 9, 150), numbers(2, 150, 7)
    found = gpu_matmul(a, b, precision=name, on=on)
    for i in range(3):
        for j in range(2):
            assert same_bits(found[i, j], order_free_product(a[i, 0], b[j], name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_operands_of_16_bits_are_taken_exactly(name: str, dtype: str) -> None:
    a, b = (tensor.array(numbers(*s, spread=3)).astype(dtype) for s in ((9, 140), (140, 6)))
    wide = order_free_product(a.astype("f32").numpy(), b.astype("f32").numpy(), name)
    assert same_bits(gpu_matmul(a, b, precision=name, out_dtype="f32").numpy(), wide)
    rounded = tensor.array(wide).astype(dtype).astype("f32").numpy()
    assert same_bits(tensor.matmul(a, b, precision=name).astype("f32").numpy(), rounded)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", [
    Blocking(Tile(3, 2, 8, 2), 2, 5), Blocking(Tile(5, 1, 16, 8), 100, 100),
], ids=str)  # fmt: skip
def test_every_schedule_gives_the_same_bits(name: str, cut: Any) -> None:
    m, k, n = 37, 300, 21
    a, b = numbers(m, k), numbers(k, n)
    device = loom.device("cpu")
    types = product_types(loom.f32, loom.f32, precision=name)
    chain = loom.Chain(device)
    places = [device.allocate(x.nbytes) for x in (a, b, np.empty((m, n), np.float32))]
    for place, x in zip(places, (a, b), strict=False):
        place.write(0, x.reshape(-1).view(np.uint8))
    record_matmul(chain, *places, Multiplication(m, n, k, types), schedule=cut)
    chain.build().run()
    found = places[2].read(0, m * n * 4).view(np.float32).reshape(m, n)
    assert same_bits(found, order_free_product(a, b, name))


@pytest.mark.parametrize("name", NAMES)
def test_no_sum_can_overflow(name: str) -> None:
    precision = PRECISIONS[name]
    assert precision.top == TOPS[name]
    largest = 128 * TOPS[name] ** 2
    assert largest < 2**53
    for threads in (False, True):
        accumulator = precision.accumulator(threads=threads)
        assert largest < 2 ** (53 if accumulator.is_float else accumulator.bits - 1)
    assert np.iinfo(precision.held.numpy).max >= TOPS[name]
    ones = np.full((1, 128), np.float32(TOPS[name]))  # every product and every partial sum at its end
    assert gpu_matmul(ones, ones, transpose_b=True, precision=name)[0, 0] == np.float32(largest)
    assert gpu_matmul(-ones, ones, transpose_b=True, precision=name)[0, 0] == -np.float32(largest)


@pytest.mark.parametrize(("name", "bound"), [("q8", 2.0**-7), ("q12", 2.0**-11), ("q24", 2.0**-23)])
def test_the_error_is_within_its_bound(name: str, bound: float) -> None:
    """Half a step of the largest of a block: each product is off by at most that share of both largest."""
    m, k, n = 23, 517, 19
    for spread in (1, 8, 30):
        a, b = numbers(m, k, spread=spread), numbers(k, n, spread=spread)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        blocks = range(0, k, 128)
        allowed = sum(
            min(128, k - i) * np.multiply.outer(np.abs(a[:, i : i + 128]).max(1), np.abs(b[i : i + 128]).max(0))
            for i in blocks
        )
        found = gpu_matmul(a, b, precision=name)
        assert (np.abs(found - exact) <= (2.02 * bound + len(blocks) * 2.0**-23) * allowed).all()


def test_q24_is_as_good_as_f32_on_ordinary_numbers() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 256, 256)).astype(np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    error = {p: float(np.abs(gpu_matmul(a, b, precision=p) - exact).max()) for p in (None, *NAMES)}
    assert error["q24"] <= error[None]
    assert error["q24"] < error["q12"] < error["q8"] < 0.02 * float(np.abs(exact).max())


@pytest.mark.parametrize("name", NAMES)
def test_products_and_gradients_of_tensors_take_it(on: str, name: str) -> None:
    x, y = numbers(6, 140, spread=2), numbers(140, 5, spread=2)
    a, b = tensor.parameter(x, on=on), tensor.parameter(y, on=on)
    c = tensor.matmul(a, b, precision=name)
    weight = numbers(6, 5, spread=2)
    grads = tensor.grad((c * tensor.array(weight, on=on)).sum(), [a, b])
    assert same_bits(c.numpy(), order_free_product(x, y, name))
    assert same_bits(grads[0].numpy(), order_free_product(weight, np.ascontiguousarray(y.T), name))
    assert same_bits(grads[1].numpy(), order_free_product(np.ascontiguousarray(x.T), weight, name))


def test_what_has_no_precision_is_refused() -> None:
    a = numbers(4, 4)
    with pytest.raises(ArgumentError, match="None, 'full', 'x12', 'q8', 'q12', 'q24'"):
        gpu_matmul(a, a, precision="q16")
    with pytest.raises(DTypeError, match="f32 or f16 or bf16"):
        gpu_matmul(a.astype(np.float64), a.astype(np.float64), precision="q12")
    with pytest.raises(DTypeError, match="convert the operands"):
        tensor.matmul(tensor.array(a).astype("i32"), tensor.array(a).astype("i32"), precision="q8")
    assert gpu_matmul(a[:, :0], a[:0], precision="q8").tolist() == [[0.0] * 4] * 4


def test_the_oracle_finds_the_smallest_exponent() -> None:
    for name, top in TOPS.items():
        x = numbers(50, 128, spread=60)
        whole, exponents, _ = digits(x, top)
        for row in range(50):
            if exponents[row, 0] > -126:
                assert math.ceil(np.abs(x[row]).max() / 2.0 ** float(exponents[row, 0] - 1) - 0.5) > top, name
        assert np.abs(whole).max() <= top


def _trained(name: str | None, on: str) -> list[Array]:
    """Return a loss of a convolution, attention and a product, and its gradients, recorded in a precision."""
    rng = np.random.default_rng(5)
    made = [
        (0.2 * rng.standard_normal(s)).astype(np.float32) for s in ((2, 12, 12, 8), (3, 3, 8, 16), (16, 16), (16, 5))
    ]
    x, kernel, mix, last = (tensor.parameter(a, on=on) for a in made)
    with loom.precision(name):
        found = tensor.convolve(x, kernel).reshape((2, 100, 16))
        found = tensor.scaled_dot_product_attention(tensor.matmul(found, mix), found, found)
        loss = (tensor.einsum("bik,kj->bij", found, last) ** 2).sum()
    grads = tensor.grad(loss, [x, kernel, mix, last])
    return [np.asarray(t.numpy()) for t in (loss, *grads)]


def test_a_with_block_is_kept_by_gradients_asked_for_outside(on: str) -> None:
    plain, rounded = _trained(None, on), _trained("q8", on)
    for a, b in zip(plain, rounded, strict=True):
        assert not same_bits(a, b)
        assert np.abs(a - b).max() < 0.2 * np.abs(a).max()
    for a, b in zip(rounded, _trained("q8", "cpu"), strict=True):
        assert same_bits(a, b)
    with loom.precision("q8"):  # in force where gradients are asked for alone: nothing changes
        assert all(same_bits(a, b) for a, b in zip(plain, _trained("full", on), strict=True))


def test_a_with_block_ends_and_is_each_threads_own() -> None:
    a = numbers(3, 200)
    full = gpu_matmul(a, a.T)
    with loom.precision("q8"):
        rounded = gpu_matmul(a, a.T)
        assert same_bits(gpu_matmul(a, a.T, precision="full"), full)
        other: list[Array] = []
        thread = threading.Thread(target=lambda: other.append(gpu_matmul(a, a.T)))
        thread.start()
        thread.join()
        assert same_bits(other[0], full)
    assert same_bits(rounded, order_free_product(a, a.T, "q8"))
    assert same_bits(gpu_matmul(a, a.T), full)
    with pytest.raises(ArgumentError, match=r"loom\.precision, precision"), loom.precision("q9"):
        pass


def _error_of(function: Any) -> StateError:
    with pytest.raises(StateError) as caught:
        function()
    return caught.value


def test_blocks_end_in_any_order_and_are_entered_again() -> None:
    a = numbers(3, 200)
    expected = {p: gpu_matmul(a, a.T, precision=p) for p in ("full", "q8", "q12")}

    def held(name: str) -> Any:
        with loom.precision(name):
            yield

    generator = held("q8")
    next(generator)
    with loom.precision("q12"):
        generator.close()
        assert same_bits(gpu_matmul(a, a.T), expected["q12"])
    assert same_bits(gpu_matmul(a, a.T), expected["full"])
    block = loom.precision("q8")
    with block:
        with block:
            pass
        assert same_bits(gpu_matmul(a, a.T), expected["q8"])
    assert same_bits(gpu_matmul(a, a.T), expected["full"])
    with pytest.raises(ArgumentError):
        loom.precision("q9")
    found: list[Any] = []
    with block:
        thread = threading.Thread(target=lambda: found.append(_error_of(block.__exit__)))
        thread.start()
        thread.join()
    assert "another thread" in str(found[0])


def test_decompositions_and_measures_are_as_ever_in_a_with_block() -> None:
    rows = np.random.default_rng(3).standard_normal((12, 3)).astype(np.float32)

    def results() -> list[Array]:
        found = tensor.linalg.expm(tensor.array(rows[:3], on="cpu")).numpy()
        return [found, loom.nn.measure.correlate(rows).matrix]

    plain = results()
    with loom.precision("q8"):
        rounded = results()
    assert all(np.array_equal(a, b) for a, b in zip(plain, rounded, strict=True))
