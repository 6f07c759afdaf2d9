"""The older name and arguments of tweening in ``loom.flow.dnvm``."""

from __future__ import annotations

import numpy as np
import pytest

from loom import Network
from loom.core.errors import ArgumentError, ShapeError
from loom.flow.dnvm import TweenState, create_network_from_json

LAYERS = [{"type": "dense", "output_size": 4, "activation": "tanh"}, {"type": "dense", "output_size": 3}]
DOCUMENT = {"format": "loom/1", "seed": 1, "input": {"shape": [2]}, "layers": LAYERS}


@pytest.mark.parametrize(("use_chain_rule", "mode"), [(True, "tween_chain"), (False, "tween")])
def test_steps_are_those_of_the_mode(use_chain_rule: bool, mode: str) -> None:
    net, same = create_network_from_json(DOCUMENT), Network.from_json(DOCUMENT)
    older, plain = TweenState(use_chain_rule), same.tween(mode)
    before = net.forward([1.0, -1.0])
    loss = older.step([1.0, -1.0], 2, 3, 0.5)
    assert loss == pytest.approx(((np.array([0, 0, 1]) - before) ** 2).sum(), rel=1e-5)
    assert loss == plain.step([1.0, -1.0], 2, 0.5)
    assert net.digest() == same.digest()


def test_bad_steps_are_told() -> None:
    net = create_network_from_json(DOCUMENT)
    state, before = TweenState(), net.digest()
    with pytest.raises(ShapeError, match="output's size"):
        state.step([1.0, 1.0], 0, 4, 0.1)
    with pytest.raises(ShapeError, match="output's size"):
        state.step([1.0, 1.0, 2.0, 2.0], 0, 3, 0.1)
    with pytest.raises(ArgumentError, match="out of range"):
        state.step([1.0, 1.0], 3, 3, 0.1)
    assert net.digest() == before
