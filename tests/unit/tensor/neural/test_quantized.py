"""Products with weights of 4 and 8 bits: the bits of their definition, on every device."""

from __future__ import annotations

import pickle
from typing import Any

import gguf.constants
import numpy as np
import pytest
from gguf import quants

import loom
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError, ShapeError, StateError
from loom.core.numerics import canonical_bits
from loom.kernels.quantized.blocks import ENCODINGS
from loom.tensor import QuantizedTensor, multiply_weights, quantize, take_rows
from tests.unit.tensor.neural.quantized import TOPS, product

Array = np.ndarray[Any, Any]


def _blocks(encoding: str, n: int, k: int, seed: int = 0) -> bytes:
    """Return blocks of any bits, but for scales that stay in the range of f16."""
    known, rng = ENCODINGS[encoding], np.random.default_rng(seed)
    raw = rng.integers(0, 256, (n * k // known.elements, known.nbytes), np.uint8)
    places = {"Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}.get(encoding, (0,))
    for at in places:
        scales = rng.uniform(-2, 2, len(raw)).astype("<f2")
        scales[:3] = 0, 6e-8, -65504  # zero, subnormal, the largest
        raw[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
    return raw.tobytes()


def _reference(raw: bytes, encoding: str, shape: tuple[int, int]) -> Array:
    kind = gguf.constants.GGMLQuantizationType[encoding]
    rows = np.frombuffer(raw, np.uint8).reshape(shape[0], -1)
    with np.errstate(all="ignore"):
        return quants.dequantize(rows, kind).reshape(shape)


def _parts(raw: bytes, encoding: str, shape: tuple[int, int]) -> tuple[Array, int, Array, Array | None, int]:
    known = ENCODINGS[encoding]
    codes, scales, minima = known.read(np.frombuffer(raw, np.uint8).reshape(-1, known.nbytes))
    n = shape[0]
    return (
        codes.reshape(shape), known.form.offset, scales.reshape(n, -1),
        None if minima is None else minima.reshape(n, -1), known.form.block,
    )  # fmt: skip


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool((canonical_bits(a) == canonical_bits(b)).all())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_blocks_stand_for_what_ggml_makes_of_them(encoding: str) -> None:
    shape = (19, 512)
    raw = _blocks(encoding, *shape)
    held = QuantizedTensor.from_blocks(raw, encoding, shape)
    reference = _reference(raw, encoding, shape)
    assert _same(held.dequantized(), reference)
    found = take_rows(held, tensor.array(np.array([[0, 18], [19, 7]], np.int32)))
    assert _same(found.numpy(), np.stack([reference[[0, 18]], np.stack([np.zeros(512, np.float32), reference[7]])]))


def _hard(m: int, k: int) -> Array:
    """Return activations of all magnitudes, with rows of zeros, of the least and the largest numbers."""
    rng = np.random.default_rng(m + k)
    x = (rng.standard_normal((m, k)) * np.exp2(rng.integers(-8, 8, (m, k)))).astype(np.float32)
    x[0, :128] = 0
    if m > 4:
        x[1], x[2] = np.float32(1e-45), np.float32(3e38)
        x[3, ::7] = -0.0
        x[4, 5], x[4, 140] = np.inf, np.nan
    return x


@pytest.mark.parametrize(
    "encoding", ["Q4_1", "Q6_K", *(pytest.param(n, marks=pytest.mark.slow) for n in ("Q8_0", "Q4_0"))]
)
def test_a_product_has_the_bits_of_its_definition(on: str, encoding: str) -> None:
    shape = (37, 512 if encoding == "Q6_K" else 352)
    raw = _blocks(encoding, *shape)
    held = QuantizedTensor.from_blocks(raw, encoding, shape, on=on)
    weights = tensor.array(_reference(raw, encoding, shape), on=on)
    for m in (1, 11) if encoding == "Q4_1" else (11,):
        x = tensor.array(_hard(m, shape[1]), on=on)
        dense = tensor.matmul(x, weights, transpose_b=True)
        assert _same(multiply_weights(x, held).numpy(), dense.numpy()), m
        for compute in ("q8", "q12"):
            found = multiply_weights(x, held.computed(compute)).numpy()
            assert _same(found, product(x.numpy(), *_parts(raw, encoding, shape), compute)), (m, compute)


def test_long_rows_are_summed_in_chunks() -> None:
    shape = (3, 4096 * 2 + 96)
    raw = _blocks("Q4_1", *shape)
    held, x = QuantizedTensor.from_blocks(raw, "Q4_1", shape), _hard(2, shape[1])
    dense = tensor.matmul(tensor.array(x), tensor.array(_reference(raw, "Q4_1", shape)), transpose_b=True)
    assert _same(multiply_weights(tensor.array(x), held).numpy(), dense.numpy())
    found = multiply_weights(tensor.array(x), held.computed("q12")).numpy()
    assert _same(found, product(x, *_parts(raw, "Q4_1", shape), "q12"))


@pytest.mark.parametrize("compute", ["exact", "q8", "q12"])
def test_a_row_does_not_depend_on_its_neighbours(compute: str) -> None:
    w = quantize(np.random.default_rng(0).standard_normal((40, 160)).astype(np.float32), "q4_1", compute=compute)
    x = tensor.array(_hard(13, 160))
    together = multiply_weights(x, w).numpy()
    for row in range(13):
        assert _same(multiply_weights(x[row], w).numpy(), together[row])
    assert _same(multiply_weights(x.reshape(1, 13, 1, 160), w).numpy()[0, :, 0], together)


@pytest.mark.parametrize("scale", [0.0, np.inf, -np.inf, np.nan, 6e-8])
def test_scales_that_are_no_ordinary_numbers(scale: float) -> None:
    shape = (2, 64)
    blocks = np.frombuffer(_blocks("Q4_1", *shape), np.uint8).reshape(-1, 20).copy()
    blocks[1, :2] = np.array([scale], "<f2").view(np.uint8)
    held, x = QuantizedTensor.from_blocks(blocks, "Q4_1", shape), _hard(2, 64)
    with np.errstate(all="ignore"):
        dense = tensor.matmul(tensor.array(x), tensor.array(_reference(blocks.tobytes(), "Q4_1", shape)).T)
    assert _same(multiply_weights(tensor.array(x), held).numpy(), dense.numpy())
    for compute in ("q8", "q12"):
        found = multiply_weights(tensor.array(x), held.computed(compute)).numpy()
        assert _same(found, product(x, *_parts(blocks.tobytes(), "Q4_1", shape), compute))
        assert np.isfinite(found[:, 0]).all() == np.isfinite(scale)


@pytest.mark.parametrize("compute", ["q8", "q12"])
def test_the_error_stays_below_its_bound(compute: str) -> None:
    rng = np.random.default_rng(5)
    w, x = np.abs(rng.standard_normal((64, 256))).astype(np.float32), rng.standard_normal((9, 256)).astype(np.float32)
    held = quantize(w, "q4_1", compute=compute)
    top = TOPS[compute]
    x[0] = 1
    x[0, ::128] = top + 0.6  # a step is 2, and halves of it become 0
    exact = x.astype(np.float64) @ held.dequantized().astype(np.float64).T
    largest = np.abs(x).reshape(9, 2, 128).max(axis=2).repeat(128, axis=1)
    bound = largest / (top + 0.5) @ np.abs(held.dequantized().T)
    off = np.abs(multiply_weights(tensor.array(x), held).numpy() - exact)
    assert (off <= bound + 1e-6 * np.abs(x) @ np.abs(held.dequantized().T)).all()
    assert off[0].max() > 0.05 * bound[0].max(), "the bound says something"


@pytest.mark.parametrize("encoding", ["q4_0", "q4_1", "q8_0"])
def test_weights_are_rounded_as_ggml_rounds_them(encoding: str) -> None:
    rng = np.random.default_rng(1)
    w = (rng.standard_normal((16, 128)) * np.exp2(rng.integers(-9, 9, (16, 1)))).astype(np.float32)
    w[0], w[1, :64], w[2, 32:] = 0, 0.5, -1e-8
    kind = gguf.constants.GGMLQuantizationType[encoding.upper()]
    with np.errstate(all="ignore"):
        reference = quants.dequantize(quants.quantize(w, kind), kind)
    assert _same(quantize(w, encoding).dequantized(), reference)


def test_the_gradient_of_x_is_that_of_the_dequantised_weights() -> None:
    w = quantize(np.random.default_rng(2).standard_normal((20, 96)).astype(np.float32), "q4_1")
    x, g = (
        np.random.default_rng(s).standard_normal(shape).astype(np.float32) for s, shape in ((3, (5, 96)), (4, (5, 20)))
    )
    leaf = tensor.parameter(x)
    (found,) = tensor.grad((multiply_weights(leaf, w) * tensor.array(g)).sum(), [leaf])
    assert _same(found.numpy(), tensor.matmul(tensor.array(g), tensor.array(w.dequantized())).numpy())
    with pytest.raises(ArgumentError, match="'q8' has no gradient"):
        tensor.grad(multiply_weights(leaf, w.computed("q8")).sum(), [leaf])


def test_what_cannot_be_held_is_refused() -> None:
    ones = np.ones((2, 48), np.float32)
    with pytest.raises(ShapeError, match="whole blocks"):
        quantize(ones, "q8_0")
    with pytest.raises(ArgumentError, match="q4_2"):
        quantize(ones[:, :32], "q4_2")
    with pytest.raises(ArgumentError, match="finite"):
        quantize(np.full((1, 32), np.nan, np.float32), "q4_1")
    with pytest.raises(ArgumentError, match="beyond f16"):
        quantize(np.full((1, 32), 1e9, np.float32), "q8_0")
    with pytest.raises(ShapeError, match="34 for 1 x 32"):
        QuantizedTensor.from_blocks(bytes(33), "Q8_0", (1, 32))
    with pytest.raises(ArgumentError, match="IQ2_S"):
        QuantizedTensor.from_blocks(bytes(82), "IQ2_S", (1, 256))
    held = quantize(ones[:, :32], "q8_0")
    with pytest.raises(ShapeError, match="inner dimensions"):
        multiply_weights(tensor.ones((1, 31)), held)
    with pytest.raises(DTypeError, match="f32"):
        multiply_weights(tensor.ones((1, 32), "f16"), held)
    with pytest.raises(ArgumentError, match="q24"):
        held.computed("q24")
    assert multiply_weights(tensor.ones((0, 32)), held).shape == (0, 2)


def test_it_is_no_tensor_and_says_what_to_do_instead() -> None:
    w, x = quantize(np.eye(32, dtype=np.float32), "q8_0"), tensor.ones((2, 32))
    assert repr(w) == "QuantizedTensor(shape=(32, 32), encoding='q8_0', compute='exact')"
    for refused in (lambda: tensor.matmul(x, w), lambda: x @ w):  # type: ignore[operator]
        with pytest.raises(ArgumentError, match="multiply_weights, or make f32 of it"):
            refused()
    for read in (np.asarray, lambda q: np.ones((2, 32), np.float32) @ q, tensor.array):
        with pytest.raises(StateError, match="take dequantized"):
            read(w)


def test_words_of_another_matrix_are_refused() -> None:
    w = quantize(np.eye(32, dtype=np.float32), "q8_0")
    for shape in ((33, 32), (16, 32), (32, 64)):
        with pytest.raises(ShapeError, match=f"not those of {shape[0]} x {shape[1]}"):
            QuantizedTensor(w.words, w.scales, w.form, shape, "q8_0")
    few = quantize(np.zeros((18, 32), np.float32), "q4_1")
    assert QuantizedTensor(few.words, few.scales, few.form, (18, 32), "q4_1").shape == (18, 32)
    for rows in (17, 19, 31):
        with pytest.raises(ShapeError, match=f"another number of rows.*expected 18, got {rows}"):
            QuantizedTensor(few.words, few.scales, few.form, (rows, 32), "q4_1")
    with pytest.raises(ShapeError, match="whole blocks"):
        QuantizedTensor(w.words, w.scales, w.form, (32, 33), "q8_0")
    with pytest.raises(DTypeError, match="scales"):
        QuantizedTensor(w.words, w.scales.astype("f32"), w.form, w.shape, "q8_0")
    with pytest.raises(ArgumentError, match="'q24'"):
        QuantizedTensor(w.words, w.scales, w.form, w.shape, "q8_0", "q24")


def test_scales_have_no_gradient() -> None:
    w, x = quantize(np.eye(32, dtype=np.float32), "q8_0"), tensor.ones((2, 32))
    losses = (multiply_weights(x, w).sum(), take_rows(w, tensor.array(np.array([1], np.int32))).sum())
    for loss in losses:
        with pytest.raises(ArgumentError, match="the scales of quantised weights have no gradient"):
            tensor.grad(loss, [w.scales])
    assert tensor.grad(losses[0], [x])[0].shape == (2, 32)


def test_it_moves_to_another_device(on: str) -> None:
    w = quantize(np.random.default_rng(4).standard_normal((5, 64)).astype(np.float32), "q4_1", compute="q8")
    moved = w.to(on)
    assert moved.device is loom.device(on)
    assert moved.to(on) is moved
    assert (moved.compute, moved.encoding) == ("q8", "q4_1")
    for same in (moved, pickle.loads(pickle.dumps(moved))):
        assert _same(same.dequantized(), w.dequantized())
        x = np.ones((1, 64), np.float32)
        assert _same(
            multiply_weights(tensor.array(x, on=on), same).numpy(), multiply_weights(tensor.array(x), w).numpy()
        )
