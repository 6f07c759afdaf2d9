"""``ctc_loss`` and cubic resizing against torch, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import loom
from loom import tensor

_RNG = np.random.default_rng(8)


def _case(kind: str = "f8") -> tuple[Any, ...]:
    logits = _RNG.normal(size=(9, 4, 5)).astype(kind)
    targets = np.array([[1, 2, 2], [3, 3, 3], [4, 1, 0], [2, 0, 0]])
    return logits, targets, [9, 5, 4, 9], [3, 3, 2, 0]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("blank", [0, 4])
def test_ctc_loss(reduction: str, blank: int) -> None:
    logits, targets, inputs, lengths = _case()
    targets = targets if blank == 0 else np.where(targets == 4, 0, targets)
    x, other = tensor.array(logits), torch.tensor(logits, requires_grad=True)
    found = tensor.ctc_loss(tensor.log_softmax(x), tensor.array(targets), inputs, lengths, blank=blank,
                            reduction=reduction)  # fmt: skip
    wanted = F.ctc_loss(other.log_softmax(-1), torch.tensor(targets), inputs, lengths, blank=blank, reduction=reduction)
    assert np.allclose(found.numpy(), wanted.detach().numpy(), rtol=1e-12)
    wanted.sum().backward()
    (slope,) = tensor.grad(found.sum(), [x])
    assert np.allclose(slope.numpy(), other.grad.numpy(), atol=1e-12)


def test_what_no_alignment_gives() -> None:
    logits, targets, _, lengths = _case("f4")
    x = tensor.array(logits)
    inputs = [2, 4, 9, 9]
    logs = tensor.log_softmax(x)
    found = tensor.ctc_loss(logs, targets, inputs, lengths, reduction="none")
    assert np.isinf(found.numpy()).tolist() == [True, True, False, False]
    zero = tensor.ctc_loss(logs, targets, inputs, lengths, reduction="none", zero_infinity=True)
    assert zero.numpy()[:2].tolist() == [0, 0]
    wanted = F.ctc_loss(torch.tensor(logits).log_softmax(-1), torch.tensor(targets), inputs, lengths, reduction="none")
    assert np.allclose(found.numpy()[2:], wanted.numpy()[2:], rtol=1e-5)
    (slope,) = tensor.grad(zero.sum(), [x])
    assert np.isfinite(slope.numpy()).all()
    assert (slope.numpy()[:, :2] == 0).all()


def test_ctc_loss_tells_what_is_wrong() -> None:
    logits, targets, inputs, lengths = _case("f4")
    logs = tensor.log_softmax(tensor.array(logits))
    for given, message in (
        ((logs[0], targets, inputs, lengths), "time, batch, classes"),
        ((logs, targets[:2], inputs, lengths), "targets"),
        ((logs, targets * 1.0, inputs, lengths), "not whole numbers"),
        ((logs, targets, inputs[:2], lengths), "input_lengths"), ((logs, targets + 2, inputs, lengths), "0 to 4"),
        ((logs, targets, [10] * 4, lengths), "0 to 9, got 10"), ((logs, targets, inputs, [4] * 4), "0 to 3, got 4"),
    ):  # fmt: skip
        with pytest.raises(loom.LoomError, match=message):
            tensor.ctc_loss(*given)
    with pytest.raises(loom.LoomError, match="blank"):
        tensor.ctc_loss(logs, targets, inputs, lengths, blank=5)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("size", [(7, 3), (4, 11), (1, 1), (5, 6)])
def test_cubic_resizing(size: tuple[int, int], aligned: bool) -> None:
    x = _RNG.normal(size=(2, 5, 6, 3))
    t, other = tensor.array(x), torch.tensor(x, requires_grad=True)
    found = tensor.interpolate(t, size, mode="bicubic", align_corners=aligned)
    wanted = F.interpolate(other.permute(0, 3, 1, 2), size, mode="bicubic", align_corners=aligned).permute(0, 2, 3, 1)
    assert np.allclose(found.numpy(), wanted.detach().numpy(), atol=1e-13)
    (wanted * wanted).sum().backward()
    (slope,) = tensor.grad((found * found).sum(), [t])
    assert np.allclose(slope.numpy(), other.grad.numpy(), atol=1e-12)
    scaled = tensor.interpolate(t, scale_factor=1.5, mode="bicubic")
    wanted = F.interpolate(other.permute(0, 3, 1, 2), scale_factor=1.5, mode="bicubic").permute(0, 2, 3, 1)
    assert np.allclose(scaled.numpy(), wanted.detach().numpy(), atol=1e-13)
