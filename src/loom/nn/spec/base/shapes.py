"""Checks that layers share: sizes given against shapes met.

Layer: nn. Invariant: a check that fails notes one problem, named by the field that disagrees if there is one.
"""

from __future__ import annotations

from math import prod

from loom.nn.spec.base.layer import Shape
from loom.nn.spec.base.problems import Place

__all__ = ["agrees", "check_mask", "count", "has_rank", "slid"]

_AXES = {1: "(features)", 2: "(tokens, features)", 3: "(channels, rows, columns)"}


def count(shape: Shape) -> int:
    """Return the number of elements of one sample."""
    return prod(shape)


def has_rank(shape: Shape, place: Place, least: int, most: int | None = None, axes: str = "") -> bool:
    """Note a problem unless the shape has from ``least`` to ``most`` axes (default: exactly ``least``; 0: no limit)."""
    most = least if most is None else most
    if least <= len(shape) and (most == 0 or len(shape) <= most):
        return True
    place.fault(
        "the input has an unsuitable number of axes",
        expected=axes or _AXES.get(least, f"{least} or more axes"),
        got=f"shape {shape}",
        remedy="Put a reshape or flatten layer before it.",
    )
    return False


def agrees(given: int | None, met: int, name: str, place: Place, what: str) -> bool:
    """Note a problem unless the size given in field ``name`` is the one met (or none was given)."""
    if given is None or given == met:
        return True
    place.at(name).fault(f"{what} do not match the layer before", expected=f"{met}, as the input has", got=given)
    return False


def check_mask(name: str | None, tokens: int, place: Place) -> None:
    """Note a ``padding_mask`` that is no network input of one element for each token."""
    inputs = place.reading.inputs
    if name is None or inputs is None:
        return
    if name not in inputs:
        place.at("padding_mask").unknown("network input", name, inputs)
    elif inputs[name] != (tokens,):
        place.at("padding_mask").fault(
            "the mask does not have one element per token", expected=f"shape {(tokens,)}", got=f"shape {inputs[name]}"
        )


def slid(length: int, kernel: int, stride: int, padding: int, place: Place) -> int | None:
    """Return how many places a window has along an axis: ``(length + 2 padding - kernel) // stride + 1``."""
    padded = length + 2 * padding
    if kernel > padded:
        place.fault(
            "the window is longer than the padded input",
            expected=f"at most {padded}",
            got=kernel,
            remedy="Give it more padding or a smaller kernel.",
        )
        return None
    return (padded - kernel) // stride + 1
