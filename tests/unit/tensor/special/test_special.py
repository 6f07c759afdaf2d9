"""Special functions against scipy, mpmath and torch, and on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.special
import torch

import loom
from deferred import functions_of
from loom import tensor
from loom.tensor import special

peer, exact = functions_of(scipy.special), functions_of(mp)

Array = np.ndarray[Any, Any]
_ODD = np.array([0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -0.5, np.nan, 1e-30, -1e-30, 1e30])
_R = np.random.default_rng(2)


def _between(low: float, high: float) -> Array:
    return _R.uniform(low, high, 1500)


def _small(least: float) -> Array:
    return 10.0 ** _between(least, 0)


_TRIGAMMA: dict[str, Any] = {
    f"polygamma {n}": (lambda x, n=n: special.polygamma(n, x), lambda x, n=n: peer.polygamma(n, x),
                       lambda x, n=n: mp.polygamma(n, x), [_between(0.01, 20), _small(-2)], 8) for n in (1, 2, 3)
}  # fmt: skip
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], list[Array], float]] = {
    "ndtr": (special.ndtr, peer.ndtr, exact.ncdf, [_between(-13, 8), _between(-1, 1), _ODD], 3),
    "log_ndtr": (special.log_ndtr, peer.log_ndtr, lambda x: mp.log(mp.ncdf(x)), [_between(-60, 5), _ODD], 3),
    "ndtri": (
        special.ndtri,
        peer.ndtri,
        lambda p: mp.sqrt(2) * mp.erfinv(2 * mp.mpf(p) - 1),
        [_between(0, 1), _small(-30), 1 - _small(-7), _ODD],
        4,
    ),
    "erfinv": (special.erfinv, peer.erfinv, exact.erfinv, [_between(-1, 1), 1 - _small(-7), _ODD], 5.5),
    "digamma": (
        special.digamma,
        peer.digamma,
        exact.digamma,
        [_between(2.5, 30), _small(-5) * 0.9, np.delete(_ODD, 6)],
        12,
    ),
    "i0": (special.i0, peer.i0, lambda x: mp.besseli(0, x), [_between(-30, 30), _between(60, 88), _ODD[:-1]], 14),
    "i1": (special.i1, peer.i1, lambda x: mp.besseli(1, x), [_between(-30, 30), _between(60, 88), _ODD[:-1]], 14),
    "i0e": (special.i0e, peer.i0e, lambda x: mp.besseli(0, x) * mp.exp(-abs(x)), [_between(-30, 30), _ODD], 12),
    "i1e": (special.i1e, peer.i1e, lambda x: mp.besseli(1, x) * mp.exp(-abs(x)), [_between(-30, 30), _ODD], 12),
    "sinc": (special.sinc, np.sinc, exact.sincpi, [_between(-0.9, 0.9), _ODD[6:-3]], 4),
    "entr": (special.entr, peer.entr, lambda x: -x * mp.log(x), [_between(0.01, 0.9), _between(1.1, 9), _ODD], 3),
    "logit": (special.logit, peer.logit, lambda x: mp.log(mp.mpf(x) / (1 - mp.mpf(x))), [_between(0, 1), _ODD], 3),
    **_TRIGAMMA,
}
"""The function, scipy's, mpmath's, where it is asked, and how many ulps it may be off."""


def _ulps(found: Array, wanted: Array) -> Array:
    return np.abs(found.astype("f8") - wanted) / np.spacing(np.abs(wanted).astype(found.dtype)).astype("f8")


@pytest.mark.parametrize("name", CASES)
def test_errors_in_f32(name: str) -> None:
    function, reference, _, places, bound = CASES[name]
    x = np.concatenate(places).astype("f4")
    found = function(tensor.array(x)).numpy()
    with np.errstate(all="ignore"):
        wanted = reference(x.astype("f8"))
    is_plain = np.isfinite(wanted) & (np.abs(wanted) < np.finfo("f4").max)
    assert found.dtype == np.float32
    assert _ulps(found[is_plain], wanted[is_plain]).max() <= bound
    if not name.startswith("polygamma"):
        assert np.array_equal(found[~is_plain], wanted[~is_plain].astype("f4"), equal_nan=True)


@pytest.mark.parametrize("name", CASES)
def test_errors_in_f64(name: str) -> None:
    function, _, exact, places, bound = CASES[name]
    x = np.concatenate([p[:25] for p in places if p.size > 100])
    if name == "ndtri":
        x = np.concatenate([x, [1e-300, 1e-5]])
    with mp.workdps(60 if name != "ndtri" else 330):
        wanted = np.array([float(exact(mp.mpf(float(v)))) for v in x])
    assert _ulps(function(tensor.array(x)).numpy(), wanted).max() <= 2 * bound


_DIGAMMA = [(1e-6, 1.0, 12.0), (1.0, 3.0, None), (3.0, 1000.0, 12.0), (-1.0, 0.0, None), (-1000.0, -1.0, None)]
"""Where, and how many ulps it may be off; None: an absolute error, which beside its roots is all that can be said."""


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("low", "high", "ulps"), _DIGAMMA)
def test_the_error_of_digamma_by_range(low: float, high: float, ulps: float | None, dtype: str) -> None:
    """The worst of 200,000 by scipy are looked at by mpmath."""
    x = np.random.default_rng(5).uniform(low, high, 200_000).astype(dtype)
    found, about = special.digamma(tensor.array(x)).numpy(), peer.digamma(x.astype("f8"))
    unit = (2.0**-20 if dtype == "f4" else 2.0**-49) * (1 if low > 0 else 2)
    bars = ulps * np.spacing(np.abs(about).astype(dtype)) if ulps else unit * (1 if low > 0 else 1 + about * about)
    bars = np.asarray(bars * (2 if ulps and dtype == "f8" else 1), "f8")
    worst = np.argsort(np.nan_to_num(-np.abs(found - about) / bars))[:20]
    with mp.workdps(60):
        true = np.array(
            [
                float(exact.digamma(mp.mpf(float(v))) - mp.mpf(float(f)))
                for v, f in zip(x[worst], found[worst], strict=True)
            ]
        )
    assert (np.abs(true) <= np.broadcast_to(bars, x.shape)[worst]).all()


def test_digamma_everywhere() -> None:
    """Near roots the error is that of numbers near 2; at whole numbers up to 0 it has poles."""
    x = np.concatenate([_between(-10, 2), [1.4616321449683622, 1e300]])
    wanted = peer.digamma(x)
    near = np.abs(wanted) < 50
    away = np.abs(special.digamma(tensor.array(x)).numpy() - wanted)[near]
    assert (away <= 4e-15 * (4 + wanted[near] ** 2)).all()  # beside poles as far as x itself is known
    found = special.digamma(tensor.array([0.0, -0.0, -1.0, -2.0, -np.inf, np.nan])).tolist()
    assert found[:2] == [-np.inf, np.inf]
    assert special.digamma(tensor.array([np.inf])).tolist() == [np.inf]
    assert np.isnan(found[2:]).all()
    trigamma = special.polygamma(1, tensor.array(x[:1500])).numpy()
    theirs = torch.special.polygamma(1, torch.tensor(x[:1500])).numpy()
    assert (np.abs(trigamma - theirs) <= 1e-9 * np.abs(theirs)).all()


_GRADIENTS = ("erfinv", "ndtr", "log_ndtr", "ndtri", "digamma", "i0", "i1", "i0e", "i1e", "sinc", "entr", "logit")


@pytest.mark.parametrize("name", [*_GRADIENTS, "polygamma", "lgamma", "gamma", "xlogy", "xlog1py"])
def test_first_and_second_derivatives(name: str) -> None:
    low, high = {"erfinv": (-0.9, 0.9), "ndtri": (0.05, 0.95), "logit": (0.05, 0.95)}.get(name, (0.2, 4))
    x = np.linspace(low, high, 19)
    mine, theirs = {
        "polygamma": (lambda v: special.polygamma(2, v), lambda v: torch.special.polygamma(2, v)),
        "lgamma": (lambda v: v.map("lgamma"), torch.lgamma),
        "gamma": (lambda v: v.map("gamma"), lambda v: torch.exp(torch.lgamma(v))),
        "xlogy": (lambda v: special.xlogy(v * v, v + 1), lambda v: torch.special.xlogy(v * v, v + 1)),
        "xlog1py": (lambda v: special.xlog1py(v * v, v), lambda v: torch.special.xlog1py(v * v, v)),
    }.get(name, (getattr(special, name, None), getattr(torch.special, name, None)))
    t, other = tensor.array(x), torch.tensor(x, requires_grad=True)
    value, wanted = mine(t), theirs(other)
    assert np.allclose(value.numpy(), wanted.detach().numpy(), rtol=1e-10)
    (first,) = tensor.grad(value.sum(), [t])
    (known,) = torch.autograd.grad(wanted.sum(), other, create_graph=True)
    assert np.allclose(first.numpy(), known.detach().numpy(), rtol=1e-9, atol=1e-12)
    (second,) = tensor.grad(first.sum(), [t])
    step = 1e-5
    ends = [tensor.grad(mine(m := tensor.array(x + s)).sum(), [m])[0].numpy() for s in (step, -step)]
    assert np.allclose(second.numpy(), (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-6)


def test_products_with_logarithms_where_one_side_is_nothing() -> None:
    x, y = np.array([0.0, 0.0, 0.0, 2.0, 0.0]), np.array([0.0, np.nan, np.inf, 0.0, -1.0])
    with np.errstate(all="ignore"):
        for mine, theirs in ((special.xlogy, peer.xlogy), (special.xlog1py, peer.xlog1py)):
            assert np.array_equal(mine(tensor.array(x), tensor.array(y)).numpy(), theirs(x, y), equal_nan=True)
    assert special.xlogy(2, tensor.array([1.0])).tolist() == [0.0]
    assert special.xlogy(tensor.array([[1.0], [0.0]]), tensor.array([1.0, 0.0])).shape == (2, 2)
    with pytest.raises(loom.LoomError, match="no tensor"):
        special.xlogy(1.0, 2.0)


def test_types_and_shapes() -> None:
    for name in _GRADIENTS:
        function = getattr(special, name)
        assert function(tensor.zeros((0, 3))).shape == (0, 3)
        for kind, wanted in (("f16", "f16"), ("bf16", "bf16"), ("i32", "f32"), ("f64", "f64")):
            assert str(function(tensor.ones((2,), kind)).dtype) == wanted
        half = function(tensor.array([0.3], "f16"))
        wide = function(tensor.array([0.3], "f16").astype("f32"))
        assert half.tolist() == wide.astype("f16").tolist()
        with pytest.raises(loom.LoomError, match="real numbers"):
            function(tensor.ones((2,), "c64"))
    for bad in (-1, 21, 1.5):
        with pytest.raises(loom.LoomError, match="polygamma, n"):
            special.polygamma(bad, tensor.ones((2,)))


def test_the_bits_are_those_of_every_device(on: str) -> None:
    places = np.concatenate([_between(-30, 30)[:40], _small(-6)[:40], _ODD]).astype("f4")

    def bits(device: str) -> list[Array]:
        x = tensor.array(places, on=device)
        made = [getattr(special, name)(x) for name in _GRADIENTS] + [special.polygamma(2, x), special.xlogy(x, x)]
        return [np.where(np.isnan(m.numpy()), np.float32(np.nan), m.numpy()).view(np.uint32) for m in made]

    for mine, wanted in zip(bits(on), bits("cpu"), strict=True):
        assert (mine == wanted).all()
