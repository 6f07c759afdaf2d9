"""``infer``: the network of an unknown file of weights, by the names and shapes of its arrays.

Layer: nn. Invariant: what weights do not tell (functions between layers, windows' steps, heads) is never silent: it
stands among what was assumed, or must be told; and nothing is loaded unless every array has its place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, DTypeError, LoomError
from loom.core.given import is_list, is_mapping
from loom.core.late.dataclass import dataclass
from loom.core.tracebacks import warn_caller
from loom.formats.stored_weights import read_tensors
from loom.formats.whole_files import file_bytes
from loom.nn.base.torchnames import layer_from_torch
from loom.nn.network import Network
from loom.nn.spec import Part, parse, to_document
from loom.nn.spec.base.fields import read_object
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.network import Input
from loom.nn.spec.reader import FORMAT
from loom.nn.structure.arranging import arrangements, functions_between, order_of
from loom.nn.structure.blocks import Blocks, read_blocks
from loom.nn.structure.build import input_json
from loom.nn.structure.layers import read_one
from loom.nn.structure.recognising import Guess, ModuleArrays, group_by_module, guess_of
from loom.nn.weights.saved import require_numbers
from loom.runtime.port.device import Device

__all__ = ["InferredLayer", "StructureInference", "infer"]

_WHERE = "loom.nn.structure.infer"


@dataclass(frozen=True)
class InferredLayer:
    """A layer that was inferred: ``module`` is its name in the file, ``name`` in the network; ``confidence`` 0 to 1."""

    name: str
    module: str
    type: str
    confidence: float
    reason: str


@dataclass(frozen=True)
class StructureInference:
    """What a file's arrays tell of their network.

    ``document``: the network, None if there is none; ``assumed``: what the arrays do not tell and was taken for
    granted; ``problems``: why it is not whole (empty if it is); ``weights``: the arrays by the network's names.
    """

    document: dict[str, Any] | None
    layers: tuple[InferredLayer, ...]
    assumed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    weights: Mapping[str, Array] = field(default_factory=dict[str, Array])

    @property
    def is_complete(self) -> bool:
        """True if every array has its place in the document's network."""
        return self.document is not None and not self.problems

    @property
    def confidence(self) -> float:
        """The product of all layers' confidences: 0 if there is none."""
        return prod(each.confidence for each in self.layers) if self.layers else 0.0

    def network(self, *, on: str | Device | None = None) -> Network:
        """Return the network with the file's weights; a ``UserWarning`` tells what was assumed.

        Args:
            on: Device, or its name; None: the default device.

        Raises:
            ArgumentError: The arrays do not tell a whole network; what is missing is listed.
        """
        if self.document is None or not self.is_complete:
            raise ArgumentError(_WHERE, "the arrays do not tell a whole network", expected="a place for every array",
                                got="; ".join(self.problems[:8]) or "no document",
                                remedy="Tell what is missing, or write the document yourself")  # fmt: skip
        net = Network.from_json(self.document, on=on)
        net.load_weights(dict(self.weights))
        if self.assumed:
            warn_caller(f"loom.nn.structure.infer: assumed: {'; '.join(self.assumed)}")
        return net

    def __str__(self) -> str:
        """Return a table of layers, and what was assumed and is missing."""
        rows = [f"{e.name:<12} {e.type:<22} {e.confidence:.2f}  {e.module}: {e.reason}" for e in self.layers]
        rows += [f"assumed: {text}" for text in self.assumed] + [f"missing: {text}" for text in self.problems]
        return "\n".join(rows)


@dataclass(frozen=True)
class _Hints:
    input: Any
    activation: str | None
    num_heads: int | None
    head_dim: int | None
    rope_freq_base: float | None
    layout: str | None
    padding: str | None


def infer(
    source: str | os.PathLike[str] | bytes | Mapping[str, Any],
    *,
    input: Any = None,  # noqa: A002
    activation: str | None = None,
    num_heads: int | None = None,
    head_dim: int | None = None,
    rope_freq_base: float | None = None,
    layout: str | None = None,
    padding: str | None = None,
) -> StructureInference:
    """Return the structure of the network that an unknown .safetensors may be of.

    Layers are told by names and shapes of arrays: those of PyTorch's modules, of Llama and its like, of Loom and of the
    first generation. A file that Loom wrote says all itself.

    Args:
        source: .safetensors (file or bytes), or its arrays by name.
        input: Shape of a sample (images, numbers of tokens); None: that of the arrays.
        activation: Activation between layers; None: relu is assumed.
        num_heads: Heads of attention; None: told by the arrays, or not at all.
        head_dim: Width of a head, in place of ``num_heads``; None: told by the arrays.
        rope_freq_base: Base of rotary positions; None: the usual one.
        layout: Layout of matrices: "torch": (out, in); "loom": (in, out); None: both are tried.
        padding: Padding of convolutions: "valid": none; "same": half a window; None: both are tried.

    Raises:
        ArgumentError: Not a .safetensors; no such layout or padding; not a shape.
        FileError: The file cannot be read.

    >>> found = infer({"0.weight": np.ones((8, 4)), "0.bias": np.ones(8), "2.weight": np.ones((3, 8)),
    ...     "2.bias": np.ones(3)})
    >>> [(each.type, each.confidence) for each in found.layers], found.is_complete
    ([('dense', 0.9), ('dense', 0.9)], True)
    """
    arrays, told = _read(source)
    for name, value, known in (("layout", layout, ("torch", "loom")), ("padding", padding, ("valid", "same"))):
        if value is not None and value not in known:
            raise ArgumentError(f"{_WHERE}, {name}", f"no such {name}", expected=" or ".join(map(repr, known)),
                                got=repr(value)[:60], remedy="Leave it out to have both tried")  # fmt: skip
    if "loom.network" in told:
        return _of_loom(arrays, told["loom.network"])
    if input is not None:
        _require_input(input)
    hints = _Hints(input, activation, num_heads, head_dim, rope_freq_base, layout, padding)
    blocks = read_blocks(arrays, num_heads, head_dim, rope_freq_base)
    return _of_blocks(blocks, hints) if blocks is not None else _of_groups(arrays, hints)


def _require_input(given: Any) -> None:
    """See that it is what a document says of an input."""
    reading = Reading()
    read_object(Input, input_json(given, _WHERE), Place(reading, "$.input"))
    reading.check(_WHERE, "input")
    if not input_json(given, _WHERE)["shape"]:
        raise ArgumentError(f"{_WHERE}, input", "a sample without axes", expected="at least one size", got=repr(given),
                            remedy="Pass for example (1, 28, 28)")  # fmt: skip


def _numbers(given: Any, name: str) -> Array:
    """Return an array of a mapping; DTypeError for what holds no numbers."""
    try:
        found: Array = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise DTypeError(f"{_WHERE}, {name!r}", f"not an array ({error})"[:150], expected="an array of numbers",
                         got=type(given).__name__, remedy="Leave it out, or convert it to numpy") from None  # fmt: skip
    if found.dtype.kind not in "fiub" and "bfloat" not in str(found.dtype) and "float8" not in str(found.dtype):
        raise DTypeError(f"{_WHERE}, {name!r}", "not numbers", expected="an array of real numbers",
                         got=str(found.dtype), remedy="Leave it out")  # fmt: skip
    return found


def _read(source: Any) -> tuple[dict[str, Array], dict[str, str]]:
    if is_mapping(source):
        found: dict[str, Array] = {str(name): _numbers(a, str(name)) for name, a in source.items()}
        told: dict[str, str] = {}
    else:
        if not isinstance(source, (str, bytes, bytearray, os.PathLike)):
            raise DTypeError(_WHERE, "not weights", expected="a mapping of arrays, a file's name or its bytes",
                             got=type(source).__name__, remedy="Pass for example a state_dict")  # fmt: skip
        if isinstance(source, (bytes, bytearray)):
            data = bytes(source)
        else:
            data = file_bytes(Path(cast("str | os.PathLike[str]", source)), _WHERE)
        found, told = read_tensors(data, _WHERE)
    if not found:
        raise ArgumentError(_WHERE, "there are no arrays", expected="at least one", got="none",
                            remedy="Check which file it is")  # fmt: skip
    return found, told


def _of_loom(arrays: Mapping[str, Array], document: str) -> StructureInference:
    spec = parse(document)
    kept = {name: a for name, a in arrays.items() if not name.startswith("training/")}
    layers = tuple(InferredLayer(n.name, n.name, n.layer.kind, 1.0, "the file says so") for n in spec.nodes)
    wanted = spec.parameters() | spec.state()
    problems = [f"no array {n!r} of shape {s}" for n, s in wanted.items() if n not in kept or kept[n].shape != s]
    problems += [f"no layer has the array {n!r}" for n in kept if n not in wanted]
    return StructureInference(to_document(spec), layers, (), tuple(problems), kept)


def _of_blocks(blocks: Blocks, hints: _Hints) -> StructureInference:
    layers = tuple(
        InferredLayer(f"layers.{i}", "", each["type"], 0.97, "a block's place and names of a transformer")
        for i, each in enumerate(blocks.layers)
    )
    problems = [*blocks.problems, *(f"no layer has the array {name!r}" for name in blocks.left)]
    if hints.input is None:
        problems.append("the number of tokens: pass input=(tokens,)")
    value = {"format": FORMAT, "input": input_json(hints.input or 1, _WHERE), "layers": blocks.layers}
    return _check(value, layers, blocks.assumed, problems, blocks.weights)


# any list of layers


def _of_groups(arrays: Mapping[str, Array], hints: _Hints) -> StructureInference:
    groups = group_by_module(arrays)
    found: dict[str, list[Guess]] = {}
    for layout in (hints.layout,) if hints.layout else ("torch", "loom"):
        guesses = [guess_of(group, layout, i == 0) for i, group in enumerate(groups)]
        whole = [guess for guess in guesses if guess is not None]
        if len(whole) == len(groups):
            found[layout] = whole
    if not found:
        return _refusal(groups, hints.layout or "torch")
    orders = {layout: order for layout, guesses in found.items() if (order := order_of(guesses)) is not None}
    if not orders:
        guesses = next(iter(found.values()))
        sizes = ", ".join(f"{g.prefix!r} {x.takes} to {x.gives}" for g, x in zip(groups, guesses, strict=True))
        layers = _layers(groups, guesses, ["" for _ in groups])
        return StructureInference(None, layers, (), (f"the layers follow one another in no order: {sizes[:300]}",))
    layout, note = _choose(groups, found, orders)
    order = orders[layout or next(iter(orders))]
    guesses = [found[layout or next(iter(orders))][i] for i in order]
    if not layout:
        return StructureInference(None, _layers([groups[i] for i in order], guesses, ["" for _ in order]), (), (note,))
    assumed = [note] if note else []
    if order != sorted(order):
        assumed.append("the order of the layers, by which each takes what the one before gives")
    return _assemble([groups[i] for i in order], guesses, hints, assumed)


def _choose(
    groups: Sequence[ModuleArrays], found: Mapping[str, list[Guess]], orders: Mapping[str, list[int]]
) -> tuple[str, str]:
    """Return the layout of the matrices and what is assumed by it; or "" and what must be told."""
    names = {name for group in groups for name in group.own}
    told = "torch" if names & _OF_TORCH else "loom" if names & _OF_LOOM else ""
    if told in orders or len(orders) == 1:
        return (told if told in orders else next(iter(orders))), ""
    if not any(guess.value["type"] == "dense" for guess in found["torch"]):
        return "torch", ""
    straight = [layout for layout, order in orders.items() if order == sorted(order)]
    if len(straight) == 1:
        lie = "(out, in)" if straight[0] == "torch" else "(in, out)"
        return straight[0], f"matrices are {lie}, for so the layers follow one another in the order of their names"
    return "", 'whether matrices are (out, in) or (in, out), for both fit: pass layout="torch" or "loom"'


_OF_TORCH = {"running_var", "in_proj_weight", "weight_ih_l0", "num_batches_tracked"}
_OF_LOOM = {"gamma", "q_weight", "weight_ih", "weight_ih_i", "weight_ih_r", "gate_weight", "running_variance", "shift"}
"""Names of arrays by which other matrices of a file are known to be of PyTorch, or of Loom."""


def _refusal(groups: Sequence[ModuleArrays], layout: str) -> StructureInference:
    problems: list[str] = []
    layers: list[InferredLayer] = []
    for i, group in enumerate(groups):
        guess = guess_of(group, layout, i == 0)
        if guess is None:
            shapes = ", ".join(f"{name} {a.shape}" for name, a in group.own.items())
            problems.append(f"no layer has the arrays of {group.prefix!r}: {shapes}"[:200])
        else:
            layers += _layers([group], [guess], [""])
    return StructureInference(None, tuple(layers), (), tuple(problems))


def _layers(
    groups: Sequence[ModuleArrays], guesses: Sequence[Guess], names: Sequence[str]
) -> tuple[InferredLayer, ...]:
    return tuple(
        InferredLayer(name, group.prefix, guess.value["type"], guess.confidence, guess.reason)
        for name, group, guess in zip(names, groups, guesses, strict=True)
    )


def _assemble(
    groups: list[ModuleArrays], guesses: list[Guess], hints: _Hints, noted: Sequence[str]
) -> StructureInference:
    """Return the network of layers in their order: functions, windows and shapes put where they must be."""
    problems: list[str] = []
    assumed = [*noted, *sorted({text for guess in guesses for text in guess.assumed})]
    values = [dict(guess.value) for guess in guesses]
    for value, guess, group in zip(values, guesses, groups, strict=True):
        if "num_heads" in guess.needs and hints.num_heads is None:
            problems.append(f"the number of heads of {group.prefix!r}: pass num_heads=")
        elif "num_heads" in guess.needs:
            value["num_heads"] = hints.num_heads
    after, functions = functions_between(values, [g.prefix for g in groups], hints.activation)
    assumed += functions
    shape = _shape_of_first(guesses[0]) if hints.input is None else input_json(hints.input, _WHERE)["shape"]
    nameless = _layers(groups, guesses, ["" for _ in groups])
    if shape is None:
        problems.append("the shape of a sample: pass input=")
    if problems or not is_list(shape):
        return StructureInference(None, nameless, tuple(assumed), tuple(problems))
    made, why = arrangements(values, [guess.takes for guess in guesses], after, tuple(shape), hints.padding)
    if len(made) != 1:
        told = 'pass padding="valid" or "same", or write the document'
        several = f"{len(made)} arrangements of paddings and pools fit an input of {shape}: {told}"
        problem = several if made else f"no arrangement of the layers fits an input of {shape}: {why}"
        return StructureInference(None, nameless, tuple(assumed), (problem,))
    if any(value["type"].startswith("conv") for value in values):
        assumed.append("paddings and pools: the only ones of 0 or half a window, and of 2, that fit")
    names = [f"layers.{place}" for place in made[0].places]
    weights: dict[str, Array] = {}
    for name, group, guess, place in zip(names, groups, guesses, made[0].places, strict=True):
        weights |= {f"{name}.{key}": a for key, a in _convert(group, guess, made[0].layers[place]).items()}
    given = {"shape": shape} if hints.input is None else input_json(hints.input, _WHERE)
    value = {"format": FORMAT, "input": given, "layers": list(made[0].layers)}
    return _check(value, _layers(groups, guesses, names), assumed, [], weights)


def _convert(group: ModuleArrays, guess: Guess, value: dict[str, Any]) -> dict[str, Array]:
    if guess.layout == "loom":
        return group.own
    own = {n: a for n, a in group.own.items() if n != "num_batches_tracked"}
    return layer_from_torch(Part(group.prefix, read_one(value, _WHERE), ()), own, _WHERE)


def _shape_of_first(guess: Guess) -> Any:
    """Return the shape of a sample where the first layer tells it: features of a vector."""
    is_vector = guess.value["type"] in ("dense", "scale", "layer_norm", "rms_norm", "batch_norm")
    return [guess.takes] if guess.takes and is_vector else None


def _check(
    value: dict[str, Any], layers: tuple[InferredLayer, ...], assumed: Sequence[str], problems: Sequence[str],
    weights: Mapping[str, Array],
) -> StructureInference:  # fmt: skip
    """Return the result, after a look whether the document's network has just these weights."""
    found = list(problems)
    try:
        spec = parse(value)
        wanted = spec.parameters() | spec.state()
        found += [f"{n!r} is {weights[n].shape if n in weights else 'missing'}, not {s}" for n, s in wanted.items()
                  if n not in weights or weights[n].shape != s]  # fmt: skip
        found += [f"the network has no {n!r}" for n in weights if n not in wanted]
        require_numbers(weights, spec.dtype, _WHERE)
    except LoomError as error:
        found.append(str(error)[:300])
        return StructureInference(None, layers, tuple(assumed), tuple(found))
    return StructureInference(to_document(spec), layers, tuple(assumed), tuple(found), dict(weights))
