"""Names and numbers of the older formats: layer types, activations, softmax variants, element types.

Layer: nn. Invariant: names are met without case and underscores.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, TypeVar

from loom.core.dtype import DType, bf16, f16, f32, f64
from loom.formats.json_text import JsonValue
from loom.nn.spec.base.activations import Activation
from loom.nn.spec.base.problems import Place
from loom.nn.spec.layers.nested import Distance, KMeansOutput
from loom.nn.spec.layers.parallel import ParallelMode
from loom.nn.spec.layers.softmax import Variant
from loom.nn.spec.older.definition import Notes, Pairs, normal

__all__ = ["NUMBERED", "activation_of", "dtype_of", "kind_of", "member_of", "settings_of", "type_name"]

Member = TypeVar("Member", bound=enum.Enum)

_KINDS = {
    "dense": "dense",
    "conv1d": "conv1d",
    "cnn1": "conv1d",
    "conv2d": "conv2d",
    "cnn2": "conv2d",
    "multiheadattention": "multi_head_attention",
    "mha": "multi_head_attention",
    "attention": "multi_head_attention",
    "rnn": "rnn",
    "lstm": "lstm",
    "gru": "gru",
    "softmax": "softmax",
    "layernorm": "layer_norm",
    "rmsnorm": "rms_norm",
    "swiglu": "swiglu",
    "residual": "residual",
    "parallel": "parallel",
    "sequential": "sequential",
    "embedding": "embedding",
    "kmeans": "kmeans",
    "stitch": "stitch",
}
_ABSENT = ("conv3d", "cnn3", "convtransposed1d", "convtransposed2d", "convtransposed3d", "meta")
"""Types of the older formats that Loom has no layer for."""

_ACTIVATIONS = {normal(a.value): a for a in Activation} | {"silu": Activation.SWISH, "identity": Activation.LINEAR}
_ACTIVATION_NUMBERS = (
    Activation.SCALED_RELU,
    Activation.SIGMOID,
    Activation.TANH,
    Activation.SOFTPLUS,
    Activation.LEAKY_RELU,
    Activation.LINEAR,
)
_OF_SECOND = {Activation.GELU: Activation.GELU_TANH, Activation.LEAKY_RELU: Activation.LEAKY_RELU_001}
"""What the second generation's names mean, where ours of that name mean something else."""
_MEMBERS: dict[type[enum.Enum], dict[str, Any]] = {
    Variant: {"sparsemax": Variant.SPARSE},
    ParallelMode: {"average": ParallelMode.AVG, "moe": ParallelMode.FILTER},
    Distance: {},
    KMeansOutput: {},
}
_DTYPES: dict[str, DType | None] = {
    "float32": f32,
    "float64": f64,
    "float16": f16,
    "bfloat16": bf16,
    "float": f32,
    **dict.fromkeys(("float8", "float4", "fp8e4m3", "fp8e5m2", "fp4", "ternary", "binary")),
    **{f"{u}int{n}": None for u in ("", "u") for n in (2, 4, 8, 16, 32, 64)},
}
NUMBERED = (
    *("float64", "float32", "float16", "bfloat16", "fp8e4m3", "fp8e5m2", "int64", "int32", "int16", "int8"),
    *("uint64", "uint32", "uint16", "uint8", "int4", "uint4", "fp4", "int2", "uint2", "ternary", "binary"),
)
"""The second generation's numbers of element types."""


def kind_of(name: JsonValue, place: Place) -> str | None:
    """Return the ``loom/1`` type of a layer type's name; None if it is unusable, which is noted."""
    if not isinstance(name, str):
        place.wrong("the name of a layer type", name)
        return None
    if normal(name) in _ABSENT:
        place.fault(f"Loom has no layer for the type {name!r}", remedy="Leave it out or replace it.")
        return None
    if normal(name) not in _KINDS:
        place.unknown("layer type", name, {*_KINDS, *_KINDS.values()})
        return None
    return _KINDS[normal(name)]


def activation_of(value: JsonValue, place: Place, generation: int) -> Activation:
    """Return the activation that a name or number means; missing: scaled relu in the first, linear in the second."""
    missing = Activation.SCALED_RELU if generation == 1 else Activation.LINEAR
    if value in (None, ""):
        return missing
    if isinstance(value, int) and not isinstance(value, bool) and generation == 1:
        if -1 <= value < len(_ACTIVATION_NUMBERS):
            return _ACTIVATION_NUMBERS[value]
        place.wrong("a number from -1 to 5", value)
        return missing
    if not isinstance(value, str):
        place.wrong("the name of an activation", value)
        return missing
    found = _ACTIVATIONS.get(normal(value))
    if found is None:
        place.unknown("activation", value, [a.value for a in Activation])
        return missing
    if generation == 1 and found is Activation.RELU:
        return Activation.SCALED_RELU
    if generation == 2:
        return _OF_SECOND.get(found, found)
    return found


def member_of(members: type[Member], value: Any, place: Place, missing: Member) -> Member:
    """Return the enum's member that a name, or a number counted from 0, means; ``missing`` for null and ""."""
    if value in (None, "") and not isinstance(value, int):
        return missing
    known: dict[str, Any] = {normal(str(m.value)): m for m in members} | _MEMBERS[members]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(members):
        return list(members)[value]
    if not isinstance(value, str):
        place.wrong("a name: " + ", ".join(str(m.value) for m in members), value)
        return missing
    if normal(value) not in known:
        place.unknown("name", value, [str(m.value) for m in members])
        return missing
    return known[normal(value)]


def settings_of(top: Mapping[str, Any], pairs: Pairs, place: Place, notes: Notes) -> dict[str, Any]:
    """Return the network's settings, by what is read (``top``) and given (``pairs``) of it."""
    dtype = dtype_of(*pairs.get("dtype", (None, place)), notes)
    name, seed, size = top.get("id") or None, top.get("seed", 0), top.get("batch_size") or 1
    return {"name": name, "seed": seed, "dtype": dtype, "batch_size": size}


def dtype_of(value: JsonValue, place: Place, notes: Notes) -> DType:
    """Return the type of weights that a name (or the second generation's number) means; f32 if Loom has none such."""
    if value in (None, "") and not isinstance(value, int):
        return f32
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(NUMBERED):
        value = NUMBERED[value]
    if not isinstance(value, str):
        place.wrong("the name of an element type", value)
        return f32
    if normal(value) not in _DTYPES:
        place.unknown("dtype", value, _DTYPES)
        return f32
    found = _DTYPES[normal(value)]
    if found is None:
        notes.add(place, f"weights of type {value} become f32")
        return f32
    return found


def type_name(value: JsonValue) -> str | None:
    """Return the second generation's element type by its name or number, without underscores; None for another."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(NUMBERED):
        return NUMBERED[value]
    name = normal(value) if isinstance(value, str) else ""
    name = _SHORT.get(name, name)
    return name if name in NUMBERED else None


_SHORT = {"": "float32", "fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "fp8": "fp8e4m3"}
