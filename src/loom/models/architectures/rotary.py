"""Rotary positions as published models ask for them: the base, what is rotated, and contexts that were stretched.

Layer: models. Stretching divides each pair's frequency by a number of its own (``rope_factors`` of a document),
computed by Loom's f64 functions. Invariant: a way of stretching that is not known is refused by its name.

Sources: B. Peng and others, "YaRN" (2023); the settings of Llama 3.1 as transformers reads them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom import tensor
from loom.models.architectures.settings import ModelSettings

__all__ = ["rotation"]

_KNOWN = ("default", "linear", "llama3", "yarn")


def rotation(
    settings: ModelSettings, head_dim: int, context: int, *, dims: int | None = None, parts: bool = True
) -> dict[str, Any]:
    """Return the keys of an attention layer for rotary positions. ``dims``: the features rotated, None: as told.

    ``parts``: whether the family's share of a rotated head means one thing; where programs part it is refused.
    """
    parameters = settings.within("rope_parameters")
    theta = parameters.real("rope_theta") if parameters.has("rope_theta") else settings.real("rope_theta", 10000.0)
    holder, key = next(((s, k) for s, k in _shares(settings, parameters) if s.has(k)), (settings, ""))
    share = holder.real(key) if key else 1.0
    if share != 1 and not parts:
        raise holder.wrong(key, "1.0", "transformers rotates whole heads of this family, other programs a part")
    rotated = settings.whole("rope_dims", int(head_dim * share)) if dims is None else dims
    scaling = parameters if parameters.has("rope_type") else settings.within("rope_scaling")
    factors, scores = _frequency_scaling(scaling, theta, rotated, context)
    if settings.has("rope_freqs"):  # divisors that a file has as a tensor
        factors = [float(f) for f in settings.values["rope_freqs"]]
    found: dict[str, Any] = {"rope_freq_base": theta}
    if rotated != head_dim:
        found["rope_dims"] = rotated
    if any(f != 1 for f in factors):
        found["rope_factors"] = factors
    if scores != 1:
        if rotated != head_dim:
            raise scaling.wrong("rope_type", "a rotation of whole heads", "YaRN of a part of a head is not computed")
        found["scale"] = scores * scores / math.sqrt(head_dim)
    return found


def _shares(settings: ModelSettings, parameters: ModelSettings) -> list[tuple[ModelSettings, str]]:
    return [(parameters, "partial_rotary_factor"), (settings, "partial_rotary_factor"), (settings, "rotary_pct")]


def _frequency_scaling(scaling: ModelSettings, theta: float, dims: int, context: int) -> tuple[list[float], float]:
    """Return what each pair's frequency is divided by, and what queries and keys are multiplied by."""
    half = dims // 2
    kind = scaling.text("rope_type", scaling.text("type", "default"))
    if kind == "default":
        return [1.0] * half, 1.0
    if kind not in _KNOWN:
        key = "rope_type" if scaling.has("rope_type") else "type"
        raise scaling.wrong(key, " or ".join(_KNOWN), "Loom does not know this way of stretching a context")
    factor = scaling.real("factor")
    if kind == "linear":
        return [factor] * half, 1.0
    if kind == "llama3":
        return _spread(factor, _llama3(scaling, theta, half)), 1.0
    return _spread(factor, _yarn(scaling, theta, dims, context)), _attention_factor(scaling, factor)


def _spread(factor: float, kept: list[float]) -> list[float]:
    """Return divisors of frequencies of which a share is kept and the rest divided by ``factor``."""
    return [1 / ((1 - share) / factor + share) for share in kept]


def _llama3(scaling: ModelSettings, theta: float, half: int) -> list[float]:
    low, high = scaling.real("low_freq_factor"), scaling.real("high_freq_factor")
    before = scaling.whole("original_max_position_embeddings")
    turns = [before / (2 * math.pi) / _power(theta, d / half) for d in range(half)]
    return [min(max((n - low) / (high - low), 0.0), 1.0) for n in turns]


def _yarn(scaling: ModelSettings, theta: float, dims: int, context: int) -> list[float]:
    before = scaling.whole("original_max_position_embeddings", context)

    def pair_of(turns: float) -> float:
        """Return the pair that turns so often within the first context."""
        return dims * _log(before / (turns * 2 * math.pi)) / (2 * _log(theta))

    low, high = pair_of(scaling.real("beta_fast", 32.0)), pair_of(scaling.real("beta_slow", 1.0))
    if scaling.flag("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dims - 1)
    width = high - low if high != low else 0.001
    return [1 - min(max((d - low) / width, 0.0), 1.0) for d in range(dims // 2)]


def _attention_factor(scaling: ModelSettings, factor: float) -> float:
    if scaling.has("attention_factor"):
        return scaling.real("attention_factor")

    def growth(share: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * share * _log(factor) + 1.0

    if scaling.has("mscale") and scaling.has("mscale_all_dim"):
        return growth(scaling.real("mscale")) / growth(scaling.real("mscale_all_dim"))
    return growth(1.0)


def _f64(x: float) -> tensor.Tensor:
    return tensor.array(np.array(x, np.float64), "f64", on="cpu")


def _log(x: float) -> float:
    return float(_f64(x).log().item())


def _power(base: float, exponent: float) -> float:
    return float((_f64(base).log() * exponent).exp().item())
