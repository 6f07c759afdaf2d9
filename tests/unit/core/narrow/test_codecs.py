"""Codecs against ml_dtypes and PyTorch, and against the exact definition by fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from loom.core.narrow import TYPES, NumericKind, numeric_type, store
from loom.core.narrow.floats import decode_floats, encode_floats, is_beyond
from loom.core.narrow.packing import pack, unpack

ml_dtypes = pytest.importorskip("ml_dtypes")

THEIRS: dict[str, Any] = {
    "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f8_e4m3": ml_dtypes.float8_e4m3fn,
    "f8_e5m2": ml_dtypes.float8_e5m2, "f4_e2m1": ml_dtypes.float4_e2m1fn,
}  # fmt: skip


def _numbers() -> np.ndarray[Any, Any]:
    """Return f32 numbers of all sizes, all numbers of each narrow type, and those half way between neighbours."""
    draw = np.random.default_rng(0)
    found = [draw.standard_normal(20_000) * np.exp(draw.uniform(-40, 40, 20_000)), draw.standard_normal(20_000)]
    for name in ("f8_e4m3", "f8_e5m2", "f4_e2m1"):
        kind = TYPES[name]
        values = decode_floats(np.arange(1 << kind.bits, dtype=np.uint8), kind)
        values = np.sort(values[np.isfinite(values)])
        middles = (values[1:] + values[:-1]) / 2
        found += [values, middles, np.nextafter(middles, np.inf), np.nextafter(middles, -np.inf)]
        found += [np.array([1, -1]) * kind.largest * s for s in (1.03, 1.0625, 1.0714, 1.08, 1.125, 1.2, 4)]
    return np.concatenate([*found, [0.0, -0.0, 1e-45, 3e38]]).astype(np.float32)


@pytest.mark.parametrize("name", THEIRS)
def test_bits_are_those_of_ml_dtypes(name: str) -> None:
    kind, x = TYPES[name], _numbers()
    with np.errstate(all="ignore"):
        wanted = x.astype(THEIRS[name]).view(kind.code_type)
    assert np.array_equal(encode_floats(x, kind, saturate=False), wanted)
    codes = np.arange(1 << kind.bits).astype(kind.code_type)
    with np.errstate(invalid="ignore"):
        values = codes.view(THEIRS[name]).astype(np.float32).astype(np.float64)
    assert np.array_equal(decode_floats(codes, kind), values, equal_nan=True)


@pytest.mark.parametrize(("name", "theirs"), [("f8_e4m3", "float8_e4m3fn"), ("f8_e5m2", "float8_e5m2")])
def test_bits_are_those_of_pytorch(name: str, theirs: str) -> None:
    torch = pytest.importorskip("torch")
    kind, x = TYPES[name], _numbers()
    x = x[np.abs(x) <= kind.largest]  # beyond, PyTorch's own conversions have changed from one release to the next
    wanted = torch.from_numpy(x).to(getattr(torch, theirs)).view(torch.uint8).numpy()
    assert np.array_equal(encode_floats(x, kind), wanted)


def test_codes_of_the_specification() -> None:
    """Numbers of the OCP specification's tables: largest, least normal, largest and least subnormal."""
    known = {
        "f8_e4m3": {0x7E: 448.0, 0x08: 2.0**-6, 0x07: 0.875 * 2.0**-6, 0x01: 2.0**-9, 0x80: -0.0},
        "f8_e5m2": {0x7B: 57344.0, 0x04: 2.0**-14, 0x03: 0.75 * 2.0**-14, 0x01: 2.0**-16, 0x7C: np.inf, 0xFC: -np.inf},
        "f4_e2m1": {0: 0.0, 1: 0.5, 2: 1.0, 3: 1.5, 4: 2.0, 5: 3.0, 6: 4.0, 7: 6.0, 15: -6.0},
    }
    for name, table in known.items():
        found = decode_floats(np.array([*table], np.uint8), TYPES[name])
        assert found.tolist() == [*table.values()]
        assert np.array_equal(np.signbit(found), np.signbit([*table.values()]))
    assert np.isnan(decode_floats(np.array([0x7F, 0xFF], np.uint8), TYPES["f8_e4m3"])).all()
    assert np.isnan(decode_floats(np.array([0x7D, 0x7E, 0xFF], np.uint8), TYPES["f8_e5m2"])).all()


@pytest.mark.parametrize("name", ["f8_e4m3", "f8_e5m2", "f4_e2m1", "f16", "bf16"])
def test_doubles_are_rounded_once(name: str) -> None:
    """A double just off the middle of two neighbours goes to the nearer one, which rounding through f32 loses."""
    kind = TYPES[name]
    values = decode_floats(np.arange(1 << (kind.bits - 1)).astype(kind.code_type)[:1024], kind)
    values = values[np.isfinite(values)]
    low, high = values[:-1], values[1:]
    middle = (low + high) / 2
    for x, wanted in ((middle * (1 + 2.0**-50), high), (middle * (1 - 2.0**-50), low)):
        assert np.array_equal(decode_floats(encode_floats(x, kind), kind), wanted)
    near = decode_floats(encode_floats(middle, kind), kind)
    codes = encode_floats(near, kind)
    assert (codes % 2 == 0).all()
    assert ((near == low) | (near == high)).all()


def test_what_is_too_large() -> None:
    given = np.array([1e9, -1e9, np.inf, -np.inf, np.nan])
    for name, top in (("f8_e4m3", 448.0), ("f8_e5m2", 57344.0), ("f16", 65504.0), ("bf16", TYPES["bf16"].largest)):
        kind, wide = TYPES[name], given * 1e30
        found = decode_floats(encode_floats(wide, kind), kind)
        assert np.array_equal(found, [top, -top, top, -top, np.nan], equal_nan=True)
        plain = decode_floats(encode_floats(wide, kind, saturate=False), kind)
        assert not np.isfinite(plain).any()
        edge = np.nextafter(np.float64(top), np.inf)
        assert decode_floats(encode_floats(np.array([edge]), kind, saturate=False), kind)[0] == top
    kind = TYPES["f4_e2m1"]
    assert decode_floats(encode_floats(given[:4], kind, saturate=False), kind).tolist() == [6.0, -6.0, 6.0, -6.0]


@pytest.mark.parametrize("name", ["f16", "bf16", "f8_e4m3", "f8_e5m2"])
def test_beyond_is_what_overflows(name: str) -> None:
    kind = TYPES[name]
    x = kind.largest * (1 + np.linspace(0, 0.2, 4001))
    with np.errstate(all="ignore"):
        assert np.array_equal(
            is_beyond(x, kind), ~np.isfinite(decode_floats(encode_floats(x, kind, saturate=False), kind))
        )


def test_packing_there_and_back() -> None:
    draw = np.random.default_rng(1)
    for bits in (1, 2, 4, 8):
        for count in (0, 1, 2, 3, 7, 8, 9, 64, 101):
            codes = draw.integers(0, 1 << bits, count).astype(np.uint8)
            for high in (False, True):
                data = pack(codes, bits, high_first=high)
                assert len(data) == -(-count * bits // 8)
                assert np.array_equal(unpack(data, bits, count, high_first=high), codes)
    assert pack(np.array([1, 1, 0, 1, 0, 0, 0, 0, 1], np.uint8), 1, high_first=True).tolist() == [
        0b11010000,
        0b10000000,
    ]


@pytest.mark.parametrize("name", [t for t in TYPES if TYPES[t].kind in (NumericKind.SIGNED, NumericKind.UNSIGNED)])
def test_whole_numbers_are_rounded_exactly(name: str) -> None:
    """Codes are the nearest whole numbers of number / scale, halves to even, by exact fractions."""
    kind = TYPES[name]
    x = np.array([0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999999999999994, 3.7, -3.7, 1e30, -1e30, 2.0**62, -(2.0**63)])
    for scale in (1.0, 0.25, 0.3):
        stored = store(x, kind, scales=scale)
        start = 0 if stored.zero is None else int(stored.zero)
        exact = [Fraction(float(np.float64(v) / np.float64(scale))) for v in x]
        wanted = [min(max(round(v) + start, int(kind.smallest)), int(kind.largest)) for v in exact]
        assert [int(c) for c in stored.codes()] == wanted


def test_names_of_others_mean_the_same() -> None:
    for given, name in (
        ("float32", "f32"), ("FP8_E4M3", "f8_e4m3"), ("F8_E5M2", "f8_e5m2"), ("fp4", "f4_e2m1"), ("bfloat16", "bf16"),
        ("uint4", "u4"), ("int2", "i2"), (np.int8, "i8"), (np.dtype("float16"), "f16"),
        (ml_dtypes.float8_e5m2, "f8_e5m2"),
        (ml_dtypes.float8_e4m3fn, "f8_e4m3"), (ml_dtypes.int4, "i4"), ("ternary", "ternary"),
    ):  # fmt: skip
        assert numeric_type(given).name == name
    assert [t.bits for t in TYPES.values()].count(8) == 4
    assert len(TYPES) == 21
