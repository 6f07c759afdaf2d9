"""Functions of networks against ``torch.nn.functional`` in f64, values and gradients; ours have channels last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional

from deferred import functions_of
from loom import tensor as T

F = functions_of(torch.nn.functional)

_Case = tuple[Callable[..., Any], Callable[..., Any], list[np.ndarray[Any, Any]]]


def _x(*shape: int, low: float = -3.0, high: float = 3.0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape) * 7 + len(shape)).uniform(low, high, shape)


def _first(x: Any) -> Any:
    """Channels first, as torch has them."""
    return x.movedim(-1, 1)


def _last(x: Any) -> Any:
    return x.movedim(1, -1)


_CLASSES = np.array([1, 0, 3, 2, 3])
_SOME = np.array([1, -7, 3, -7, 3])
_C, _S = T.array(_CLASSES), T.array(_SOME)
_W = np.array([0.5, 1.0, 2.0, 0.25])
_SIGNS = np.array([1.0, -1.0, 1.0, -1.0, -1.0])
_MASK = np.random.default_rng(3).random((4, 5)) < 0.7
_ADDED = np.where(_MASK, _x(4, 5), -np.inf)

_CASES: dict[str, _Case] = {
    "elu": (lambda x: T.elu(x, 0.7), lambda x: F.elu(x, 0.7), [_x(40)]),
    "selu": (T.selu, F.selu, [_x(40)]),
    "celu": (lambda x: T.celu(x, 1.5), lambda x: F.celu(x, 1.5), [_x(40)]),
    "mish": (T.mish, F.mish, [_x(40, low=-30, high=30)]),
    "hardswish": (T.hardswish, F.hardswish, [_x(40, low=-5, high=5)]),
    "hardsigmoid": (T.hardsigmoid, F.hardsigmoid, [_x(40, low=-5, high=5)]),
    "hardtanh": (lambda x: T.hardtanh(x, -1, 2), lambda x: F.hardtanh(x, -1, 2), [_x(40)]),
    "relu6": (T.relu6, F.relu6, [_x(40, low=-9, high=9)]),
    "prelu": (T.prelu, lambda x, w: _last(F.prelu(_first(x), w)), [_x(2, 5, 3), _x(3)]),
    "glu": (lambda x: T.glu(x, 1), lambda x: F.glu(x, 1), [_x(3, 6)]),
    "softsign": (T.softsign, F.softsign, [_x(40)]),
    "tanhshrink": (T.tanhshrink, F.tanhshrink, [_x(40)]),
    "softshrink": (lambda x: T.softshrink(x, 0.7), lambda x: F.softshrink(x, 0.7), [_x(40)]),
    "hardshrink": (T.hardshrink, F.hardshrink, [_x(40)]),
    "threshold": (lambda x: T.threshold(x, 0.5, -2.0), lambda x: F.threshold(x, 0.5, -2.0), [_x(40)]),
    "logsigmoid": (T.logsigmoid, F.logsigmoid, [_x(40, low=-800, high=800)]),
    "softmin": (lambda x: T.softmin(x, 0), lambda x: F.softmin(x, 0), [_x(4, 5)]),
    "logsumexp": (
        lambda x: T.logsumexp(x, (0, 2), keepdims=True),
        lambda x: x.logsumexp((0, 2), keepdim=True),
        [_x(3, 4, 5, low=-900, high=900)],
    ),
    "nll": (lambda x: T.nll(x, _C), lambda x: F.nll_loss(x, torch.tensor(_CLASSES)), [_x(5, 4)]),
    "nll weighted": (
        lambda x: T.nll(x, _S, weight=T.array(_W), ignore_index=-7),
        lambda x: F.nll_loss(x, torch.tensor(_SOME), torch.tensor(_W), ignore_index=-7),
        [_x(5, 4)],
    ),
    "cross_entropy": (
        lambda x: T.cross_entropy(x, _S, ignore_index=-7),
        lambda x: F.cross_entropy(x, torch.tensor(_SOME), ignore_index=-7),
        [_x(5, 4, low=-700, high=700)],
    ),
    "cross_entropy smooth": (
        lambda x: T.cross_entropy(x, _S, weight=T.array(_W), ignore_index=-7, label_smoothing=0.2),
        lambda x: F.cross_entropy(x, torch.tensor(_SOME), torch.tensor(_W), ignore_index=-7, label_smoothing=0.2),
        [_x(5, 4)],
    ),
    "cross_entropy soft": (
        lambda x, t: T.cross_entropy(x, t, weight=T.array(_W), label_smoothing=0.1),
        lambda x, t: F.cross_entropy(x, t, torch.tensor(_W), label_smoothing=0.1),
        [_x(5, 4), _x(5, 4, low=0.1)],
    ),
    "bce": (T.bce, F.binary_cross_entropy, [_x(9, low=0.01, high=0.99), _x(9, low=0, high=1)]),
    "bce_with_logits": (
        lambda x, t: T.bce_with_logits(x, t, pos_weight=T.array(_W), weight=T.array(_W[::-1].copy())),
        lambda x, t: F.binary_cross_entropy_with_logits(
            x, t, pos_weight=torch.tensor(_W), weight=torch.tensor(_W[::-1].copy())
        ),
        [_x(5, 4, low=-800, high=800), _x(5, 4, low=0, high=1)],
    ),
    "smooth_l1": (
        lambda x, t: T.smooth_l1(x, t, 0.5),
        lambda x, t: F.smooth_l1_loss(x, t, beta=0.5),
        [_x(20), _x(20) / 2],
    ),
    "kl_div": (
        lambda x, t: T.kl_div(x, t, reduction="batchmean"),
        lambda x, t: F.kl_div(x, t, reduction="batchmean"),
        [_x(4, 5), _x(4, 5, low=0.1)],
    ),
    "kl_div logs": (
        lambda x, t: T.kl_div(x, t, log_target=True, reduction="sum"),
        lambda x, t: F.kl_div(x, t, log_target=True, reduction="sum"),
        [_x(4, 5), _x(4, 5) / 3],
    ),
    "hinge": (
        lambda x: T.hinge(x, T.array(_SIGNS)),
        lambda x: F.hinge_embedding_loss(x, torch.tensor(_SIGNS)),
        [_x(5)],
    ),
    "multi_margin": (
        lambda x: T.multi_margin(x, _C, p=2, weight=T.array(_W)),
        lambda x: F.multi_margin_loss(x, torch.tensor(_CLASSES), p=2, weight=torch.tensor(_W)),
        [_x(5, 4)],
    ),
    "triplet_margin": (
        lambda a, b, c: T.triplet_margin(a, b, c, 2.0, swap=True),
        lambda a, b, c: F.triplet_margin_loss(a, b, c, 2.0, swap=True),
        [_x(5, 4), _x(5, 4) / 2, _x(5, 4)[::-1].copy()],
    ),
    "cosine_embedding": (
        lambda a, b: T.cosine_embedding(a, b, T.array(_SIGNS), 0.1),
        lambda a, b: F.cosine_embedding_loss(a, b, torch.tensor(_SIGNS), 0.1),
        [_x(5, 4), _x(4, 5).T.copy()],
    ),
    "poisson_nll": (
        lambda x, t: T.poisson_nll(x, t, full=True),
        lambda x, t: F.poisson_nll_loss(x, t, full=True),
        [_x(9), _x(9, low=0, high=5)],
    ),
    "gaussian_nll": (
        lambda x, t, v: T.gaussian_nll(x, t, v, full=True),
        lambda x, t, v: F.gaussian_nll_loss(x, t, v, full=True),
        [_x(9), _x(9) / 2, _x(9, low=0.1)],
    ),
    "pairwise_distance": (T.pairwise_distance, F.pairwise_distance, [_x(5, 4), _x(5, 4) / 2]),
    "cdist": (T.cdist, functions_of(torch).cdist, [_x(2, 3, 4), _x(2, 5, 4)]),
    "cdist 1": (lambda a, b: T.cdist(a, b, 1), lambda a, b: torch.cdist(a, b, 1.0), [_x(3, 4), _x(5, 4)]),
    "group_norm": (
        lambda x, w, b: T.group_norm(x, 2, w, b),
        lambda x, w, b: _last(F.group_norm(_first(x), 2, w, b)),
        [_x(2, 3, 5, 6), _x(6), _x(6)],
    ),
    "instance_norm": (T.instance_norm, lambda x, w: _last(F.instance_norm(_first(x), weight=w)), [_x(2, 7, 3), _x(3)]),
    "batch_norm": (
        lambda x, w, b: T.batch_norm(x, weight=w, bias=b, training=True)[0],
        lambda x, w, b: _last(F.batch_norm(_first(x), None, None, w, b, training=True)),
        [_x(4, 5, 3), _x(3), _x(3)],
    ),
    "batch_norm running": (
        lambda x: T.batch_norm(x, T.array(_W), T.array(_W * 2))[0],
        lambda x: _last(F.batch_norm(_first(x), torch.tensor(_W), torch.tensor(_W * 2))),
        [_x(3, 5, 4)],
    ),
    "local_response_norm": (
        lambda x: T.local_response_norm(x, 4, 0.3, 0.6, 1.5),
        lambda x: _last(F.local_response_norm(_first(x), 4, 0.3, 0.6, 1.5)),
        [_x(2, 3, 7)],
    ),
    "normalize": (lambda x: T.normalize(x, 3, 1), lambda x: F.normalize(x, 3, 1), [_x(3, 4)]),
    "attention": (
        T.scaled_dot_product_attention,
        F.scaled_dot_product_attention,
        [_x(2, 3, 4, 6), _x(2, 3, 5, 6), _x(2, 3, 5, 2)],
    ),
    "attention causal": (
        lambda q, k: T.scaled_dot_product_attention(q, k, k, is_causal=True, scale=0.3),
        lambda q, k: F.scaled_dot_product_attention(q, k, k, is_causal=True, scale=0.3),
        [_x(2, 5, 4), _x(2, 5, 4) / 2],
    ),
    "attention masked": (
        lambda q, k: T.scaled_dot_product_attention(q, k, k, T.array(_MASK)),
        lambda q, k: F.scaled_dot_product_attention(q, k, k, torch.tensor(_MASK)),
        [_x(2, 4, 6), _x(2, 5, 6)],
    ),
    "attention biased": (
        lambda q, k: T.scaled_dot_product_attention(q, k, k, T.array(_ADDED), enable_gqa=True),
        lambda q, k: F.scaled_dot_product_attention(q, k, k, torch.tensor(_ADDED), enable_gqa=True),
        [_x(2, 6, 4, 3), _x(2, 2, 5, 3)],
    ),
    "interpolate nearest": (
        lambda x: T.interpolate(x, (7, 3)),
        lambda x: _last(F.interpolate(_first(x), (7, 3))),
        [_x(2, 4, 5, 3)],
    ),
    "interpolate bilinear": (
        lambda x: T.interpolate(x, scale_factor=(1.5, 0.5), mode="bilinear"),
        lambda x: _last(F.interpolate(_first(x), scale_factor=(1.5, 0.5), mode="bilinear")),
        [_x(2, 4, 6, 3)],
    ),
    "interpolate aligned": (
        lambda x: T.interpolate(x, 9, mode="linear", align_corners=True),
        lambda x: _last(F.interpolate(_first(x), 9, mode="linear", align_corners=True)),
        [_x(2, 4, 3)],
    ),
    "adaptive_average_pool": (
        lambda x: T.adaptive_average_pool(x, (3, 2)),
        lambda x: _last(F.adaptive_avg_pool2d(_first(x), (3, 2))),
        [_x(2, 7, 4, 3)],
    ),
    "adaptive_max_pool": (
        lambda x: T.adaptive_max_pool(x, 3),
        lambda x: _last(F.adaptive_max_pool1d(_first(x), 3)),
        [_x(2, 7, 3)],
    ),
    "max_pool padded": (
        lambda x: T.max_pool(x, 3, 2, 1),
        lambda x: _last(F.max_pool2d(_first(x), 3, 2, 1)),
        [_x(2, 6, 5, 3)],
    ),
    "average_pool padded": (
        lambda x: T.average_pool(x, 3, 2, 1, count_include_pad=False),
        lambda x: _last(F.avg_pool2d(_first(x), 3, 2, 1, count_include_pad=False)),
        [_x(2, 6, 5, 3)],
    ),
    "conv groups": (
        lambda x, w: T.convolve(x, w, groups=2, padding=1, stride=2),
        lambda x, w: _last(F.conv2d(_first(x), w.permute(3, 2, 0, 1), groups=2, padding=1, stride=2)),
        [_x(2, 5, 6, 4), _x(3, 3, 2, 6)],
    ),
    "conv depthwise": (
        lambda x, w: T.convolve(x, w, groups=3, dilation=2),
        lambda x, w: _last(F.conv1d(_first(x), w.permute(2, 1, 0), groups=3, dilation=2)),
        [_x(2, 9, 3), _x(3, 1, 6)],
    ),
    "conv_transpose": (
        lambda x, w: T.conv_transpose(x, w, stride=2, padding=1, output_padding=1, dilation=2),
        lambda x, w: _last(
            F.conv_transpose2d(_first(x), w.permute(3, 2, 0, 1), stride=2, padding=1, output_padding=1, dilation=2)
        ),
        [_x(2, 3, 4, 3), _x(3, 3, 2, 3)],
    ),
    "unfold": (
        lambda x: T.unfold(x, (2, 3), padding=1, stride=2),
        lambda x: F.unfold(_first(x), (2, 3), padding=1, stride=2).reshape(2, 3, 6, -1).permute(0, 3, 2, 1).flatten(2),
        [_x(2, 5, 6, 3)],
    ),
    "fold": (
        lambda x: T.fold(x, (5, 4), (2, 3), stride=1),
        lambda x: _last(F.fold(x.reshape(2, 8, 6, 3).permute(0, 3, 2, 1).reshape(2, 18, 8), (5, 4), (2, 3))),
        [_x(2, 8, 18)],
    ),
}  # fmt: skip
_LOOSE = {"hardsigmoid": 1e-7}
"""Torch's slope is 1/6 in f32."""


@pytest.mark.parametrize("name", _CASES)
def test_values_and_gradients(name: str) -> None:
    ours, theirs, arrays = _CASES[name]
    mine = [T.parameter(a, "f64", on="cpu") for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    found, wanted = ours(*mine), theirs(*other)
    np.testing.assert_allclose(found.numpy(), wanted.detach().numpy(), rtol=1e-9, atol=1e-11, strict=True)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, found.shape)
    (wanted * torch.tensor(weights)).sum().backward()
    grads = T.grad((found * T.array(weights, "f64", on="cpu")).sum(), mine)
    for g, t in zip(grads, other, strict=True):
        np.testing.assert_allclose(g.numpy(), t.grad.numpy(), rtol=_LOOSE.get(name, 1e-8), atol=1e-10)


def test_running_statistics_move() -> None:
    x, mean, var = _x(4, 5, 3), _x(3), _x(3, low=0.5)
    t_mean, t_var = torch.tensor(mean), torch.tensor(var)
    F.batch_norm(_first(torch.tensor(x)), t_mean, t_var, training=True, momentum=0.3)
    _, m, v = T.batch_norm(T.array(x), T.array(mean), T.array(var), training=True, momentum=0.3)
    np.testing.assert_allclose(m.numpy(), t_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(v.numpy(), t_var.numpy(), rtol=1e-12)


def test_edges() -> None:
    nothing = T.scaled_dot_product_attention(T.ones((1, 2)), T.ones((3, 2)), T.ones((3, 2)), T.zeros((1, 3), "bool"))
    assert nothing.tolist() == [[0.0, 0.0]]
    low = T.parameter(np.array([-np.inf, -np.inf]))
    assert T.logsumexp(low).item() == -np.inf
    assert T.grad(T.logsumexp(low), [low])[0].tolist() == [0.0, 0.0]
    assert T.logsumexp(T.array([np.inf, 1.0])).item() == np.inf
    assert T.logsumexp(T.zeros((0,))).item() == -np.inf
    assert np.isnan(T.cross_entropy(T.zeros((1, 3)), T.array([3]), label_smoothing=0.1).item())
    half = T.array(np.full((1, 4), 300.0), "f16")  # squares do not fit
    assert T.normalize(half).tolist() == [[0.5] * 4]
    assert T.swiglu(T.array([[2.0, 3.0]])).item() == pytest.approx(2 / (1 + np.exp(-2)) * 3)


def test_rope_turns_pairs() -> None:
    x = _x(2, 5, 6)
    for interleaved in (False, True):
        found = T.rope(T.array(x), base=100.0, start=3, interleaved=interleaved).numpy()
        pairs = x.reshape(2, 5, 3, 2) if interleaved else x.reshape(2, 5, 2, 3).swapaxes(2, 3)
        turned = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(
            1j * (np.arange(3, 8)[:, None] * 100.0 ** (-np.arange(3) / 3))
        )
        both = np.stack([turned.real, turned.imag], -1)
        wanted = both.reshape(2, 5, 6) if interleaved else both.swapaxes(2, 3).reshape(2, 5, 6)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["mish", "cross_entropy smooth", "group_norm", "attention masked", "interpolate bilinear"]
)
def test_bits_are_the_same_everywhere(name: str, on: str) -> None:
    ours, _, arrays = _CASES[name]
    if name == "cross_entropy smooth":
        ours = lambda x: T.cross_entropy(x, T.array(_SOME, on=x.device), ignore_index=-7, label_smoothing=0.2)  # noqa: E731
    if name == "attention masked":
        ours = lambda q, k: T.scaled_dot_product_attention(q, k, k, T.array(_MASK, on=q.device))  # noqa: E731
    results = []
    for device in ("cpu", on):
        places = [T.parameter(a.astype(np.float32), on=device) for a in arrays]
        y = ours(*places)
        results.append([t.numpy().tobytes() for t in (y, *T.grad((y * y).sum(), places))])
    assert results[0] == results[1]
