"""Documents drawn of the schema, as far as libloom covers it, with samples and settings of a training."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass
from typing import Any

import numpy as np

from loom.export.library.layervariants import COVERED
from loom.nn.spec import NetworkSpec, NumberKind, parse
from loom.nn.spec.base.fields import value_fields
from loom.nn.spec.base.layer import LAYERS
from loom.nn.spec.base.rules import Choice, Flag, Real, Whole
from loom.nn.spec.layers.norm import BatchNorm

_SETTINGS: dict[str, list[dict[str, Any]]] = {
    "sgd": [{}, {"momentum": 0.9}, {"momentum": 0.7, "nesterov": True, "weight_decay": 0.01},
            {"momentum": 0.5, "dampening": 0.3}, {"weight_decay": 0.02, "decay_all": True}],
    "adam": [{}, {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6}, {"weight_decay": 0.05}],
    "adamw": [{}, {"weight_decay": 0.1, "decay_all": True}, {"weight_decay": 0.0}],
    "rmsprop": [{}, {"momentum": 0.5, "alpha": 0.9}, {"weight_decay": 0.01}],
    "lion": [{}, {"beta1": 0.85, "weight_decay": 0.01}],
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A document, samples with targets, and what a training of it is told; of Python the optimiser is made apart."""

    document: dict[str, Any]
    x: Any
    y: Any
    settings: dict[str, Any]
    optimizer: str
    of_optimizer: dict[str, Any]


def draw(seed: int, kinds: tuple[str, ...] = tuple(COVERED)) -> Drawn:
    """Return what a seed draws."""
    rng = np.random.default_rng(seed)
    while True:
        document = _document(rng, kinds)
        spec = parse(document)
        if sum(math.prod(shape) for shape in spec.parameters().values()) and _is_small(spec):
            return _with_samples(rng, document, spec)


def _is_small(spec: NetworkSpec) -> bool:
    return max(math.prod(shape) for shape in spec.shapes().values()) <= 4000


def _size(rng: Any, most: int) -> int:
    return 1 if rng.random() < 0.15 else int(rng.integers(1, most + 1))


def _document(rng: Any, kinds: tuple[str, ...]) -> dict[str, Any]:
    axes = int(rng.choice([1, 1, 1, 2, 2, 3, 4]))
    shape = [_size(rng, 150 if axes == 1 else 40 // axes) for _ in range(axes)]
    layers: list[dict[str, Any]] = []
    document = {"format": "loom/1", "seed": int(rng.integers(0, 2**63)), "input": {"shape": shape}, "layers": layers}
    layers += _chain(rng, kinds, tuple(shape), int(rng.integers(1, 6)), 2)
    if rng.random() < 0.7:
        layers.append({"type": "dense", "output_size": _size(rng, 12)})
    return document


def _shape_after(layers: list[dict[str, Any]], shape: tuple[int, ...]) -> tuple[int, ...]:
    made = parse({"format": "loom/1", "input": {"shape": list(shape)}, "layers": layers})
    return made.shapes()[made.outputs[0]]


def _chain(rng: Any, kinds: tuple[str, ...], shape: tuple[int, ...], count: int, depth: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for _ in range(count):
        at = _shape_after(found, shape) if found else shape
        fitting = kinds if len(at) == 2 else tuple(kind for kind in kinds if kind != "token_pool")
        found.append(_layer(rng, kinds, str(rng.choice(fitting)), at, depth))
    return found


def _held(rng: Any, kinds: tuple[str, ...], kind: str, shape: tuple[int, ...], depth: int) -> list[dict[str, Any]]:
    """Return the layers that one holds; those that are added to its input keep the shape."""
    plain = tuple(k for k in kinds if not COVERED[k].holds)
    made = _chain(rng, kinds if depth else plain, shape, int(rng.integers(1, 4)), depth - 1)
    if COVERED[kind].holds == "chain":
        return made
    after = _shape_after(made, shape)
    if after[:-1] == shape[:-1] and len(after) == len(shape):
        return made if after == shape else [*made, {"type": "stitch", "output_size": shape[-1]}]
    return [{"type": "activation", "function": "mish"}, {"type": "dense", "output_size": shape[-1]}]


def _layer(rng: Any, kinds: tuple[str, ...], kind: str, shape: tuple[int, ...], depth: int) -> dict[str, Any]:
    """Return a layer with any of its fields, such that it fits what comes before."""
    covered, found = COVERED[kind], {"type": kind}
    if covered.holds:
        found["layers"] = _held(rng, kinds, kind, shape, depth)
    for f in value_fields(LAYERS[kind]):
        if f.name == "layers":
            continue
        if f.name in covered.leaves or (f.default is not MISSING and rng.random() < 0.5):
            continue
        if isinstance(f.rule, Choice):
            known = [str(m.value) for m in f.rule.members]
            found[f.name] = str(rng.choice(covered.members.get(f.name, known)))
        elif isinstance(f.rule, Flag):
            found[f.name] = bool(rng.random() < 0.5) if f.name != "frozen" else bool(rng.random() < 0.15)
        elif isinstance(f.rule, Real):
            found[f.name] = float(rng.choice([*covered.special.get(f.name, ()), rng.uniform(0.001, 0.9)]))
        elif isinstance(f.rule, Whole) and f.default is MISSING:
            found[f.name] = _size(rng, 150 if len(shape) == 1 else 20)
        elif isinstance(f.rule, Whole):
            found[f.name] = shape[0] if kind == "batch_norm" else shape[-1]
    if kind == "softmax" and found.get("variant") != "gumbel":
        found.pop("noise", None)
    return found


def _with_samples(rng: Any, document: dict[str, Any], spec: NetworkSpec) -> Drawn:
    shape, out = spec.inputs[0].shape, spec.shapes()[spec.outputs[0]]
    batch, samples = _size(rng, 33), int(rng.integers(1, 90))
    if any(isinstance(p.layer, BatchNorm) for p in spec.walk()):
        batch = max(batch, 2)
        samples += 1 if samples % batch == 1 or samples == 1 else 0
    x = rng.standard_normal((samples, *shape)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = 0
    meaning = spec.meanings()[spec.outputs[0]]
    losses = ["mse", "mae", "huber"]
    fits = meaning.kind is not NumberKind.PROBABILITIES or meaning.width == out[-1]
    if meaning.kind is not NumberKind.NEITHER and out:
        losses += ["binary_cross_entropy"]
        losses += ["cross_entropy"] * 3 if out[-1] > 1 and fits else []
        losses += ["next_token"] if out[-1] > 1 and meaning.kind is not NumberKind.INDEPENDENT and fits else []
    loss = str(rng.choice(losses))
    if loss == "next_token" or (
        loss in ("cross_entropy", "binary_cross_entropy") and out[-1] > 1 and rng.random() < 0.6
    ):
        y = rng.integers(0, out[-1], (samples, *out[:-1])).astype(np.int32)
        if loss == "next_token":
            y[rng.random(y.shape) < 0.2] = -100
            y.reshape(-1)[0] = 0
    elif loss in ("cross_entropy", "binary_cross_entropy"):
        y = rng.random((samples, *out)).astype(np.float32)
    else:
        y = rng.standard_normal((samples, *out)).astype(np.float32)
    optimizer = str(rng.choice(list(_SETTINGS)))
    settings: dict[str, Any] = {"loss": loss, "epochs": 3, "batch_size": batch}
    settings |= {"learning_rate": float(rng.choice([0.001, 0.01, 0.05]))}
    settings |= {"seed": int(rng.integers(0, 2**63))} if rng.random() < 0.4 else {}
    settings |= {"shuffle": False} if rng.random() < 0.1 else {}
    settings |= {"schedule": str(rng.choice(["linear", "warmup", "constant"]))} if rng.random() < 0.3 else {}
    choices = _SETTINGS[optimizer]
    return Drawn(document, x, y, settings, optimizer, choices[int(rng.integers(len(choices)))])
