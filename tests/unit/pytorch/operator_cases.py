"""Operators of ATen as functions of a few tensors, by family: what modules of vision, text and tables are made of.

A row is a family's cases by name; the names of parameters say which tensors a case takes.
"""
# ruff: noqa: E501, PLW0108 - tables, of which every cell is a function

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as f

Case = Callable[..., Any]


def given() -> dict[str, torch.Tensor]:
    """Return the tensors that cases take by the names of their parameters."""
    g = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=g)

    return {
        "x": normal(4, 6), "y": normal(4, 6), "p": torch.rand((4, 6), generator=g) * 0.9 + 0.05, "v": normal(6),
        "m": normal(6, 5), "b": normal(2, 4, 6), "c": normal(2, 6, 3), "image": normal(2, 4, 9, 8),
        "line": normal(2, 4, 11), "cube": normal(1, 2, 5, 4, 6), "w": normal(6, 4, 3, 3), "w1": normal(4, 1, 3, 3),
        "wt": normal(4, 3, 3, 3), "i": torch.randint(0, 6, (4, 5), generator=g), "t": torch.randint(0, 6, (4,), generator=g),
        "k": torch.randint(-5, 6, (4, 6), generator=g), "q": normal(2, 4, 5, 8), "r": normal(2, 2, 7, 8),
        "s": normal(2, 2, 7, 8), "mask": torch.rand((4, 6), generator=g) > 0.4, "h": normal(5, 2, 6), "w3": normal(3, 2, 2, 2, 2),
        "g": normal(2, 3, 3),
    }  # fmt: skip


FAMILIES: dict[str, dict[str, Case]] = {
    "arithmetic": {
        "add": lambda x, y: torch.add(x, y, alpha=2), "sub": lambda x, y: x - y, "rsub": lambda x: 3 - x,
        "mul": lambda x, v: x * v, "div": lambda x, p: x / p, "floor": lambda x, p: torch.div(x, p, rounding_mode="floor"),
        "trunc": lambda x, p: torch.div(x, p, rounding_mode="trunc"), "//": lambda k: k // 3, "%": lambda x: x % 0.7,
        "fmod": lambda x: torch.fmod(x, 0.7), "%int": lambda k: k % 4, "pow2": lambda x: x**2, "pow3": lambda x: x**3,
        "pow": lambda p: p**2.5, "rpow": lambda x: 2**x, "powt": lambda p, x: p**x, "sqrt": lambda p: p.sqrt(),
        "intdiv": lambda k: k / 2, "intadd": lambda k: k + 1.5, "boolsum": lambda mask, x: mask + x,
        "addcmul": lambda x, y, p: torch.addcmul(x, y, p, value=0.5), "addcdiv": lambda x, y, p: torch.addcdiv(x, y, p),
        "lerp": lambda x, y: torch.lerp(x, y, 0.3), "lerpt": lambda x, y, p: torch.lerp(x, y, p),
        "max": lambda x, y: torch.maximum(x, y), "min": lambda x, y: torch.minimum(x, y), "fmax": lambda x, y: torch.fmax(x, y),
        "clamp": lambda x: x.clamp(-0.5, 0.7), "clampmin": lambda x: x.clamp(min=0.1), "clampt": lambda x, y: x.clamp(max=y),
        "square": lambda x: x.square(), "rsqrt": lambda p: p.rsqrt(), "recip": lambda p: p.reciprocal(),
        "neg": lambda x: -x, "abs": lambda x: x.abs(), "sign": lambda x: x.sign(), "mulint": lambda x: x * 3,
        "shift": lambda k: (k << 2) + (k >> 1), "bits": lambda k: (k & 3) | (k ^ 5), "not": lambda k, mask: (~k, ~mask),
        "zerodim": lambda x, v: x * v[0] + v.sum(), "f64": lambda x: x.double() * 0.1, "half": lambda x: (x.half() * 2).float(),
        "floordiv": lambda x: torch.floor_divide(x.detach(), 0.3), "rounding": lambda x: (x.floor(), x.ceil(), x.round(), x.trunc()),
        "frac": lambda x: x.frac(), "decimals": lambda x: torch.round(x, decimals=1), "hypot": lambda x, y: torch.hypot(x, y),
        "atan2": lambda x, y: torch.atan2(x, y), "copysign": lambda x, y: torch.copysign(x, y),
        "logaddexp": lambda x, y: torch.logaddexp(x, y), "xlogy": lambda x, p: torch.xlogy(x, p),
        "inplace": lambda x: x.clone().mul_(2).add_(1).relu_(), "to": lambda x, k: x.to(torch.int32) + k.to(torch.float64),
    },
    "functions": {
        **{n: (lambda p, n=n: getattr(torch, n)(p)) for n in (
            "exp", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos",
            "atan", "asinh", "atanh", "erf", "erfc", "sigmoid", "exp2", "lgamma", "digamma", "erfinv", "logit", "sinc")},
        **{n: (lambda x, n=n: getattr(f, n)(x)) for n in (
            "relu", "relu6", "silu", "gelu", "mish", "selu", "celu", "elu", "softplus", "hardswish", "hardsigmoid",
            "logsigmoid", "softsign", "tanhshrink", "softshrink", "hardshrink", "hardtanh", "leaky_relu", "glu")},
        "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"), "elu2": lambda x: f.elu(x, 0.5),
        "softplus2": lambda x: f.softplus(x, beta=3, threshold=1), "threshold": lambda x: f.threshold(x, 0.1, 2.0),
        "prelu": lambda image, v: f.prelu(image, v[:4]), "leaky": lambda x: f.leaky_relu(x, 0.2),
        "acosh": lambda p: torch.acosh(p + 1.5), "nan": lambda x: torch.nan_to_num(torch.log(x)),
        "isnan": lambda x: (torch.isnan(x.log()), torch.isinf(x / 0), torch.isfinite(x)),
        "where": lambda x, y, mask: torch.where(mask, x, y), "where0": lambda x: torch.where(x > 0, x, 0.0),
        "masked": lambda x, mask: x.masked_fill(mask, -1e9), "inf": lambda x, mask: x.masked_fill(mask, -math.inf).exp(),
        "compare": lambda x, y, k: (x > y, x <= 0.5, k == 2, k != 1, x >= y, x < y),
        "logic": lambda mask, k: (mask & (k > 0), mask | (k > 0), mask.logical_xor(k > 0), k.logical_not()),
    },
    "shapes": {
        "view": lambda x: x.view(2, -1), "reshape": lambda x: x.t().reshape(3, 8), "flatten": lambda image: image.flatten(1),
        "flat2": lambda image: image.flatten(1, 2), "unflatten": lambda x: x.unflatten(1, (2, 3)), "squeeze": lambda x: x[None].squeeze(0),
        "unsqueeze": lambda x: x.unsqueeze(-1), "permute": lambda image: image.permute(0, 2, 3, 1), "transpose": lambda b: b.transpose(1, 2),
        "expand": lambda v: v.expand(4, 6), "expand1": lambda v: v[None, :, None].expand(-1, -1, 3), "cat": lambda x, y: torch.cat([x, y], 1),
        "stack": lambda x, y: torch.stack([x, y], -1), "hstack": lambda x, y: torch.hstack([x, y]), "vstack": lambda x, y: torch.vstack([x, y]),
        "split": lambda x: x.split(4, 1), "sizes": lambda x: x.split([1, 2, 3], 1), "chunk": lambda x: x.chunk(3, 1),
        "unbind": lambda x: x.unbind(0), "slice": lambda x: x[1:, ::2], "neg": lambda x: x[:, -3:], "select": lambda x: x[:, 2],
        "narrow": lambda x: x.narrow(1, 1, 3), "none": lambda x: x[:, None, :], "dots": lambda image: image[..., 1:3],
        "diagonal": lambda x: x.diagonal(), "diag": lambda b: b.diagonal(1, 1, 2), "diag_embed": lambda v: torch.diag_embed(v),
        "unfold": lambda line: line.unfold(2, 3, 2), "repeat": lambda x: x.repeat(2, 1, 2), "tile": lambda x: x.tile(2),
        "interleave": lambda x: x.repeat_interleave(2, 1), "flip": lambda x: x.flip(1), "roll": lambda x: x.roll(2, 1),
        "rolls": lambda x: torch.roll(x, (1, -2), (0, 1)), "tril": lambda x: x.tril(), "triu": lambda b: b.triu(1),
        "meshgrid": lambda v, t: torch.meshgrid(v, t.float(), indexing="ij"), "pad": lambda x: f.pad(x, (1, 2)),
        "pad2": lambda image: f.pad(image, (1, 0, 2, 1), value=3.0), "cut": lambda image: f.pad(image, (-1, 0, 0, -2)),
        "reflect": lambda image: f.pad(image, (1, 2, 2, 1), mode="reflect"), "edge": lambda line: f.pad(line, (2, 1), mode="replicate"),
        "circular": lambda line: f.pad(line, (2, 1), mode="circular"), "shuffle": lambda image: f.pixel_shuffle(image, 2),
        "unshuffle": lambda image: f.pixel_unshuffle(image[:, :, :8], 2), "channels": lambda image: f.channel_shuffle(image, 2),
        "movedim": lambda image: image.movedim(1, -1), "set": lambda x, v: _set(x, v), "column": lambda x, t: _column(x, t),
        "ones": lambda x: (torch.ones_like(x), x.new_zeros(2, 3), torch.full((2,), 1.5), torch.zeros(3, dtype=torch.int64)),
        "arange": lambda x: (torch.arange(x.shape[1]), torch.arange(0, 1, 0.25), torch.linspace(0, 1, 5), torch.eye(3)),
        "detach": lambda x: x.detach() * x, "swap": lambda image: image.swapaxes(1, 2), "T": lambda x: x.T, "mT": lambda b: b.mT,
        "scatter": lambda x, y: torch.slice_scatter(x, y[:, :2], 1, 2, 4), "rot": lambda image: torch.rot90(image, 1, (2, 3)),
        "one_hot": lambda t: f.one_hot(t, 6), "triangle": lambda x: torch.tril_indices(3, 3), "window": lambda x: torch.hann_window(8),
    },
    "reductions": {
        "sum": lambda x: x.sum(), "sum1": lambda x: x.sum(1), "sumk": lambda image: image.sum((2, 3), keepdim=True), "mean": lambda x: x.mean(0),
        "means": lambda image: image.mean((2, 3)), "isum": lambda k: k.sum(1), "bsum": lambda mask: mask.sum(), "prod": lambda p: p.prod(1),
        "amax": lambda image: image.amax((2, 3)), "amin": lambda x: x.amin(1), "max": lambda x: x.max(), "maxd": lambda x: x.max(1),
        "mind": lambda x: x.min(0, keepdim=True), "argmax": lambda x: x.argmax(1), "argmin": lambda x: x.argmin(), "any": lambda mask: mask.any(1),
        "all": lambda mask: mask.all(), "count": lambda k: k.count_nonzero(1), "var": lambda x: x.var(1), "var0": lambda x: x.var(1, correction=0),
        "std": lambda x: x.std(0), "varmean": lambda x: torch.var_mean(x, 1), "norm": lambda x: x.norm(dim=1), "norm1": lambda x: x.norm(1, 1),
        "vector": lambda x: torch.linalg.vector_norm(x, 3, 1), "inf": lambda x: torch.linalg.vector_norm(x, math.inf, 1),
        "logsumexp": lambda x: x.logsumexp(1), "softmax": lambda x: x.softmax(1), "log_softmax": lambda b: b.log_softmax(1),
        "softmin": lambda x: f.softmin(x, 1), "cumsum": lambda x: x.cumsum(1), "cumprod": lambda p: p.cumprod(1), "icumsum": lambda k: k.cumsum(0),
        "cummax": lambda x: x.cummax(1), "sort": lambda x: x.sort(1), "argsort": lambda x: x.argsort(1, descending=True), "topk": lambda x: x.topk(3, 1),
        "smallest": lambda x: x.topk(2, 1, largest=False), "kth": lambda x: x.kthvalue(3, 1), "median": lambda x: x.median(1),
        "nansum": lambda x: torch.nansum(x.log(), 1), "dist": lambda x, y: torch.dist(x, y), "logcumsumexp": lambda x: x.logcumsumexp(1),
        "normalize": lambda x: f.normalize(x), "aminmax": lambda x: torch.aminmax(x, dim=1), "zero": lambda v: v[0].sum() + v[1].max(),
    },
    "indexing": {
        "embedding": lambda x, t: f.embedding(t, x.t()), "padding": lambda x, i: f.embedding(i, x.t(), padding_idx=2),
        "index": lambda x, t: x[:, t], "index2": lambda x, t: x[t % 4], "pair": lambda x, t: x[torch.arange(4), t], "list": lambda x: x[[2, 0, 1]],
        "index_select": lambda x, t: x.index_select(1, t), "gather": lambda x, i: x.gather(1, i), "along": lambda x, i: torch.take_along_dim(x, i, 1),
        "take": lambda x, t: torch.take(x, t), "scatter": lambda x, y, i: x.scatter(1, i[:, :1], y[:, :1]), "scatterv": lambda x, i: x.scatter(1, i[:, :1], 2.5),
        "scatter_add": lambda x, y, i: x.scatter_add(1, i, y[:, :5]), "reduce": lambda x, y, i: x.scatter_reduce(1, i, y[:, :5], "amax"),
        "index_add": lambda x, y, t: x.index_add(1, t, y[:, :4]), "index_copy": lambda x, y: x.index_copy(1, torch.tensor([3, 1]), y[:, :2]),
        "index_fill": lambda x: x.index_fill(1, torch.tensor([3, 1]), 0.5), "put": lambda x, v: x.index_put((torch.tensor([0, 2]), torch.tensor([1, 3])), v[:2]),
        "accumulate": lambda x, v: x.index_put((torch.tensor([0, 0]), torch.tensor([1, 1])), v[:2], accumulate=True),
        "maskput": lambda x, mask: _masked(x, mask), "searchsorted": lambda v, x: torch.searchsorted(v.sort()[0].detach(), x.detach()),
        "bucketize": lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0])), "isin": lambda k: torch.isin(k, torch.tensor([1, 2])),
        "masked_scatter": lambda x, y, mask: x.masked_scatter(mask, y), "between": lambda image: image[:, [1, 0], :, [2, 3]],
    },
    "products": {
        "matmul": lambda x, m: x @ m, "linear": lambda x, m, v: f.linear(x, m.t(), v[:5]), "bmm": lambda b, c: torch.bmm(b, c), "batch": lambda b, m: b @ m,
        "mv": lambda x, v: x @ v, "dot": lambda v: v.dot(v), "addmm": lambda x, m, v: torch.addmm(v[:5], x, m, beta=0.5, alpha=2),
        "baddbmm": lambda b, c: torch.baddbmm(c[:, :4], b, c), "outer": lambda v: torch.outer(v, v[:3]), "einsum": lambda b, c: torch.einsum("bij,bjk->bik", b, c),
        "heads": lambda q, r: torch.einsum("bhqd,bgkd->bhgqk", q, r), "tensordot": lambda b, m: torch.tensordot(b, m, dims=([2], [0])),
        "bilinear": lambda x, y, b: f.bilinear(x, y, b.new_ones(2, 6, 6) * b[0, 0, 0]), "cdist": lambda b: torch.cdist(b, b[:, :2] + 1),
        "cosine": lambda x, y: f.cosine_similarity(x, y), "distance": lambda x, y: f.pairwise_distance(x, y), "cross": lambda x, y: torch.linalg.cross(x[:, :3], y[:, :3]),
        "attention": lambda q: f.scaled_dot_product_attention(q, q, q), "causal": lambda q: f.scaled_dot_product_attention(q, q, q, is_causal=True),
        "groups": lambda q, r, s: f.scaled_dot_product_attention(q, r, s, enable_gqa=True),
        "masked": lambda q: f.scaled_dot_product_attention(q, q, q, attn_mask=torch.ones(5, 5).tril().bool(), scale=0.3),
        "added": lambda q, x: f.scaled_dot_product_attention(q, q, q, attn_mask=x[0, 0] * torch.ones(5, 5)),
    },
    "linalg": {
        "det": lambda g: torch.linalg.det(g), "slogdet": lambda g: torch.linalg.slogdet(g), "logdet": lambda g: torch.logdet(g @ g.mT), "inv": lambda g: torch.linalg.inv(g),
        "inverse": lambda g: g.inverse(), "inv_ex": lambda g: torch.linalg.inv_ex(g)[0], "solve": lambda g, b: torch.linalg.solve(g, b[:, :3, :2]), "solvev": lambda g, v: torch.linalg.solve(g, v.reshape(2, 3)),
        "right": lambda g: torch.linalg.solve(g, g + 1, left=False), "cholesky": lambda g: torch.linalg.cholesky(g @ g.mT + torch.eye(3)), "upper": lambda g: torch.linalg.cholesky(g @ g.mT + torch.eye(3), upper=True),
        "cholesky_solve": lambda g: torch.cholesky_solve(g + 1, torch.linalg.cholesky(g @ g.mT + torch.eye(3))), "qr": lambda g: torch.linalg.qr(g), "triangular": lambda g: torch.linalg.solve_triangular(g + 3 * torch.eye(3), g, upper=True),
        "unit": lambda g: torch.linalg.solve_triangular(g, g + 1, upper=False, unitriangular=True, left=False), "svdvals": lambda g: torch.linalg.svdvals(g), "eigvalsh": lambda g: torch.linalg.eigvalsh(g + g.mT),
        "eigh": lambda g: torch.linalg.eigh(g + g.mT)[1].abs(), "upperh": lambda g: torch.linalg.eigvalsh(g, UPLO="U"), "svd": lambda g: [p.abs() for p in torch.linalg.svd(g, full_matrices=False)], "power": lambda g: torch.linalg.matrix_power(g, 3),
        "exp": lambda g: torch.linalg.matrix_exp(g), "pinv": lambda g: torch.linalg.pinv(g), "chain": lambda g, c: torch.linalg.multi_dot([g[0], c[0, :3], g[1]]), "trace": lambda g: g[0].trace(), "itrace": lambda k: k.trace(),
        "fro": lambda g: torch.linalg.matrix_norm(g), "nuc": lambda g: torch.linalg.matrix_norm(g, "nuc"), "two": lambda g: torch.linalg.matrix_norm(g, 2, keepdim=True), "turned": lambda image: torch.linalg.matrix_norm(image, 1, dim=(3, 1)),
        "kron": lambda g, x: torch.kron(g[0], x), "blocks": lambda g, x, v: torch.block_diag(g[0], x, v), "cond": lambda g: torch.linalg.cond(g),
    },
    "spectra": {
        "fft": lambda g: torch.view_as_real(torch.fft.fft(g)), "rfft": lambda x: torch.fft.rfft(x, n=5).abs(), "irfft": lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=0), n=4, dim=0), "fft2": lambda g: torch.fft.fft2(g).real,
        "ifftn": lambda g: torch.fft.ifftn(torch.fft.fftn(g, norm="ortho")).imag, "shift": lambda x: torch.fft.ifftshift(torch.fft.fftshift(x), dim=1), "freq": lambda x: (torch.fft.fftfreq(6), torch.fft.rfftfreq(6, 0.5)),
        "rfft2": lambda g: torch.fft.irfft2(torch.fft.rfft2(g, norm="ortho"), s=(3, 3)), "sized": lambda b: torch.fft.rfftn(b, s=(-1, 5)).abs(), "angle": lambda x, p: torch.view_as_real(torch.complex(x, p) * torch.polar(p, x)), "conj": lambda g: (torch.fft.fft(g) * torch.fft.fft(g).conj()).real,
        "pairs": lambda c: torch.view_as_complex(c[:, :, :2].contiguous()).abs(), "stft": lambda x: torch.stft(x.reshape(2, 12), 4, hop_length=2, return_complex=True, center=False, window=torch.hann_window(4)).abs(), "conjugates": lambda x: x.conj(),
    },
    "windows": {
        "conv": lambda image, w: f.conv2d(image, w), "strided": lambda image, w, v: f.conv2d(image, w, v, stride=2, padding=1), "same": lambda image, w: f.conv2d(image, w, padding="same"),
        "dilated": lambda image, w: f.conv2d(image, w, dilation=2, padding=2), "depthwise": lambda image, w1: f.conv2d(image, w1, groups=4, padding=1),
        "grouped": lambda image, w: f.conv2d(image, w[:, :2], groups=2), "conv1": lambda line, w: f.conv1d(line, w[:, :, 0], padding=1),
        "conv3": lambda cube, w3: f.conv3d(cube, w3, stride=(1, 2, 1)), "one": lambda image, w: f.conv2d(image[0], w),
        "transposed": lambda image, wt: f.conv_transpose2d(image, wt, stride=2, padding=1, output_padding=1), "transposed1": lambda line, wt: f.conv_transpose1d(line, wt[:, :, 0], stride=3),
        "max": lambda image: f.max_pool2d(image, 2), "maxp": lambda image: f.max_pool2d(image, 3, 2, 1), "ceil": lambda image: f.max_pool2d(image, 3, 2, ceil_mode=True),
        "indices": lambda image: f.max_pool2d(image, 2, return_indices=True), "max1": lambda line: f.max_pool1d(line, 3), "dmax": lambda image: f.max_pool2d(image, 2, dilation=2),
        "avg": lambda image: f.avg_pool2d(image, 2), "avgp": lambda image: f.avg_pool2d(image, 3, 2, 1, count_include_pad=False), "avgc": lambda image: f.avg_pool2d(image, 3, 2, 1, ceil_mode=True),
        "avg1": lambda line: f.avg_pool1d(line, 3, 2), "avgd": lambda image: f.avg_pool2d(image, 2, divisor_override=3), "adaptive": lambda image: f.adaptive_avg_pool2d(image, (3, 5)),
        "adaptive1": lambda image: f.adaptive_avg_pool2d(image, 1), "amax": lambda image: f.adaptive_max_pool2d(image, (3, 4)), "unequal": lambda image: f.adaptive_max_pool2d(image, (4, 5), return_indices=True), "unequal1": lambda line: f.adaptive_max_pool1d(line, 4), "nearest": lambda image: f.interpolate(image, scale_factor=2),
        "bilinear": lambda image: f.interpolate(image, size=(5, 11), mode="bilinear"), "aligned": lambda image: f.interpolate(image, size=(5, 11), mode="bilinear", align_corners=True),
        "bicubic": lambda image: f.interpolate(image, scale_factor=1.5, mode="bicubic"), "linear": lambda line: f.interpolate(line, size=7, mode="linear"),
        "unfold": lambda image: f.unfold(image, 3, padding=1, stride=2), "fold": lambda image: f.fold(f.unfold(image, 3, padding=1), (9, 8), 3, padding=1),
        "grid": lambda image, q: f.grid_sample(image, torch.tanh(q[..., :2]) * 1.2, align_corners=False),
    },
    "norms": {
        "layer": lambda x, v: f.layer_norm(x, (6,), v, v), "layer2": lambda b: f.layer_norm(b, (4, 6)), "group": lambda image, v: f.group_norm(image, 2, v[:4], v[1:5]),
        "instance": lambda image: f.instance_norm(image), "rms": lambda x, v: f.rms_norm(x, (6,), v), "rms0": lambda x: f.rms_norm(x, (6,), eps=1e-3),
        "batch": lambda image, v, p: f.batch_norm(image, v[:4].detach(), p[0, :4].detach(), v[:4], v[2:6]), "stats": lambda image: f.batch_norm(image, None, None, training=True),
        "local": lambda image: f.local_response_norm(image, 3),
    },
    "losses": {
        "mse": lambda x, y: f.mse_loss(x, y), "l1": lambda x, y: f.l1_loss(x, y, reduction="sum"), "smooth": lambda x, y: f.smooth_l1_loss(x, y, beta=0.5), "huber": lambda x, y: f.huber_loss(x, y, delta=0.7),
        "cross": lambda x, t: f.cross_entropy(x, t), "smoothed": lambda x, t: f.cross_entropy(x, t, label_smoothing=0.1), "weighted": lambda x, t, p: f.cross_entropy(x, t, p[0].detach()),
        "ignored": lambda x, t: f.cross_entropy(x, t.masked_fill(t == 1, -100)), "chances": lambda x, p: f.cross_entropy(x, (p / p.sum(1, keepdim=True)).detach()),
        "planes": lambda c, i: f.cross_entropy(c, i[:2, :3]), "nll": lambda x, t: f.nll_loss(x.log_softmax(1), t), "bce": lambda p, mask: f.binary_cross_entropy(p, mask.float()),
        "logits": lambda x, mask: f.binary_cross_entropy_with_logits(x, mask.float()), "positive": lambda x, mask, v: f.binary_cross_entropy_with_logits(x, mask.float(), pos_weight=v.exp().detach()),
        "kl": lambda x, y: f.kl_div(x.log_softmax(1), y.softmax(1), reduction="batchmean"), "cosine": lambda x, y: f.cosine_embedding_loss(x, y, torch.ones(4)),
        "triplet": lambda x, y, p: f.triplet_margin_loss(x, y, p), "hinge": lambda x, mask: f.hinge_embedding_loss(x, mask.float() * 2 - 1),
        "poisson": lambda x, p: f.poisson_nll_loss(x, p), "margin": lambda x, t: f.multi_margin_loss(x, t),
    },
}  # fmt: skip


def _set(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[1] = v
    y[:, 2:4] *= 2
    return y


def _column(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    y = torch.zeros_like(x)
    y[torch.arange(4), t] = 1.0
    return y * x


def _masked(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[mask] = 0.0
    return y


class Cases(torch.nn.Module):
    """Cases as one module, which takes what they take."""

    def __init__(self, cases: dict[str, Case], names: list[str]) -> None:
        super().__init__()
        self.cases, self.names = cases, names

    def forward(self, *tensors: torch.Tensor) -> dict[str, Any]:
        held = dict(zip(self.names, tensors, strict=True))
        return {name: case(*(held[p] for p in parameters(case))) for name, case in self.cases.items()}


def parameters(case: Case) -> list[str]:
    """Return the names of what a case takes."""
    code = case.__code__
    return [n for n in code.co_varnames[: code.co_argcount] if n != "n"]


def flat(made: Any) -> list[torch.Tensor]:
    """Return the tensors of a result."""
    if isinstance(made, torch.Tensor):
        return [made]
    return [t for part in (made.values() if isinstance(made, dict) else made) for t in flat(part)]
