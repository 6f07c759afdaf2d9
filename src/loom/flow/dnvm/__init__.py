"""The older cross-platform names of networks: ``create_network_from_json``, ``forward_simple``, ``train_simple``, ...

Layer: flow, over ``loom.nn``. As there, one network is the current one: the one that the thread made or loaded last; in
a thread that made none, the one made last in any. Invariant: a name means what it meant there, computed by
``loom.Network``, and no thread takes another's network away.

Stability: stable.

>>> from loom.flow.dnvm import create_network_from_json, forward_simple
>>> _ = create_network_from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [
...     {"type": "dense", "output_size": 1}]})
>>> len(forward_simple([1.0, 2.0]))
1
"""

from loom.flow.dnvm import (
    adaptation,
    clusters,
    current,
    evaluation,
    gradients,
    grafts,
    grid,
    layers,
    models,
    numeric,
    schedulers,
    standard,
    step,
    telemetry,
    text,
    training,
    tweening,
)
from loom.flow.dnvm.adaptation import *  # noqa: F403
from loom.flow.dnvm.clusters import *  # noqa: F403
from loom.flow.dnvm.current import *  # noqa: F403
from loom.flow.dnvm.evaluation import *  # noqa: F403
from loom.flow.dnvm.gradients import *  # noqa: F403
from loom.flow.dnvm.grafts import *  # noqa: F403
from loom.flow.dnvm.grid import *  # noqa: F403
from loom.flow.dnvm.layers import *  # noqa: F403
from loom.flow.dnvm.models import *  # noqa: F403
from loom.flow.dnvm.numeric import *  # noqa: F403
from loom.flow.dnvm.schedulers import *  # noqa: F403
from loom.flow.dnvm.standard import *  # noqa: F403
from loom.flow.dnvm.step import *  # noqa: F403
from loom.flow.dnvm.telemetry import *  # noqa: F403
from loom.flow.dnvm.text import *  # noqa: F403
from loom.flow.dnvm.training import *  # noqa: F403
from loom.flow.dnvm.tweening import *  # noqa: F403

__all__: list[str] = []
__all__ += adaptation.__all__
__all__ += clusters.__all__
__all__ += current.__all__
__all__ += evaluation.__all__
__all__ += gradients.__all__
__all__ += grafts.__all__
__all__ += grid.__all__
__all__ += layers.__all__
__all__ += models.__all__
__all__ += numeric.__all__
__all__ += schedulers.__all__
__all__ += standard.__all__
__all__ += step.__all__
__all__ += telemetry.__all__
__all__ += text.__all__
__all__ += training.__all__
__all__ += tweening.__all__
