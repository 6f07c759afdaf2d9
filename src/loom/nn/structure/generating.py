"""Random networks, sound by construction: every layer that is drawn fits the shape that it meets and what is left.

Layer: nn. Invariant: the same space, seed and number give the same document, on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.numbers import whole
from loom.nn.spec import parse, to_document
from loom.nn.spec.base.layer import Layer, Shape
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.reader import FORMAT
from loom.nn.structure.layers import layer, layer_json
from loom.nn.structure.space import ArchitectureSpace, Draws

__all__ = ["generate", "parameters_of"]

_WHERE = "loom.nn.structure.generate"
_ATTEMPTS = 64
"""Networks that are begun before it is said that none fits."""
_STILL = ("activation", "dropout", "layer_norm", "rms_norm", "batch_norm")
"""Types that are not drawn twice in a row: they would do nothing new."""

Maker = Callable[[ArchitectureSpace, Draws, Shape, int], Any]
"""What draws a layer for the shape that it meets, of a width that is tried."""


def generate(space: ArchitectureSpace, seed: int = 0, number: int = 0) -> dict[str, Any]:
    """Return the document of a random network of a space.

    Args:
        space: Space of networks.
        seed: Seed.
        number: Number of the network: each of a seed is another.

    Raises:
        ArgumentError: Not a space; not a whole number from 0; the space's parameters leave no room for its least depth.

    >>> space = ArchitectureSpace((8,), 3, depth=(1, 3), parameters=500)
    >>> generate(space, seed=7) == generate(space, seed=7)
    True
    """
    if not isinstance(space, ArchitectureSpace):
        raise ArgumentError(_WHERE, "not a space of networks", expected="an ArchitectureSpace", got=repr(space)[:100],
                            remedy="Pass ArchitectureSpace((4,), 3)")  # fmt: skip
    seed, number = (
        whole(value, f"{_WHERE}, {name}", least=0, most=(1 << 32) - 1)
        for name, value in (("seed", seed), ("number", number))
    )
    draws = Draws(seed, number)
    least, most = space.depth
    for _ in range(_ATTEMPTS):
        depth = least + draws.below(most - least + 1)
        found = _body(space, draws, depth)
        if found is not None:
            return _document(space, found, draws.word())
    raise ArgumentError(_WHERE, f"none of {_ATTEMPTS} networks that were begun fits",
                        expected=f"{least} layers and the last one within {space.parameters} parameters",
                        got="no room for them",
                        remedy="Allow more parameters, smaller widths or other types")  # fmt: skip


def parameters_of(document: dict[str, Any]) -> int:
    """Return how many trained numbers a document's network has."""
    return sum(prod(shape) for shape in parse(document).parameters().values())


def _document(space: ArchitectureSpace, layers: list[Layer], seed: int) -> dict[str, Any]:
    dtype = {} if space.dtype == "f32" else {"dtype": space.dtype}
    value: dict[str, Any] = {"format": FORMAT, **dtype, "seed": seed, "input": {"shape": list(space.input)},
             "layers": [layer_json(each, _WHERE) for each in layers]}  # fmt: skip
    return to_document(parse(value))


def _body(space: ArchitectureSpace, draws: Draws, depth: int) -> list[Layer] | None:
    """Return layers of a network of so many hidden ones, head included; None if they do not fit the budget.

    It may have less than ``depth``, not less than the least.
    """
    made = _first(space, draws)
    shape = space.input
    for each in made:
        shape = each.output_shape(shape)
    left = space.parameters - _count(made, space.input)
    for number in range(depth):
        found = _next(space, draws, shape, left, made[-1].kind if made else "")
        if found is None and number < space.depth[0]:
            return None
        if found is None:
            break
        made.append(found)
        left -= _count([found], shape)
        shape = found.output_shape(shape)
    head = _head(shape, space.output)
    return [*made, *head] if _count(head, shape) <= left else None


def _first(space: ArchitectureSpace, draws: Draws) -> list[Layer]:
    if space.vocab_size is not None:
        return [layer("embedding", space.vocab_size, draws.choose(space.widths))]  # type: ignore[list-item]
    return [layer("scale")] if space.scale else []  # type: ignore[list-item]


def _next(space: ArchitectureSpace, draws: Draws, shape: Shape, left: int, before: str) -> Layer | None:
    """Return a layer that fits the shape, and leaves enough for the head; None if there is none such."""
    for kind in draws.shuffle(space.types):
        if kind == before and kind in _STILL:
            continue
        for found in _variants(kind, space, draws, shape):
            following = _fitting(found, shape)
            if following is None:
                continue
            if _count([found], shape) + _count(_head(following, space.output), following) <= left:
                return found
    return None


def _variants(kind: str, space: ArchitectureSpace, draws: Draws, shape: Shape) -> Iterator[Layer]:
    """Yield layers of a type, of all widths in random order."""
    maker = _MAKERS[kind]
    if maker not in _WIDE:
        yield from filter(None, [maker(space, draws, shape, 0)])
        return
    for width in draws.shuffle(space.widths):
        yield from filter(None, [maker(space, draws, shape, width)])


def _fitting(found: Layer, shape: Shape) -> Shape | None:
    reading = Reading()
    made = found.infer(shape, Place(reading))
    return None if reading.problems else made


def _count(layers: list[Layer], shape: Shape) -> int:
    total = 0
    for each in layers:
        total += sum(prod(s) for s in each.parameters(shape).values())
        shape = each.output_shape(shape)
    return total


def _head(shape: Shape, output: Shape) -> list[Layer]:
    """Return the layers that lead from a shape to the output's."""
    if len(shape) == len(output) and shape[:-1] == output[:-1]:
        return _layers({"type": "dense", "output_size": output[-1]})
    flat = [] if len(shape) == 1 else [{"type": "flatten"}]
    formed = [] if len(output) == 1 else [{"type": "reshape", "shape": list(output)}]
    return _layers(*flat, {"type": "dense", "output_size": prod(output)}, *formed)


def _layers(*values: dict[str, Any]) -> list[Layer]:
    made: Any = [layer(v["type"], **{k: each for k, each in v.items() if k != "type"}) for v in values]
    return made


# one maker a type: None where the shape is not one that it takes


def _dense(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
    return layer("dense", width, activation=draws.choose(space.activations)) if len(shape) < 3 else None


def _conv(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
    if len(shape) not in (2, 3):
        return None
    most = min(shape[1:])
    kernel = draws.choose([k for k in (1, 3, 5) if k <= most] or [1])
    keys = {"padding": kernel // 2 if draws.below(2) else 0, "stride": 1 + draws.below(2)}
    return layer(
        "conv1d" if len(shape) == 2 else "conv2d", width, kernel, activation=draws.choose(space.activations), **keys
    )


def _conv_of(rank: int) -> Maker:
    def propose(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
        return _conv(space, draws, shape, width) if len(shape) == rank else None

    return propose


def _pool(kind: str) -> Maker:
    def propose(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
        del space, draws, width
        return layer(kind, 2) if len(shape) in (2, 3) and min(shape[1:]) >= 2 else None

    return propose


def _recurrent(kind: str) -> Maker:
    def propose(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
        del space
        return layer(kind, width, output=draws.choose(["sequence", "last"])) if len(shape) == 2 else None

    return propose


def _attention(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
    del space, width
    if len(shape) != 2:
        return None
    heads = draws.choose([h for h in (1, 2, 4, 8) if shape[1] % h == 0])
    rope = {"rope_freq_base": 10000.0} if shape[1] // heads % 2 == 0 and draws.below(2) else {}
    return layer("multi_head_attention", heads, causal=bool(draws.below(2)), **rope)


def _plain(kind: str, ranks: tuple[int, ...] = (1, 2, 3)) -> Maker:
    def propose(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
        del space, draws, width
        return layer(kind) if len(shape) in ranks else None

    return propose


def _function(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
    del shape, width
    return layer("activation", draws.choose(space.activations))


def _dropout(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
    del space, shape, width
    return layer("dropout", rate=draws.choose([0.1, 0.2, 0.3]))


def _swiglu(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
    del space, draws
    return layer("swiglu", width) if len(shape) < 3 else None


def _kmeans(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
    del space
    mode = draws.choose(["probabilities", "features"])
    return layer("kmeans", width, output_mode=mode) if len(shape) < 3 else None


def _residual(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
    if len(shape) == 3:
        conv = layer("conv2d", shape[0], 3, padding=1, activation=draws.choose(space.activations))
        return layer("residual", [conv])
    inner = [layer("dense", width, activation=draws.choose(space.activations)), layer("dense", shape[-1])]
    if len(shape) == 2 and draws.below(2):
        inner = [_attention(space, draws, shape, width)]
    return layer("residual", [layer(draws.choose(["layer_norm", "rms_norm"])), *inner]) if len(shape) < 3 else None


def _parallel(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
    count, mode = 2 + draws.below(2), draws.choose(["concat", "add", "avg", "filter"])
    if len(shape) == 3:
        kernels = [k for k in (1, 3, 5) if k <= min(shape[1:]) + 2 * (k // 2)]
        branches = [layer("conv2d", width, k, padding=k // 2, activation=draws.choose(space.activations))
                    for k in (draws.choose(kernels) for _ in range(count))]  # fmt: skip
        axis = {"axis": 0} if mode == "concat" else {}
        return layer("parallel", branches, combine_mode="add" if mode == "filter" else mode, **axis)
    branches = [layer("dense", width, activation=draws.choose(space.activations)) for _ in range(count)]
    gate = {"gate": layer("dense", count)} if mode == "filter" else {}
    return layer("parallel", branches, combine_mode=mode, **gate) if len(shape) < 3 else None


def _sequential(space: ArchitectureSpace, draws: Draws, shape: Shape, width: int) -> Any:
    first = _dense(space, draws, shape, width)
    return None if first is None else layer("sequential", [first, layer("dense", draws.choose(space.widths))])


_MAKERS: dict[str, Maker] = {
    "activation": _function, "average_pool": _pool("average_pool"), "batch_norm": _plain("batch_norm"),
    "conv1d": _conv_of(2), "conv2d": _conv_of(3), "dense": _dense, "dropout": _dropout, "gru": _recurrent("gru"),
    "kmeans": _kmeans, "layer_norm": _plain("layer_norm", (1, 2)), "lstm": _recurrent("lstm"),
    "max_pool": _pool("max_pool"), "multi_head_attention": _attention, "parallel": _parallel, "residual": _residual,
    "rms_norm": _plain("rms_norm", (1, 2)), "rnn": _recurrent("rnn"), "sequential": _sequential, "swiglu": _swiglu,
}  # fmt: skip
_WIDE = {_MAKERS[kind] for kind in ("conv1d", "conv2d", "dense", "gru", "kmeans", "lstm", "parallel", "residual",
                                    "rnn", "sequential", "swiglu")}  # fmt: skip
"""Makers to which the width is one."""
