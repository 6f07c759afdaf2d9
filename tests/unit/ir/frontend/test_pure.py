"""Compiling runs nothing of the host that is not known to be pure, whatever a kernel names."""

from __future__ import annotations

import collections
import enum
import functools
import math
import operator
import os
import random
import secrets
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, Out, f32, tensor
from loom.core.errors import KernelTypeError, LoomError

X = np.ones(4, np.float32)
RAN: list[Any] = []
GENERATOR, NUMBERS = np.random.default_rng(1), random.Random(3)
ITEMS = iter((1, 2, 3))
HELD: Any = collections.defaultdict(int, {1: 2})


class Loud:
    """Says so when any of its code runs."""

    def said(self, *_: Any) -> Any:
        RAN.append("ran")
        return 1

    __add__ = __radd__ = __mul__ = __bool__ = __getitem__ = __len__ = __eq__ = __hash__ = __float__ = __index__ = said  # type: ignore[assignment]
    __neg__ = __lt__ = __iter__ = __contains__ = __array__ = __str__ = __repr__ = __getattr__ = __dir__ = said  # type: ignore[assignment]

    @property
    def told(self) -> int:
        RAN.append("told")
        return 2

    def method(self) -> int:
        RAN.append("method")
        return 3


class Holder:
    """Holds numbers, as settings do."""

    shared = 4

    def __init__(self) -> None:
        self.n, self.table = 2, (1.0, 2.0)

    @property
    def twice(self) -> int:
        return self.n * 2

    @functools.cached_property
    def thrice(self) -> int:
        return self.n * 3

    def at(self, index: int) -> float:
        return self.table[index]

    @staticmethod
    def doubled(x: Any) -> Any:
        return x * 2

    @classmethod
    def tripled(cls, x: Any) -> Any:
        return x * 3


class Adder:
    def __call__(self, x: Any) -> Any:
        return x + 1.0


class Colour(enum.Enum):
    RED = 2


class Level(enum.IntEnum):
    LOW = 5


Pair = collections.namedtuple("Pair", "x y")
LOUD: Any = Loud()
HOLDER, ADDER, PAIR, LOG = Holder(), Adder(), Pair(1.0, 2.0), RAN


@functools.cache
def table(n):
    found = ()
    for k in loom.static_range(n):
        found = found + (0.5**k,)  # noqa: RUF005 - starred items are not in the language
    return found


def scaled(x: Any, by: Any = 7) -> Any:
    return x * by


BY_THREE = functools.partial(scaled, by=3.0)
RANDOM = [
    lambda v: v + random.random(), lambda v: v + np.random.rand(), lambda v: v + GENERATOR.random(),
    lambda v: v + NUMBERS.random(), lambda v: v + secrets.randbits(16), lambda v: v + os.urandom(1)[0],
    lambda v: v + scaled(v, random.random()), lambda v: v + np.random.randint(0, 4, 3)[0],
]  # fmt: skip
IMPURE = [
    lambda v: v + time.time(), lambda v: v + len(os.getcwd()), lambda v: v + (LOG.append(7) or 1),
    lambda v: v + len(open(__file__).read()),  # noqa: SIM115
    lambda v: v + (exec("RAN.append(1)") or 1), lambda v: v + eval("1"),  # noqa: S307
    lambda v: v + len(sorted((1, 2), key=LOG.append)), lambda v: v + len(list(map(LOG.append, (1, 2)))),
    lambda v: v + functools.reduce(operator.add, (1, 2)), lambda v: v + next(ITEMS), lambda v: v + sum(ITEMS),
    lambda v: v + hash("a"), lambda v: v + id(LOG), lambda v: v + np.empty(3)[0], lambda v: v + np.sum((0.5, 1.5)),
    lambda v: v + np.trace(np.ones((2, 2)) * 0.1), lambda v: v + np.pad(np.ones(3) * 0.1, 1, mode="mean")[0],
    lambda v: v + np.add(1, 2, out=np.zeros(1))[0], lambda v: v + (np.save("x.npy", 1) or 1), lambda v: v + HELD[5],
    lambda v: v + math.dist((0.0,), (1.0,)), lambda v: v + ((1j) ** 2).real, lambda v: v + np.linalg.norm((1.0, 2.0)),
    lambda v: v + (setattr(HOLDER, "n", 3) or 1), lambda v: v + HOLDER.__setattr__("n", 9), lambda v: v + LOG.pop(),
    lambda v: v if time.time() > 3 else v + 1, lambda v: v + (np.zeros(3).fill(2) or 1),
]  # fmt: skip
LOUDLY = [
    lambda v: v + (LOUD + 1), lambda v: v + (1 + LOUD), lambda v: v + LOUD[0], lambda v: v + (-LOUD),
    lambda v: v + (1.0 if LOUD else 2.0), lambda v: v + len(LOUD), lambda v: v + LOUD.anything, lambda v: v + LOUD.told,
    lambda v: v + LOUD.method(), lambda v: v + (1.0 if LOUD == 1 else 0.0), lambda v: v + (1.0 if 1 in LOUD else 0.0),
    lambda v: v + (1.0 if LOUD in (1, 2) else 0.0), lambda v: v + float(LOUD), lambda v: v + sum(LOUD),
    lambda v: v + np.array(LOUD)[0], lambda v: v + len(tuple(LOUD)), lambda v: v + (1.0, 2.0)[LOUD], lambda v: v + LOUD,
    lambda v: v + max(*LOUD), lambda v: v + len(format(LOUD)), lambda v: v + HELD[LOUD],
    lambda v: v + (1.0 if LOUD < 2 else 0.0), lambda v: v + math.floor(LOUD), lambda v: v + len(",".join(LOUD)),
    lambda v: v + (1.0 if not LOUD else 0.0), lambda v: v + (1.0 if LOUD and v > 0 else 0.0), lambda v: LOUD(v),
]  # fmt: skip


@pytest.mark.parametrize("fn", RANDOM)
def test_random_numbers_of_the_host_are_refused(fn: Any) -> None:
    with pytest.raises(KernelTypeError, match=r"other numbers in each process.*loom\.random_f32\(seed, i\)"):
        loom.gpu_map(X, fn, on="cpu")


@pytest.mark.parametrize("fn", [*IMPURE, *LOUDLY])
def test_nothing_of_the_host_runs(fn: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    RAN.clear()
    with pytest.raises(LoomError):
        loom.gpu_map(X, fn, on="cpu")
    assert (RAN, HOLDER.n, dict(HELD), list(tmp_path.iterdir())) == ([], 2, {1: 2}, [])


def loops(x: In[f32], y: Out[f32]) -> None:
    for k in LOUD:
        y[k] = x[k]


def speaks(x: In[f32], y: Out[f32]) -> None:
    print(f"{LOUD}")
    y[0] = x[0]


def asserts(x: In[f32], y: Out[f32]) -> None:
    assert x[0] > 0, LOUD
    y[0] = x[0]


def unpacks(x: In[f32], y: Out[f32]) -> None:
    a, b = LOUD
    y[a] = x[b]


def sets(x: In[f32], y: Out[f32]) -> None:
    LOUD.n = 1.0
    y[0] = x[0]


def adds(x: In[f32], y: Out[f32]) -> None:
    LOG[0] += 1
    y[0] = x[0]


def takes(x: In[f32], y: Out[f32]) -> None:
    for k in ITEMS:
        y[k] = x[k]


@pytest.mark.parametrize("fn", [loops, speaks, asserts, unpacks, sets, adds, takes])
def test_no_statement_runs_anything_of_the_host(fn: Any) -> None:
    RAN.clear()
    with pytest.raises(LoomError):
        loom.kernel(fn)(X, out=4)
    assert RAN == []


def test_what_is_gone_through_once_is_left_as_it_was() -> None:
    given = iter((1, 2, 3))
    with pytest.raises(LoomError, match="would run its code"):
        loom.gpu_map(X, lambda v: v + len(tuple(given)))
    assert list(given) == [1, 2, 3]


def test_a_file_is_not_written(tmp_path: Path) -> None:
    file = (tmp_path / "said").open("w")

    @loom.kernel
    def k(y: Out[f32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = file.write("hello")

    with pytest.raises(KernelTypeError, match="TextIOWrapper.write is not known to be pure, so that compiling does not "
                       "run it: expected a function that gives the same everywhere, got file.write"):  # fmt: skip
        k(out=3)
    file.close()
    assert (tmp_path / "said").read_text() == ""


def test_the_remedy_says_what_to_do() -> None:
    with pytest.raises(KernelTypeError, match=r"time\.time .*Compute it before the kernel, and pass it as a param"):
        loom.gpu_map(X, lambda v: v + time.time())
    now = time.time()
    assert loom.gpu_map(X, lambda v: v + now).dtype == np.float32


def test_every_door_that_translates_refuses() -> None:
    @loom.kernel
    def k(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        if i < len(y):
            for j in loom.static_range(LOG.append(1) or 2):
                y[i] = x[i] * f32(j)

    RAN.clear()
    chain = loom.Chain("cpu")
    for call in (
        lambda: k(X), lambda: chain.dispatch(k, [X, np.zeros(4, np.float32)]),
        lambda: (loom.gpu_map(tensor.array(X), lambda v: v + LOG.append(1))).numpy(), lambda: k(tensor.array(X)),
        lambda: loom.gpu_filter(X, lambda v: v > f32(LOG.append(1))),
    ):  # fmt: skip
        with pytest.raises(LoomError, match="not known to be pure"):
            call()
    assert RAN == []


def test_annotations_that_call_something_are_not_evaluated() -> None:
    RAN.clear()

    def helper(x: RAN.append(1)) -> Any:  # type: ignore[valid-type]  # noqa: RUF100 - postponed
        return x

    with pytest.raises(KernelTypeError, match="annotation 'RAN.append\\(1\\)' of 'x' calls a function"):
        loom.gpu_map(X, lambda v: helper(v))  # noqa: PLW0108
    assert RAN == []


@pytest.mark.parametrize(("fn", "expected"), [
    (lambda v: v + HOLDER.n + HOLDER.twice + HOLDER.thrice + HOLDER.at(1) + HOLDER.shared, 19.0),
    (lambda v: HOLDER.doubled(v) + HOLDER.tripled(2) + Holder.doubled(1) + Holder.tripled(1), 13.0),
    (lambda v: v + Colour.RED.value + (1 if Colour.RED is Colour.RED else 2) + Level.LOW + (Level.LOW == 5) * 1, 10.0),
    (lambda v: v + PAIR.x + PAIR[1] + len(PAIR), 6.0), (lambda v: v + table(3)[2], 1.25), (lambda v: ADDER(v), 2.0),
    (lambda v: BY_THREE(v), 3.0), (lambda v: v + HELD[1], 3.0),
    (lambda v: v + math.factorial(5) + math.comb(5, 2) + math.gcd(4, 6) + math.isqrt(17), 137.0),
    (lambda v: v + min(float("inf"), 1.0) + int("ff", 16) + (7).bit_length() + len("a,b".split(",")), 262.0),
    (lambda v: v + np.zeros(3).shape[0] + f32(np.arange(4).sum()) + np.finfo(np.float32).bits, 42.0),
    (lambda v: v + sum((0.5, 1.5)) + isinstance(3, int) * 1, 4.0),
    (lambda v: v + f32(np.trace(np.ones((2, 2), int))) + np.pad(np.ones(2, int), 1).size, 7.0),
])  # fmt: skip
def test_what_is_pure_is_evaluated(fn: Any, expected: float) -> None:
    assert loom.gpu_map(X, fn, on="cpu").tolist() == [expected] * 4


def of_loom(name: str, *args: float) -> float:
    return float(loom.gpu_map(*(np.array([a]) for a in args[:1]), name, on="interp")[0])


@pytest.mark.parametrize(("fn", "name", "x"), [
    (lambda v: v + math.exp(1.5), "exp", 1.5), (lambda v: v + np.exp(0.7), "exp", 0.7),
    (lambda v: v + math.lgamma(0.3), "lgamma", 0.3), (lambda v: v + math.sin(1e5), "sin", 1e5),
    (lambda v: v + np.arctan(0.3), "atan", 0.3), (lambda v: v + math.log10(7.0), "log10", 7.0),
    (lambda v: v + math.cbrt(7.0), "cbrt", 7.0), (lambda v: v + np.log1p(np.arange(3) / 3)[1], "log1p", 1 / 3),
])  # fmt: skip
@pytest.mark.parametrize("on", ["cpu", "interp"])
def test_functions_of_constants_are_looms(fn: Any, name: str, x: float, on: str) -> None:
    found = loom.gpu_map(np.zeros(1), fn, on=on)
    assert found.view(np.uint64)[0] == np.float64(of_loom(name, x)).view(np.uint64)


@pytest.mark.parametrize(("fn", "expected"), [
    (lambda v: v + 2.0**0.5, 2**0.5), (lambda v: v + pow(2.0, 0.5), 2**0.5), (lambda v: v + 10**-3, 0.001),
    (lambda v: v + 1.1**3, float(Fraction(1.1) ** 3)), (lambda v: v + 2.0**-1022, 2.0**-1022),
    (lambda v: v + (-0.5) ** 3, -0.125), (lambda v: v + 2**70, float(2**70)), (lambda v: v + 7.0**-2, 1 / 49),
])  # fmt: skip
def test_powers_of_constants(fn: Any, expected: float) -> None:
    assert loom.gpu_map(np.zeros(1), fn, on="cpu")[0] == pytest.approx(expected, rel=3e-16, abs=0)


@pytest.mark.parametrize(("fn", "message"), [
    (lambda v: v + math.log(-1.0), "ValueError: math domain error"), (lambda v: v + math.exp(1e4), "OverflowError"),
    (lambda v: v + 0.0**-1, "ZeroDivisionError"), (lambda v: v + (-2.0) ** 0.5, "a broken power is complex"),
    (lambda v: v + math.atan2(1.0), "atan2 takes 2 arguments"), (lambda v: v + math.exp("a"), "exp takes numbers"),
])  # fmt: skip
def test_where_a_function_has_no_value_is_an_error(fn: Any, message: str) -> None:
    with pytest.raises(LoomError, match=message):
        loom.gpu_map(np.zeros(1), fn)
