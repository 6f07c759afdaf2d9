"""Modules that ask what their arguments are, drawn sizes and ties: what a stranger found wrong."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, ShapeError

torch = pytest.importorskip("torch")
functional = torch.nn.functional
from unit.pytorch.torch_modules import MODULES, samples  # noqa: E402


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


def _by_rows(least, modulus=None):
    return _Call(lambda x: x * 2 if (x.shape[0] % modulus == 0 if modulus else x.shape[0] >= least) else x)


def test_lengths_outside_of_their_ranges_are_refused(tmp_path):
    x, dim = torch.ones(6, 3), torch.export.Dim
    for free in (dim.AUTO, dim("b", min=4)):
        model = loom.from_torch(_by_rows(4), x, dynamic={"x": {0: free}}, training=False)
        assert np.array_equal(model(torch.ones(9, 3)), np.full((9, 3), 2, "f4"))
        model.save(tmp_path / "m.safetensors")
        for each in (model, loom.pytorch.load(tmp_path / "m.safetensors")):
            with pytest.raises(ShapeError, match="4 or more"):
                each(torch.ones(3, 3))
    model = loom.from_torch(_Call(torch.relu), x, dynamic={"x": {0: dim("b", max=7)}}, training=False)
    with pytest.raises(ShapeError, match="0 to 7"):
        model(torch.ones(9, 3))
    with pytest.raises(ArgumentError, match="no range tells"):
        loom.from_torch(_by_rows(0, 2), x, dynamic={"x": {0: dim.AUTO}}, training=False)


def test_a_batch_of_one_that_goes_another_way_is_refused():
    x = torch.ones(4, 3)
    for function in (lambda x: x * 2 if x.shape[0] == 1 else x, lambda x: x.squeeze()):
        model = loom.from_torch(_Call(function), x, training=False)
        assert np.array_equal(model(x), x.numpy())
        with pytest.raises(ShapeError, match="dynamic=False"):
            model(x[:1])
        fixed = loom.from_torch(_Call(function), x[:1], dynamic=False, training=False)
        assert np.array_equal(fixed(x[:1]), _numbers(function(x[:1])))


@pytest.mark.parametrize("name", ["perceptron", "lenet", "transformer block"])
def test_a_batch_of_one_of_ordinary_modules(name):
    x, _ = samples(name, 4)
    module = MODULES[name]().eval()
    found = loom.from_torch(module, x, training=False)(x[:1])
    assert np.allclose(found, _numbers(module(torch.from_numpy(x[:1]))), atol=1e-5)
