"""Modules that ask what their arguments are, drawn sizes and ties: what a stranger found wrong."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError

torch = pytest.importorskip("torch")
functional = torch.nn.functional


class _Call(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def _numbers(x):
    return x.detach().numpy()


def test_one_tensor_given_twice_is_two_arguments():
    """Attention asks whether its key is its query: an example of self-attention must not forget the others."""
    torch.manual_seed(0)
    x = torch.randn(2, 5, 6)
    module = torch.nn.MultiheadAttention(6, 2, batch_first=True).eval()
    model = loom.from_torch(module, (x, x, x), training=False)
    q, k, v = torch.randn(3, 2, 5, 6)
    assert np.allclose(model(q, k, v)[0], _numbers(module(q, k, v)[0]), atol=1e-6)
    assert np.allclose(model(q, q, q)[0], _numbers(module(q, q, q)[0]), atol=1e-6)


def test_forward_of_any_arguments_is_called_as_in_the_example():
    class Around(torch.nn.Module):
        def forward(self, x, *others):
            return x + others[0] * 2

    x = torch.randn(2, 3)
    model = loom.from_torch(Around(), (x, x + 1), training=False)
    assert np.array_equal(model(x, x * 3), _numbers(x + x * 3 * 2))
    with pytest.raises(ArgumentError, match="too many arguments"):
        model(x, x, x)


@pytest.mark.parametrize("factor", [0.3, 0.6, 0.7, 1.7, 2.3])
def test_nearest_places_of_drawn_factors_are_those_of_torch(factor):
    x = torch.arange(36.0).reshape(1, 1, 4, 9)
    module = _Call(lambda x: functional.interpolate(x, scale_factor=(1.0, factor), mode="nearest"))
    assert np.array_equal(loom.from_torch(module, x, training=False)(x), _numbers(module(x)))


def test_the_sign_of_nan_is_zero():
    x = torch.tensor([[1.0, float("nan"), float("-inf"), -0.0]])
    assert np.array_equal(loom.from_torch(_Call(torch.sign), x, training=False)(x), _numbers(torch.sign(x)))
    with pytest.raises(ArgumentError, match="matrices"):  # it was a ValueError of a name that is no number
        loom.from_torch(_Call(lambda x: torch.linalg.norm(x, "nuc", dim=(0, 1))), x, training=False)(x)


def test_gradients_of_embeddings_are_divided_by_how_often_rows_are_asked_for():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Embedding(5, 3, scale_grad_by_freq=True), torch.nn.Flatten())
    ids, y = torch.tensor([[0, 0, 3], [0, 1, 3]]), torch.randn(2, 9)
    model = loom.from_torch(module, ids)
    functional.mse_loss(module(ids), y).backward()
    wanted = _numbers(module[0].weight - module[0].weight.grad)
    model.train_batch(ids.numpy(), y.numpy(), loss="mse", optimizer="sgd", learning_rate=1.0)
    assert np.allclose(model.state_dict()["0.weight"], wanted, atol=1e-6)


def test_weights_go_into_no_other_module():
    model = loom.from_torch(torch.nn.Linear(6, 3), torch.zeros(2, 6), training=False)
    with pytest.raises(ArgumentError, match="size mismatch"):
        model.copy_into(torch.nn.Linear(6, 4))
