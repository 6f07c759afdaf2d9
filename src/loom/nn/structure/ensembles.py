"""Ensembles: which models make up for each other's mistakes, and one network of them.

Layer: nn. Invariant: choices depend on the masks alone; of equals the first by name is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.core.numbers import real, whole
from loom.nn.network import Network
from loom.nn.structure.build import require_network
from loom.nn.structure.grafting import GraftPlan, join
from loom.nn.train.measures import classes_said
from loom.runtime.port.device import Device

__all__ = ["EnsembleMatch", "correct_mask", "cover", "ensemble", "match_ensembles"]


@dataclass(frozen=True, slots=True)
class EnsembleMatch:
    """Two models: the shares of samples that one of them (``coverage``) and that both (``overlap``) get right."""

    model_a: str
    model_b: str
    coverage: float
    overlap: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields under the names of the first generation."""
        return {"ModelA": self.model_a, "ModelB": self.model_b, "Coverage": self.coverage, "Overlap": self.overlap}


def match_ensembles(masks: Mapping[str, Any], min_coverage: float = 0.0) -> list[EnsembleMatch]:
    """Return pairs of models by the samples they get right, best first: most coverage, then least overlap.

    Args:
        masks: Truths by the name of each model, one for each sample.
        min_coverage: Least coverage of the pairs that are given, from 0 to 1.

    Raises:
        ArgumentError: Less than two masks, or not truths of as many samples; not a share.

    >>> match_ensembles({"a": [True, True, False], "b": [False, True, True]})[0].coverage
    1.0
    """
    where = "loom.nn.structure.match_ensembles"
    found, least = _masks(masks, where, least=2), real(min_coverage, f"{where}, min_coverage", least=0, most=1)

    def share(right: Array) -> float:
        return int(np.count_nonzero(right)) / len(right)

    pairs = [
        EnsembleMatch(a, b, share(found[a] | found[b]), share(found[a] & found[b])) for a, b in combinations(found, 2)
    ]
    kept = [p for p in pairs if p.coverage >= least]
    return sorted(kept, key=lambda p: (-p.coverage, p.overlap))


def cover(masks: Mapping[str, Any], most: int | None = None) -> list[str]:
    """Return models that together get as many samples right as can be had so: each adds most to those before.

    Args:
        masks: Truths by the name of each model, one for each sample.
        most: Most models; None: until none adds any.

    Raises:
        ArgumentError: ``most`` is below 1 or no whole number; no masks, or not truths of as many samples.

    Source: the greedy algorithm of set covers (Chvatal 1979).

    >>> cover({"a": [True, True, False], "b": [False, True, True], "c": [False, True, False]})
    ['a', 'b']
    """
    found = _masks(masks, "loom.nn.structure.cover", least=1)
    if most is not None:
        most = whole(most, "loom.nn.structure.cover, most", least=1)
    chosen: list[str] = []
    right = np.zeros(len(next(iter(found.values()))), bool)
    while most is None or len(chosen) < most:
        best = max(found, key=lambda name: int(np.count_nonzero(found[name] & ~right)))
        if not np.any(found[best] & ~right):
            break
        chosen.append(best)
        right |= found[best]
    return chosen


def correct_mask(network: Network, x: Any, y: Any) -> Array:
    """Return one truth for each sample: whether the network says its class.

    Args:
        network: Network.
        x: Samples (n, *shape).
        y: Classes (n,), integers.

    Raises:
        ArgumentError: Not a network; it says no classes.
        DTypeError: The samples are no numbers.
        ShapeError: Not one integer for each sample.
        EmptyError: No samples.
        NotFinite: NaN or an infinity among the samples.
    """
    require_network(network, "loom.nn.structure.correct_mask")
    true = np.asarray(y)
    if true.ndim != 1 or true.dtype.kind not in "iub":
        raise ShapeError("loom.nn.structure.correct_mask, y", "not classes", expected="one integer a sample",
                         got=f"{true.dtype}, shape {true.shape}", remedy="Pass numbers of classes")  # fmt: skip
    outputs = network.predict(x)
    if is_mapping(outputs):
        said = None
    elif len(outputs) != len(true):
        raise ShapeError("loom.nn.structure.correct_mask, y", "not one class for each sample", expected=len(outputs),
                         got=len(true), remedy="Pass as many classes as samples")  # fmt: skip
    else:
        said = classes_said(outputs, true, None, probabilities=network.gives_probabilities)
    if said is None:
        raise ArgumentError("loom.nn.structure.correct_mask", "the network says no classes",
                            expected="one output for each class", got=repr(network),
                            remedy="Compare its outputs yourself")  # fmt: skip
    return said[0] == said[1]


def ensemble(
    networks: Sequence[Network] | Mapping[str, Network],
    combine_mode: str = "avg",
    *,
    softmax: bool = False,
    share: bool = False,
    on: str | Device | None = None,
) -> Network:
    """Return one network that joins several networks' outputs; its weights may be trained together.

    Args:
        networks: Networks, or a mapping of them.
        combine_mode: "avg", "add", "multiply" or "concat".
        softmax: Whether a softmax is put on each, so that the mean is one of probabilities.
        share: Whether weights stay the donors' (see ``graft``).
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: There is no such mode; not networks; they differ in input, type or precision.
        SpecError: The outputs do not fit.
    """
    where = "loom.nn.structure.ensemble"
    if combine_mode not in ("avg", "add", "multiply", "concat"):
        raise ArgumentError(f"{where}, combine_mode", "no such mode", expected="avg, add, multiply or concat",
                            got=repr(combine_mode)[:100], remedy="Use graft for others")  # fmt: skip
    listed: Any = list(networks.values()) if is_mapping(networks) else networks
    tail: tuple[Any, ...] = ({"type": "softmax"},) if softmax else ()
    wish = GraftPlan(combine_mode, False, -1, None, "standard", None, False, tail)
    return join(listed, wish, None, False, (), 0, share, on)


def _masks(masks: Any, where: str, least: int) -> dict[str, Any]:
    if not is_mapping(masks) or len(masks) < least:
        raise ArgumentError(f"{where}, masks", "not masks by model", expected=f"a dict of {least} or more",
                            got=repr(masks)[:100], remedy="Use correct_mask for each model")  # fmt: skip
    found: dict[str, Any] = {str(name): np.asarray(mask) for name, mask in masks.items()}
    size = next(iter(found.values())).shape
    for name, mask in found.items():
        if mask.dtype != np.bool_ or mask.shape != size or mask.ndim != 1 or not mask.size:
            raise ArgumentError(f"{where}, masks[{name!r}]", "not a mask as the others",
                                expected=f"truths of shape {size}", got=f"{mask.dtype} of shape {mask.shape}",
                                remedy="One truth for each sample")  # fmt: skip
    return found
