"""What an import keeps, and what it refuses by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import loom
from loom import LoomError, pytorch, tensor
from unit.pytorch import odd_modules, torch_modules


def _model(training: bool = True) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    module = odd_modules.Tied()
    return module, pytorch.from_torch(module, torch.zeros(1, 4, dtype=torch.int64), training=training, on="cpu")


def test_tied_weights_stay_one_and_what_is_without_gradients_has_none() -> None:
    module, model = _model()
    assert model.inputs[0].shape == ("batch", 4)
    assert set(model.parameters) == {"words.weight", "unused.weight", "unused.bias"}
    assert list(model.state_dict()) == list(module.state_dict())
    assert model.not_trained(()) == {"unused.weight", "unused.bias"}
    ids = np.arange(8).reshape(2, 4)
    y = model(tensor.array(ids, on="cpu"))
    (slope,) = tensor.grad(y.sum(), [model.parameters["words.weight"]])
    module.eval()(torch.from_numpy(ids)).sum().backward()
    assert np.allclose(slope.numpy(), module.words.weight.grad.numpy(), atol=1e-5)
    assert not any(p.training for p in module.modules())


def _drawn(model: Any, step: int) -> np.ndarray[Any, Any]:
    x = tensor.array(np.arange(8).reshape(2, 4), on="cpu")
    made: np.ndarray[Any, Any] = model.apply(x, training=True, step=tensor.array(np.uint32(step), on="cpu")).numpy()
    return made


def test_dropout_is_drawn_anew_by_seed_and_step_alone() -> None:
    module, model = _model()
    assert np.array_equal(_drawn(model, 1), _drawn(model, 1))
    assert not np.array_equal(_drawn(model, 1), _drawn(model, 2))
    assert module.training


@pytest.mark.slow
def test_what_dropout_leaves_has_the_mean_of_all() -> None:
    _, model = _model()
    mean = np.mean([_drawn(model, n) for n in range(200)], 0)
    assert np.allclose(mean, model(np.arange(8).reshape(2, 4)), atol=0.6)


def test_an_output_is_trained_without_the_inputs_and_weights_of_others() -> None:
    zeros, x = torch.zeros(2, 3), np.ones((4, 3), "f4")
    model = pytorch.from_torch(odd_modules.Branches(), (zeros, zeros), on="cpu")
    before, name = model.weights(), model.outputs[0].name
    given = {i.name: x for i in model.inputs}
    losses = model.train(given, {name: x[:, :2]}, optimizer="adamw", learning_rate=0.1, epochs=2).loss
    assert losses[1] < losses[0]
    assert [n for n, w in model.weights().items() if np.array_equal(w, before[n])] == ["other.weight", "other.bias"]


def test_structures_come_as_they_went() -> None:
    module, _ = _model(training=False)
    ids, more = torch.zeros(2, 4, dtype=torch.int64), (torch.ones(2, 4), 0.5)
    model = pytorch.from_torch(module, (ids, more), training=False, on="cpu")
    found, expected = model(ids, more), module.eval()(ids, more)
    assert np.allclose(found["sum"][1], expected["sum"][1].detach().numpy())
    assert np.allclose(found["sum"][0], expected["sum"][0].detach().numpy(), atol=1e-5)
    with pytest.raises(LoomError, match=r"was another when the module was imported: expected 0\.5, got 0\.25"):
        model(ids, (torch.ones(2, 4), 0.25))


def test_a_model_is_saved_and_goes_on_without_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, (x, y) = torch_modules.ResNetBlock(), torch_modules.samples("resnet block", 16)
    model = pytorch.from_torch(module, torch.zeros(2, 3, 8, 8), on="cpu")
    settings: dict[str, Any] = {"loss": "cross_entropy", "batch_size": 8, "learning_rate": 0.05}
    model.train(x, y, epochs=1, **settings)
    model.save(tmp_path / "a.safetensors")
    again = pytorch.load(tmp_path / "a.safetensors", on="cpu")
    for each in (model, again):
        each.train(x, y, epochs=2, resume=True, **settings)
    assert model.digest() == again.digest()
    assert np.array_equal(model(x), again(x))
    model.copy_into(module)
    assert np.allclose(model(x), module.eval()(torch.from_numpy(x)).detach().numpy(), atol=1e-5)
    assert module.bn1.num_batches_tracked.item() == 4
    torch.save(module.state_dict(), tmp_path / "w.pt")
    again.load_state_dict(tmp_path / "w.pt")
    assert again.digest() == model.digest()
    torch.save(nn.Linear(2, 2), tmp_path / "code.pt")
    with pytest.raises(LoomError, match="holds more than weights"):
        again.load_state_dict(tmp_path / "code.pt")
    with pytest.raises(LoomError, match="a file of weights tells no module"):
        pytorch.from_torch(tmp_path / "w.pt", torch.zeros(1))


def test_bits_are_those_of_the_processor(on: str) -> None:
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.LayerNorm(4)), np.linspace(-1, 1, 15).reshape(3, 5)
    y, found = np.arange(3), []
    for device in ("cpu", on):
        model = pytorch.from_torch(module, torch.zeros(3, 5), on=device)
        model.train(x.astype("f4"), y, loss="cross_entropy", optimizer="adam", batch_size=3, epochs=2)
        found.append((model.digest(), model(x.astype("f4")).tobytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "name", [
        pytest.param("bfloat16", id="dtype0"), pytest.param("float16", marks=pytest.mark.slow, id="dtype1"),
        pytest.param("float64", marks=pytest.mark.slow, id="dtype2"),
    ],
)  # fmt: skip
def test_other_dtypes_run(name: str) -> None:
    dtype = getattr(torch, name)
    torch.manual_seed(0)
    module = nn.Linear(3, 2).to(dtype)
    x = torch.randn(4, 3).to(dtype)
    made = pytorch.from_torch(module, x, training=False, on="cpu")(tensor.array(x.float().numpy(), on="cpu").astype(
        {"float16": "f16", "bfloat16": "bf16", "float64": "f64"}[name]))  # fmt: skip
    assert np.allclose(made.astype("f64").numpy(), module(x).detach().double().numpy(), rtol=2e-2, atol=1e-2)


def test_a_derivative_of_its_own_is_not_lost_in_silence() -> None:
    model = pytorch.from_torch(odd_modules.Through(odd_modules.Straight.apply), torch.zeros(2, 3), on="cpu")
    x = np.ones((2, 3), "f4")
    assert np.array_equal(model(x), model(x).round())
    with pytest.raises(LoomError, match=r"Straight is an autograd\.Function with a derivative of its own"):
        model.train(x, x, loss="mse")


def _hooked() -> nn.Module:
    module = nn.Linear(3, 3)
    module.register_forward_hook(lambda *_: None)
    return module


def _overlapping() -> nn.Module:
    module, held = nn.Module(), torch.zeros(6)
    module.a, module.b = nn.Parameter(held), nn.Parameter(held[2:])
    return module


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (_hooked, "a forward hook, which no graph keeps"),
        (_overlapping, "'a' and 'b' share memory but are two parameters"),
        pytest.param(
            lambda: odd_modules.Through(lambda x: x if x.sum() > 0 else -x),
            "Could not guard on data-dependent expression",
            marks=pytest.mark.slow,
        ),
        (
            lambda: odd_modules.Through(torch.special.bessel_j0),
            "no such operators in docs/guide/from-torch.md: prims.bessel_j0",
        ),
        (lambda: 3, "not a module"),
        pytest.param(
            lambda: torch.jit.script(nn.Linear(3, 3)), "a compiled TorchScript module", marks=pytest.mark.slow
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_what_is_lost_is_refused(module: Any, told: str) -> None:
    with pytest.raises(LoomError, match=told):
        loom.from_torch(module(), torch.zeros(2, 3))


def test_what_a_model_does_not_take_is_told() -> None:
    model = pytorch.from_torch(nn.Linear(3, 2), torch.zeros(2, 3), on="cpu")
    x = np.zeros((2, 3), "f4")
    for call, told in (
        (lambda: model(x[:, :2]), "has another shape: expected"),
        (lambda: model(x.astype("f8")), "has another dtype: expected f32, got f64"),
        (model, "'input' is missing"),
        (lambda: model.train(x, np.zeros(2, int) + 5, loss="cross_entropy"), "a class out of range"),
        (lambda: model.train(x, x[:, :2], loss="mse", compute="f16"), "a graph has its own dtypes"),
        (lambda: model.load_state_dict({"weight": x[:2]}), "'bias' is missing"),
    ):
        with pytest.raises(LoomError, match=told):
            call()
