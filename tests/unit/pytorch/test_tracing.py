"""The module while it is traced: other threads keep it, functions of its own reach its weights, lengths stay free."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError
from loom.core.optional import has
from unit.pytorch import traced_modules

if not has("torch"):
    pytest.skip("PyTorch is not installed", allow_module_level=True)

import torch
from torch import nn


def numbers(x: torch.Tensor) -> np.ndarray[Any, Any]:
    return x.detach().numpy()


def test_other_threads_call_the_module_while_it_is_traced() -> None:
    module, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), torch.randn(3, 4)
    wanted, faults, done = module(x), list[str](), threading.Event()
    calls = 0

    def work() -> None:
        nonlocal calls
        while not done.is_set():
            try:
                if not torch.equal(module(x), wanted):
                    faults.append("other numbers")
            except Exception as error:
                faults.append(repr(error))
            calls += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        models = [loom.from_torch(module, x, on="interp") for _ in range(3)]
    finally:
        done.set()
        thread.join()
    assert calls > 3
    assert not faults, faults[:3]
    assert np.allclose(models[0](x), numbers(wanted), atol=1e-6)


@pytest.mark.parametrize("kind", ["method", "lambda", "forward"])
def test_weights_that_functions_reach_are_parameters(kind: str) -> None:
    module, x = traced_modules.Reaching(kind), torch.randn(2, 3)
    model = loom.from_torch(module, x, on="interp")
    assert not model.not_trained([])
    assert np.allclose(model(x), numbers(module(x)), atol=1e-6)
    before = model.state_dict()
    model.train(numbers(x), np.zeros((2, 3), np.float32), loss="mse", epochs=1, learning_rate=0.1)
    assert all((before[name] != a).any() for name, a in model.state_dict().items())


def test_a_module_that_nothing_copies_is_traced_itself() -> None:
    module, x = traced_modules.Unlike(3, 2), torch.randn(2, 3)
    assert np.allclose(loom.from_torch(module, x, on="interp")(x), numbers(module(x)), atol=1e-6)


def test_a_module_is_left_as_it_is() -> None:
    module, x = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)), torch.randn(4, 3)
    parts, before = list(module.modules()), {n: a.clone() for n, a in module.state_dict().items()}
    loom.from_torch(module, x, on="interp")
    assert [a is b for a, b in zip(module.modules(), parts, strict=True)] == [True] * 3
    assert all(torch.equal(a, before[n]) for n, a in module.state_dict().items())
    assert module.training


# lengths


def _three(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(n, 5, 8), torch.randn(n, 7, 8), torch.randn(n, 7, 8)


CROSS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], tuple[Any, ...]]]] = {
    "attention": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), _three),
    "decoder": (lambda: nn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True), lambda n: _three(n)[:2]),
    "transformer": (lambda: nn.Transformer(8, 2, 1, 1, 16, 0.0, batch_first=True), lambda n: _three(n)[:2]),
    "nested": (lambda: traced_modules.Named().eval(), lambda n: ({"q": _three(n)[0]}, _three(n)[1:])),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CROSS)
def test_the_batch_of_cross_attention_is_free(name: str) -> None:
    torch.manual_seed(3)
    make, example = CROSS[name]
    module = make().eval()
    model = loom.from_torch(module, example(2), on="cpu")
    assert not [note for note in model.notes if "lengths are fixed" in note]
    for n in (1, 2, 3):
        given = example(n)
        made, wanted = model(*given), module(*given)
        pairs = zip(made, wanted, strict=True) if isinstance(wanted, tuple) else [(made, wanted)]
        for a, b in pairs:
            assert a.shape == b.shape
            assert np.allclose(a, numbers(b), atol=1e-5)


def test_the_batch_of_cross_attention_may_be_named() -> None:
    module = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    free = {name: {0: "n"} for name in ("query", "key", "value")}
    model = loom.from_torch(module, _three(2), dynamic=free, training=False, on="interp")
    given = _three(4)
    assert np.allclose(model(*given)[0], numbers(module(*given)[0]), atol=1e-5)


def test_all_lengths_of_cross_attention_may_be_named() -> None:
    """It asks whether twice the batch is the batch, which no batch is."""
    module = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    free = {"query": {0: "n", 1: "q"}, "key": {0: "n", 1: "k"}, "value": {0: "n", 1: "k"}}
    model = loom.from_torch(module, _three(2), dynamic=free, training=False, on="interp")
    for n, q, k in ((4, 3, 9), (1, 6, 2), (2, 1, 5)):
        given = torch.randn(n, q, 8), torch.randn(n, k, 8), torch.randn(n, k, 8)
        assert np.allclose(model(*given)[0], numbers(module(*given)[0]), atol=1e-5)


@pytest.mark.parametrize(("guard", "holds"), [
    ("L['a'].size()[0] * 3 == L['b'][0].size()[1] * 3", True), ("(2*L['a'].size()[0]) != L['a'].size()[0]", True),
    ("2*L['a'].size()[0] > L['a'].size()[0]", True), ("2*L['a'].size()[0] <= L['a'].size()[0]", False),
    ("L['a'].size()[0] * 2 != L['a'].size()[1]", False), ("3*L['a'].size()[0] == 2*L['a'].size()[0]", False),
    ("L['a'].size()[0] // 2 == L['a'].size()[0] // 2", True),
    ("(L['a'].size()[0] % (2*L['a'].size()[0])) != 0", True), ("L['a'].size()[0] % 2 != 0", False),
    ("L['a'].size()[0] // 3 != 0", False), ("L['a'].size()[0] // 0 == 1", False),
    ("8*L['a'].size()[0]*L['a'].size()[1]*((4*L['a'].size()[0]) // L['a'].size()[0]) >= 2", True),
    ("L['a'].size()[0] >= 2", True), ("L['a'].size()[0] - 2 >= 0", True), ("L['a'].size()[0] - 2 > 0", False),
    ("L['a'].size()[0] - 3 >= 0", False),
    ("8*L['a'].size()[0] != max(1, (4*L['a'].size()[0]) // L['a'].size()[0])", True),
    ("L['a'].size()[0] == 3 or min(4, 2*L['a'].size()[0]) == 4", True), ("max(3, L['a'].size()[0]) >= 3", False),
    ("L['a'].size()[0] == 3 or L['a'].size()[0] != 3", False), ("L['a'].size()[0] > 1 and L['a'].size()[0] > 5", False),
    ("1 - L['a'].size()[0] < 0", True),
    ("L['a'].size()[0] * L['a'].size()[1] - L['a'].size()[0] > 0", True),
    ("2*L['c'].size()[0] == 2*L['c'].size()[0]", False),
    ("L['a'].size()[0] * L['a'].size()[1] >= L['a'].size()[1] * L['a'].size()[0]", True),
])  # fmt: skip
def test_conditions_that_follow_from_names(guard: str, holds: bool) -> None:
    import sympy

    from loom.pytorch.ranges import open_guards

    n, m = sympy.symbols("n m")
    assert open_guards([guard], {"a": (n, m), "b": [(4, n)]}) == ([] if holds else [guard])


def test_lengths_that_a_module_compares_are_not_free() -> None:
    class Squares(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if 3 * x.shape[0] == x.shape[0] * x.shape[1] else x * 3

    module, x = Squares(), torch.randn(4, 3)
    with pytest.raises(ArgumentError, match="lengths"):
        loom.from_torch(module, x, dynamic={"x": {0: "n", 1: "m"}})
    model = loom.from_torch(module, x, on="interp")
    assert np.array_equal(model(x), numbers(module(x)))
    assert np.array_equal(model(x[:3]), numbers(module(x[:3])))


# what PyTorch tells


@pytest.mark.parametrize("layers", [1, 2])
def test_last_states_of_an_lstm_as_older_releases_tell_them(monkeypatch: pytest.MonkeyPatch, layers: int) -> None:
    """torch 2.9 to 2.11 tell them with an axis too many, unless the batch is 1."""
    from torch._decomp import decompositions

    plain = decompositions.one_layer_lstm

    def older(*args: Any, **named: Any) -> Any:
        outputs, states = plain(*args, **named)
        return outputs, tuple(s.unsqueeze(0) if len(s) != 1 else s for s in states)

    monkeypatch.setattr(decompositions, "one_layer_lstm", older)
    module, x = nn.LSTM(4, 5, layers), torch.randn(3, 6, 4)
    model = loom.from_torch(module, x, on="interp")
    made, states = model(x)
    wanted, others = module(x)
    for a, b in zip((made, *states), (wanted, *others), strict=True):
        assert a.shape == b.shape
        assert np.allclose(a, numbers(b), atol=1e-6)
    assert decompositions.one_layer_lstm is older
