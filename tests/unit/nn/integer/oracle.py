"""Forward and one training step of dense networks in numpy's and Python's integers, written from the rules alone."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def half_even(v: Array, shift: int) -> Array:
    """Return v / 2^shift to the nearest, halves to even, by Python's exact integers."""

    def one(x: int) -> int:
        low, rest = x >> shift, x - ((x >> shift) << shift)
        half = (1 << shift) // 2
        return low + (1 if shift and (rest > half or (rest == half and low % 2)) else 0)

    return np.array([one(int(x)) for x in np.ravel(v)], object).reshape(np.shape(v)).astype(np.int64)


def moved(v: Array, by: int) -> Array:
    """Return v 2^by, rounded to the nearest where it loses bits."""
    return v.astype(np.int64) << by if by >= 0 else half_even(v, -by)


class Oracle:
    """The numbers of an integer network of dense layers, relu between them."""

    def __init__(self, numbers: dict[str, Array], bits: int) -> None:
        self.numbers = {n: a.astype(np.int64) for n, a in numbers.items()}
        self.bits = bits
        self.layers = sorted({n.rpartition(".")[0] for n in numbers if n.endswith("weight") and n[:2] != "e."})

    def door(self, x: Array) -> tuple[Array, int]:
        """Return samples as integers and their exponent."""
        e = int(self.numbers["x.input"])
        most = (1 << self.bits) - 1
        return np.clip(np.rint(x.astype(np.float64) * 2.0**-e), -most, most).astype(np.int64), e

    def forward(self, q: Array, e: int) -> tuple[list[tuple[Array, int]], list[tuple[Array, int]]]:
        """Return each layer's input, and each layer's output, with exponents."""
        given, made = [], []
        fraction = 30 - self.bits
        for i, name in enumerate(self.layers):
            given.append((q, e))
            is_last = i == len(self.layers) - 1
            w = half_even(self.numbers[f"{name}.weight"], fraction)
            ew = int(self.numbers[f"e.{name}.weight"]) + fraction
            v, ev = q @ w, e + ew
            v = v + moved(self.numbers[f"{name}.bias"], int(self.numbers[f"e.{name}.bias"]) - ev)
            v = v if is_last else np.maximum(v, 0)
            e = max(int(self.numbers[f"y.{name}"]), ev)
            most = (1 << (15 if is_last else self.bits)) - 1
            q = np.clip(half_even(v, e - ev), -most, most)
            made.append((q, e))
        return given, made

    def narrowed(self, v: Array, e: int, bits: int = 15) -> tuple[Array, int]:
        """Return a gradient in its bits."""
        s = max(int(np.abs(v).max()).bit_length() - bits, 0)
        most = (1 << bits) - 1
        return np.clip(half_even(v, s), -most, most), e + s

    def step(self, q: Array, e: int, y: Array, rate: tuple[int, int]) -> dict[str, Array]:
        """Return the masters after one step with the mean squared error, rounded to the nearest."""
        given, made = self.forward(q, e)
        out, eo = made[-1]
        g, eg = self.narrowed(moved(out, eo + 16) - y, -16)
        fraction, found = 30 - self.bits, {}
        for i in reversed(range(len(self.layers))):
            name, (x, ex) = self.layers[i], given[i]
            if i < len(self.layers) - 1:
                g = np.where(made[i][0] > 0, g, 0)
            for key, grad, e_grad in ((f"{name}.weight", x.T @ g, ex + eg), (f"{name}.bias", g.sum(0), eg)):
                m, em = self.numbers[key], int(self.numbers[f"e.{key}"])
                new = m - moved(grad * rate[0], e_grad + rate[1] - em)
                most = ((1 << self.bits) - 1) << fraction if key.endswith("weight") else (1 << 30) - 1
                grows = int(np.abs(new).max() > most)
                found[key] = np.clip(half_even(new, grows), -most, most)
                found[f"e.{key}"] = np.array(em + grows)
            w = half_even(self.numbers[f"{name}.weight"], fraction)
            g, eg = self.narrowed(g @ w.T, eg + int(self.numbers[f"e.{name}.weight"]) + fraction)
        return found
