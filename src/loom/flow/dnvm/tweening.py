"""The older name of neural tweening: ``TweenState`` of the current network.

Layer: flow, over ``loom.nn.tween``. Invariant: a state stays with the network that was current when it was made.

>>> from loom.flow.dnvm import TweenState, create_network_from_json
>>> _ = create_network_from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [
...     {"type": "dense", "output_size": 3}]})
>>> state = TweenState(use_chain_rule=True)
>>> first = state.step([1.0, 0.5], 2, 3, 0.05)
>>> state.step([1.0, 0.5], 2, 3, 0.05) < first
True
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import flag
from loom.flow.dnvm.current import current_network
from loom.flow.dnvm.reading import read_samples
from loom.nn.network import Network
from loom.nn.spec.base.shapes import count
from loom.nn.train.scalars import whole
from loom.nn.tween import TweenConfig
from loom.nn.tween import TweenState as State

__all__ = ["TweenState"]


class NetworkTween:
    """Tweening of the current network, one sample at a time.

    ``use_chain_rule``: the mode ``tween_chain``, else ``tween``, target gaps: there both were the first. ``step_mode``:
    tick by tick. ``config``: settings of ``loom.nn.tween``; ``state``: its state, which tells link budgets.
    """

    def __init__(
        self, use_chain_rule: bool = True, *, step_mode: bool = False, config: TweenConfig | None = None
    ) -> None:
        where = "TweenState"
        mode = "tween_chain" if flag(use_chain_rule, f"{where}, use_chain_rule") else "tween"
        mode = f"step_{mode}" if flag(step_mode, f"{where}, step_mode") else mode
        self.network: Network = current_network()
        self.state: State = self.network.tween(mode, config)

    def step(self, values: Any, target_class: int, output_size: int, rate: float = 0.01) -> float:
        """Move the network towards 1 at ``target_class`` and 0 elsewhere; return the sum of squared gaps before.

        ``values``: one sample, flat; ``output_size``: the elements of the output, ShapeError if it has others.
        """
        where = "TweenState.step"
        x = read_samples(self.network, values, where)
        shape = self.network.outputs[self.network.spec.outputs[0]].shape
        size = whole(f"{where}, output_size", output_size, least=1)
        if len(x) != 1 or count(shape) != size:
            raise ShapeError(where, "not one sample and the output's size", expected=f"1 and {count(shape)}",
                             got=f"{len(x)} and {size}", remedy="Pass one sample; or use network.tween")  # fmt: skip
        chosen = whole(f"{where}, target_class", target_class, least=0)
        if chosen >= size:
            raise ArgumentError(f"{where}, target_class", "a class out of range", expected=f"0 to {size - 1}",
                                got=chosen, remedy="Number classes from 0")  # fmt: skip
        target = np.zeros((1, size), np.float32)
        target[0, chosen] = 1
        return self.state.step(x, target.reshape(1, *shape), rate)


TweenState = NetworkTween
