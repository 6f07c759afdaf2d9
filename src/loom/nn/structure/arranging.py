"""The order of layers that were recognised, and what stands between them: functions, pools, flatten.

Layer: nn. Invariant: each layer takes what the one before gives; where several arrangements do so, all are returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from loom.core.errors import SpecError
from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.layer import Shape
from loom.nn.structure.layers import read_one
from loom.nn.structure.recognising import Guess

__all__ = ["Arrangement", "arrangements", "functions_between", "order_of"]

_WHERE = "loom.nn.structure.infer"
_MOST_TRIED = 20_000

Value = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """All layers of a network, and where those that were recognised are among them."""

    layers: tuple[Value, ...]
    places: tuple[int, ...]


def order_of(guesses: Sequence[Guess]) -> list[int] | None:
    """Return an order in which each layer takes what the one before gives: as they stand, if it can be."""
    tried = 0

    def follow(done: list[int], width: int | None, is_image: bool) -> list[int] | None:
        nonlocal tried
        tried += 1
        if len(done) == len(guesses) or tried > _MOST_TRIED:
            return done if len(done) == len(guesses) else None
        for i, guess in enumerate(guesses):
            if i in done or not _follows(guess, width, is_image):
                continue
            kind = guess.value["type"]
            found = follow([*done, i], guess.gives, kind.startswith("conv") or (is_image and kind == "batch_norm"))
            if found is not None:
                return found
        return None

    return follow([], None, False)


def _follows(guess: Guess, width: int | None, is_image: bool) -> bool:
    if width is None:
        return True
    if guess.value["type"] in ("embedding", "scale"):
        return False
    if is_image and guess.value["type"] == "dense":
        return guess.takes is not None and guess.takes % width == 0
    return guess.takes == width


def functions_between(
    values: Sequence[Value], modules: Sequence[str], function: str | None
) -> tuple[dict[int, Value], list[str]]:
    """Write functions into dense and convolutional layers but the last; return those that follow a batch_norm, by its
    number, and what was assumed."""
    after: dict[int, Value] = {}
    assumed: dict[str, None] = {}
    for i, value in enumerate(values[:-1]):
        if value["type"] not in ("dense", "conv1d", "conv2d"):
            continue
        normed = values[i + 1]["type"] == "batch_norm"
        last = i + 1 if normed else i
        if last + 1 >= len(values):
            continue
        gap = _gap(modules[last], modules[last + 1])
        if gap == 1:
            assumed["no function between modules that are numbered without a gap"] = None
            continue
        if normed:
            after[last] = {"type": "activation", "function": function or "relu"}
        else:
            value["activation"] = function or "relu"
        if function is None:
            why = " (a number is left out there)" if gap > 1 else ""
            assumed[f"relu between dense and convolutional layers{why}"] = None
    return after, list(assumed)


def _gap(one: str, other: str) -> int:
    """Return how far apart the numbers of two modules of one list are; 0 if they are of none."""
    first, second = one.rpartition("."), other.rpartition(".")
    if first[0] != second[0] or not first[2].isdigit() or not second[2].isdigit():
        return 0
    return int(second[2]) - int(first[2])


def arrangements(
    values: Sequence[Value],
    takes: Sequence[int | None],
    after: Mapping[int, Value],
    shape: Shape,
    padding: str | None = None,
) -> tuple[list[Arrangement], str]:
    """Return all arrangements by which each dense layer gets as much as it takes; and why one did not fit.

    Convolutional layers have no padding ("valid") or half a window's ("same"), and a max_pool of 2 after them or none.
    """
    convs = [i for i, v in enumerate(values) if v["type"].startswith("conv")]
    found: dict[str, Arrangement] = {}
    why = ""
    paddings = {"valid": (False,), "same": (True,)}.get(padding or "", (True, False))
    for number, choice in enumerate(product([(a, b) for b in (False, True) for a in paddings], repeat=len(convs))):
        if number >= _MOST_TRIED:
            return [], f"{len(convs)} convolutional layers may be arranged in too many ways"
        made = _layout(values, takes, after, dict(zip(convs, choice, strict=True)), shape)
        if isinstance(made, str):
            why = why or made
        else:
            found.setdefault(str(made.layers), made)
    return list(found.values()), why


def _layout(
    values: Sequence[Value], takes: Sequence[int | None], after: Mapping[int, Value],
    choice: Mapping[int, tuple[bool, bool]], shape: Shape,
) -> Arrangement | str:  # fmt: skip
    """Return the layers of one choice, or why they do not fit."""
    made: list[Value] = []
    places: list[int] = []
    pool = is_image = False
    try:
        for i, value in enumerate(values):
            own, width = dict(value), takes[i]
            before: list[Value] = []
            if value["type"] == "dense" and is_image:
                before, shape, is_image = [{"type": "flatten"}], (prod(shape),), False
            if width is not None and value["type"] == "dense" and shape[-1] != width:
                return f"a dense layer takes {width} features, and gets {shape[-1]}"
            if i in choice:
                same, pool = choice[i]
                is_image = True
                own |= {"padding": _half(own["kernel_size"])} if same and _half(own["kernel_size"]) else {}
            following: list[Value] = [after[i]] if i in after else []
            if pool and not (i in choice and i + 1 < len(values) and values[i + 1]["type"] == "batch_norm"):
                following, pool = [*following, {"type": "max_pool", "pool_size": 2}], False
            made += before
            places.append(len(made))
            made += [own, *following]
            for each in (own, *following):
                shape = read_one(each, _WHERE).output_shape(shape)
    except SpecError as error:
        return str(error).partition("] ")[2][:200]
    return Arrangement(tuple(made), tuple(places))


def _half(kernel: Any) -> Any:
    return kernel // 2 if isinstance(kernel, int) else [k // 2 for k in kernel] if any(k > 1 for k in kernel) else 0
