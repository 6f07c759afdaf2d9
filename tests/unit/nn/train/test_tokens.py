"""Training of sequences: windows of tokens, and the next token's cross-entropy, in which padding counts nowhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import ArgumentError, EmptyError, LoomError
from loom.nn.train import loss_of, token_windows


def network(**last: Any) -> loom.Network:
    layers = [{"type": "embedding", "vocab_size": 7, "embedding_dim": 8}, {"type": "dense", "output_size": 7, **last}]
    return loom.Network.from_json(
        {"format": "loom/1", "seed": 2, "input": {"shape": [5], "dtype": "i32"}, "layers": layers}
    )


def test_windows_hold_every_token_once() -> None:
    texts = [[1, 2, 3, 4, 5, 6, 1], [3], [2, 5], np.array([6, 5, 4], np.uint8)]
    x, y = token_windows(texts, 5, pad=6)
    assert x.tolist() == [[1, 2, 3, 4, 5], [6, 6, 6, 6, 6], [2, 6, 6, 6, 6], [6, 5, 6, 6, 6]]
    assert y.tolist() == [[2, 3, 4, 5, 6], [1, *[-100] * 4], [5, *[-100] * 4], [5, 4, *[-100] * 3]]
    x, y = token_windows(texts, 5, pack=True)
    joined = [int(t) for text in texts for t in text]
    assert y.reshape(-1)[: len(joined) - 1].tolist() == joined[1:]
    assert x.reshape(-1)[: len(joined) - 1].tolist() == joined[:-1]
    assert (y.reshape(-1)[len(joined) - 1 :] == -100).all()


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: token_windows([], 4), EmptyError),
        (lambda: token_windows([[1], []], 4), EmptyError),
        (lambda: token_windows([[1, -2]], 4), ArgumentError),
        (lambda: token_windows([[1.5, 2.0]], 4), ArgumentError),
        (lambda: token_windows([[[1, 2]]], 4), ArgumentError),
        (lambda: token_windows([[[1], [2, 3]]], 4), LoomError),
        (lambda: token_windows([["a", "b"]], 4), LoomError),
        (lambda: token_windows([[1, 2]], 0), LoomError),
        (lambda: token_windows("text", 4), LoomError),
    ],
)
def test_what_are_no_tokens_is_refused(call: Any, kind: Any) -> None:
    with pytest.raises(kind):
        call()


def test_the_loss_is_that_of_torch(on: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((3, 5, 7)).astype(np.float32), rng.integers(0, 7, (3, 5)).astype(np.int32)
    y[0, 2:] = -100
    held, given = tensor.parameter(x, on=on), torch.tensor(x, requires_grad=True)
    value = loss_of("next_token")(held, tensor.array(y, on=on))
    wanted = torch.nn.functional.cross_entropy(given.reshape(-1, 7), torch.tensor(y.reshape(-1), dtype=torch.long))
    wanted.backward()
    assert abs(value.item() - wanted.item()) < 1e-6
    gradient = tensor.grad(value, [held])[0].numpy()
    np.testing.assert_allclose(gradient, given.grad.numpy(), atol=1e-7)
    assert not gradient[0, 2:].any()
    nothing = loss_of("next_token")(held, tensor.array(np.full((3, 5), -100, np.int32), on=on))
    assert nothing.item() == 0  # torch: NaN


def test_padding_changes_neither_training_nor_measures() -> None:
    x = np.array([[1, 2, 3, 4, 5], [2, 3, 4, 5, 6]], np.int32)
    y = np.array([[2, 3, 4, -100, -100], [3, 4, -100, -100, -100]], np.int32)
    other = np.where(y == -100, 0, x)
    first, second = network(), network()
    for net, given in ((first, x), (second, other)):
        net.train(given, y, loss="next_token", epochs=3, learning_rate=0.5, progress=False)
    assert np.array_equal(first.weights()["layers.1.weight"], second.weights()["layers.1.weight"])
    found = first.evaluate(x, y, loss="next_token")
    said = first.forward(x).argmax(-1)
    assert found.accuracy == pytest.approx((said == y)[y != -100].mean())
    assert found.confusion is not None
    assert found.confusion.sum() == 5
    probable = network(activation="linear")
    assert probable.evaluate(x, y, loss="next_token").loss > 0


def test_what_the_loss_cannot_take_is_refused() -> None:
    x, y = np.zeros((2, 5), np.int32), np.full((2, 5), -100)
    for bad, text in (
        (y, "no token counts"),
        (y + 99, "out of range"),
        (y + 200, "out of range"),
        (y * 0.5, "classes"),
    ):
        with pytest.raises(ArgumentError, match=text):
            network().train(x, bad, loss="next_token", epochs=1, progress=False)
    with pytest.raises(ArgumentError, match="out of range"):
        network().train(x, y, loss="cross_entropy", epochs=1, progress=False)
    with pytest.raises(ArgumentError, match="means nothing"):
        network(activation="sigmoid").train(x, y * 0, loss="next_token", epochs=1, progress=False)
