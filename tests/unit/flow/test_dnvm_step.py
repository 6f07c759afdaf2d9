"""Step mode under the older names: the listing of the documents (004, Stepping API), and what is told of misuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom.core.errors import LoomError
from loom.flow.dnvm import (
    StepState,
    apply_gradients,
    apply_gradients_adamw,
    apply_gradients_rmsprop,
    apply_gradients_sgd_momentum,
    create_network_from_json,
    forward_simple,
)

CONFIG = {"batch_size": 1, "layers": [
    {"type": "dense", "input_size": 4, "output_size": 8, "activation": "tanh"},
    {"type": "dense", "input_size": 8, "output_size": 2, "activation": "sigmoid"}]}  # fmt: skip
TARGET = [0.1, 0.9]


def test_the_listing() -> None:
    config, target = CONFIG, TARGET

    # Create network
    create_network_from_json(config)

    # Initialize stepping state
    state = StepState(input_size=4)

    # Training loop
    for _step in range(300):  # 100000 there
        state.set_input([0.1, 0.2, 0.1, 0.3])
        state.step_forward()
        output = state.get_output()

        # Calculate gradients
        gradients = [output[i] - target[i] for i in range(len(output))]

        # Backward pass
        state.step_backward(gradients)

        # Update weights
        apply_gradients(learning_rate=0.5)  # 0.01 there

    assert np.abs(np.array(forward_simple([0.1, 0.2, 0.1, 0.3])) - target).max() < 0.05


@pytest.mark.parametrize(
    "apply",
    [
        lambda: apply_gradients_adamw(0.01, 0.9, 0.999, 0.01),
        lambda: apply_gradients_rmsprop(0.01, 0.99, 1e-8, 0.5),
        lambda: apply_gradients_sgd_momentum(0.1, 0.9, 0.1, True),
    ],
)
def test_updates(apply: Callable[[], Any]) -> None:
    create_network_from_json(CONFIG)
    state, away = StepState(8), list[float]()
    for _ in range(100):
        state.set_input([0.1, 0.2, 0.1, 0.3] * 2)
        assert state.step_forward() > 0
        gradients = np.array(state.get_output()) - TARGET * 2
        away.append(np.abs(gradients).max())
        told = state.step_backward(gradients)
        assert len(told["grad_input"]) == 8
        assert told["duration"] > 0
        apply()
    assert away[-1] < 0.5 * away[2]


def test_misuse_is_told() -> None:
    create_network_from_json(CONFIG)
    with pytest.raises(LoomError, match="multiple of 4"):
        StepState(6)
    with pytest.raises(LoomError, match="no gradients"):
        apply_gradients(0.1)
    state = StepState(4)
    with pytest.raises(LoomError, match="nothing was computed"):
        state.step_backward([0, 0])
    with pytest.raises(LoomError, match="another number"):
        state.set_input([1, 2, 3])
    state.step_forward()
    state.step_backward([1, 1])
    create_network_from_json(CONFIG)
    with pytest.raises(LoomError, match="no gradients of the current network"):
        apply_gradients(0.1)
