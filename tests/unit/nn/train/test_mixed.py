"""Mixed precision: what is computed narrow and what is not; the loss scale; what cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, NotFinite
from loom.nn.train import Adam, TrainConfig

LAYERS = [{"type": "dense", "output_size": 6, "activation": "tanh"}, {"type": "dense", "output_size": 3}]


def _network(layers: Any = LAYERS, on: Any = "cpu", shape: tuple[int, ...] = (4,), **told: Any) -> loom.Network:
    document = {"format": "loom/1", "seed": 2, "input": {"shape": [*shape]}, "layers": layers, **told}
    return loom.Network.from_json(document, on=on)


def _samples(count: int = 16) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    return draw.standard_normal((count, 4)).astype(np.float32), draw.standard_normal((count, 3)).astype(np.float32)


@pytest.mark.parametrize("compute", ["bf16", pytest.param("f16", marks=pytest.mark.slow)])
def test_a_step_is_that_of_pytorch_with_narrow_copies(compute: str) -> None:
    """Weights and inputs rounded once, layers in the narrow type, loss, gradients of weights and update in f32."""
    torch = pytest.importorskip("torch")
    narrow = {"bf16": torch.bfloat16, "f16": torch.float16}[compute]
    net, (x, y) = _network(), _samples()
    w = {n: torch.tensor(a, requires_grad=True) for n, a in net.weights().items()}
    n = {name: a.to(narrow) for name, a in w.items()}
    hidden = torch.tanh(torch.from_numpy(x).to(narrow) @ n["layers.0.weight"] + n["layers.0.bias"])
    made = (hidden @ n["layers.1.weight"] + n["layers.1.bias"]).float()
    loss = ((made - torch.from_numpy(y)) ** 2).mean()
    loss.backward()
    history = net.train(x, y, batch_size=16, shuffle=False, learning_rate=0.5, compute=compute)
    near = {"bf16": 2e-2, "f16": 3e-3}[compute]
    assert history.loss[0] == pytest.approx(loss.item(), rel=near)
    for name, a in net.weights().items():
        step = w[name].grad.numpy() * 0.5
        assert a.dtype == np.float32
        assert np.abs(a - (w[name].detach().numpy() - step)).max() < near * np.abs(step).max(), name


def test_bits_are_those_of_narrow_copies_exactly() -> None:
    """The loss of the first step is that of a network whose arithmetic is bf16, with the same weights rounded."""
    x, y = _samples()
    net, narrow = _network(), _network(dtype="bf16")
    narrow.load_weights(net.weights())
    settings: dict[str, Any] = {"batch_size": 16, "shuffle": False, "learning_rate": 0.1}
    assert net.train(x, y, compute="bf16", **settings).loss == narrow.train(x, y, **settings).loss
    for name, a in narrow.weights().items():  # masters keep what the narrow weights round away
        assert not np.array_equal(a.astype(np.float32), net.weights()[name])
        assert np.abs(a.astype(np.float32) - net.weights()[name]).max() < 0.01


def test_bits_are_the_same_on_every_device(on: Any) -> None:
    """Of steps that are skipped and steps that are not; a ``scale`` layer sees its numbers as they are."""
    x, y = _samples()
    layers = [{"type": "scale"}, {"type": "dense", "output_size": 3}]
    nets = [_network(layers, on=device) for device in ("interp" if on == "cpu" else "cpu", on)]
    for net in nets:
        history = net.train(
            x + 5000, y * 8, epochs=5, batch_size=16, optimizer="adam", compute="f16", loss_scale=2.0**17
        )
        assert 0 < sum(history.skipped) < 5
    assert nets[0].digest() == nets[1].digest()
    assert np.isclose(nets[0].weights()["layers.0.shift"], 5000, atol=1).all()


def test_a_step_that_overflows_is_skipped_and_halves_the_scale() -> None:
    net, (x, y) = _network(), _samples()
    before = net.digest()
    history = net.train(x, y * 3000, batch_size=16, optimizer="adam", compute="f16", loss_scale=2.0**24)
    assert history.skipped == [1]
    assert net.digest() == before
    state = net.training.arrays  # type: ignore[union-attr]
    assert state["state/loss_scale"] == 2.0**23
    assert state["state/skipped_steps"] == 1
    assert state["state/power.beta1"] == 1.0
    assert state["state/step"] == 1
    more = net.train(x, y * 3000, batch_size=16, optimizer="adam", compute="f16", loss_scale=2.0**24, epochs=30)
    assert 1 < sum(more.skipped) < 30
    assert more.skipped[-1] == 0
    assert net.digest() != before
    assert more.loss[-1] < more.loss[0]


def test_the_scale_changes_no_bit_where_nothing_is_lost() -> None:
    x, y = _samples()
    digests = set()
    for scale in (2.0**10, 2.0**12):
        net = _network([{"type": "dense", "output_size": 3}])
        net.train(x, y, epochs=3, batch_size=8, compute="f16", loss_scale=scale)
        digests.add(net.digest())
    assert len(digests) == 1


def test_small_gradients_need_the_scale() -> None:
    """A gradient of 2^-30 reaches no weight in f16 without it."""
    x = np.ones((2, 4), np.float32)
    moved = {}
    for scale in (1.0, 65536.0):
        net = _network([{"type": "dense", "output_size": 1, "bias": False}])
        net.load_weights({"layers.0.weight": np.zeros((4, 1))})
        net.train(
            x, np.full((2, 1), 2.0**-30, np.float32), batch_size=2, learning_rate=1.0, compute="f16", loss_scale=scale
        )
        moved[scale] = net.weights()["layers.0.weight"].max()
    assert moved == {1.0: 0.0, 65536.0: 2.0**-29}


def test_accumulated_batches_and_resuming_keep_the_bits() -> None:
    x, y = _samples(32)
    settings: dict[str, Any] = {"batch_size": 8, "accumulate": 2, "optimizer": "adam", "compute": "f16",
                                "loss_scale": 2.0**24}  # fmt: skip
    whole = _network()
    whole.train(x, y * 500, epochs=4, **settings)
    first = _network()
    first.train(x, y * 500, epochs=2, **settings)
    again = loom.Network.load(first.save())
    history = again.train(x, y * 500, epochs=4, resume=True, **settings)
    assert again.digest() == whole.digest()
    assert len(history.skipped) == 4
    with pytest.raises(Exception, match="compute"):
        loom.Network.load(first.save()).train(x, y * 500, epochs=4, resume=True, **{**settings, "compute": "bf16",
                                                                                    "loss_scale": None})  # fmt: skip


def test_running_means_stay_f32() -> None:
    net = _network([{"type": "batch_norm"}, {"type": "flatten"}], shape=(2, 3))
    x = np.random.default_rng(1).standard_normal((8, 2, 3)).astype(np.float32)
    net.train(x, np.arange(8) % 6, batch_size=8, compute="bf16")
    found = net.weights()["layers.0.running_mean"]
    assert found.dtype == np.float32
    assert (found.view(np.uint32) & 0xFFFF).any()


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"compute": "f8"}, "expected 'f16', 'bf16', or None for f32, got 'f8'"),
        ({"compute": 16}, "not a type to compute in"),
        ({"compute": "bf16", "loss_scale": 2.0}, "has no effect but in f16"),
        ({"loss_scale": 2.0}, "has no effect but in f16"),
        ({"compute": "f16", "loss_scale": 3.0}, "a power of two"),
        ({"compute": "f16", "loss_scale": 2.0**25}, "a power of two from 1 to 2**24"),
        ({"compute": "f16", "loss_scale": 0}, "loss_scale"),
        ({"compute": "f16", "loss_scale": float("nan")}, "loss_scale"),
    ],
)
def test_settings_without_sense_are_refused(told: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError) as found:
        TrainConfig(**told)
    assert text in str(found.value)


def test_networks_of_other_types_have_no_masters() -> None:
    x, y = _samples()
    for dtype in ("f64", "bf16", "f16"):
        with pytest.raises(ArgumentError, match="no masters for bf16"):
            _network(dtype=dtype).train(x, y, compute="bf16")


def test_a_training_that_f16_cannot_hold_is_told() -> None:
    net, (x, y) = _network(), _samples()
    with pytest.raises(NotFinite, match="no update of this epoch has gradients that f16 holds"):
        net.train(x, y * 1e9, batch_size=16, epochs=30, compute="f16")


def test_names_of_types_and_the_config() -> None:
    assert TrainConfig(compute="bfloat16").compute == TrainConfig(compute=loom.bf16).compute == "bf16"
    assert TrainConfig(compute="f32").compute is None
    assert TrainConfig(compute="f16").first_loss_scale == 65536.0
    assert "compute" not in TrainConfig().facts()
    assert TrainConfig(compute="f16", optimizer=Adam()).facts()["loss_scale"] == "65536.0"


def test_the_scale_doubles_after_enough_sound_steps_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the rule, a step after the other: what is skipped begins the count anew, and there is a least and a most."""
    from loom import tensor
    from loom.nn.train import lossscale

    monkeypatch.setattr(lossscale, "INTERVAL", 3)
    for first in (2.0**10, 2.0**23, 2.0):
        scale, taken = lossscale.LossScale(first, None), tensor.input("taken", (), "bool")
        program = tensor.compile([], updates=scale.next(taken))
        wanted, sound, skipped = first, 0, 0
        for is_taken in (1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1):
            program.run(taken=np.bool_(is_taken))
            sound = (sound + 1) * is_taken
            wanted, skipped = wanted if is_taken else max(wanted / 2, 1.0), skipped + 1 - is_taken
            if sound == 3:
                wanted, sound = min(wanted * 2, 2.0**24), 0
            found = [scale.state[n].item() for n in ("loss_scale", "sound_steps", "skipped_steps")]
            assert found == [wanted, sound, skipped]
        scale.restart()
        assert scale.state["loss_scale"].item() == first
