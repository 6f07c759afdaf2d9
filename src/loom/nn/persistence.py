"""Networks with weights as files and texts: bundles (JSON, base64), and safetensors through its library.

Both hold where a training stopped as well, if it is given. Layer: nn. Invariant: what is read has the bits that were
written; weights of bf16 travel as f32, which has all of their numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from loom.core.dtype import DType, bf16
from loom.core.errors import ArgumentError, StateError, near_matches
from loom.nn.spec import Model, Network, Snapshot, parse, read_bundle, to_json, write_bundle
from loom.storage.atomic import replace_file

__all__ = ["is_bundle", "read_model", "read_safetensors", "write_models", "write_safetensors"]

Arrays = dict[str, np.ndarray[Any, Any]]

SAFETENSORS = ".safetensors"
_NETWORK, _FACTS = "loom.network", "loom.training"
"""Keys of the file's metadata: the network's document, and the facts of a training."""
_KEPT = "training/"
"""Begins the names of a training's arrays; no weight is called so."""


def is_bundle(document: Any) -> bool:
    """Tell whether a document (text, bytes, dict or Path) says that it is a bundle of models."""
    value = document
    try:
        if isinstance(value, Path):
            value = value.read_bytes()
        if isinstance(value, (str, bytes)):
            value = json.loads(value)
    except ValueError:
        return False  # who reads it says what is wrong
    return isinstance(value, dict) and "models" in value and "layers" not in value


def _wide(arrays: Mapping[str, np.ndarray[Any, Any]], dtype: DType) -> Arrays:
    """Return weights as other software reads them: bf16's bits as f32."""
    if dtype != bf16:
        return dict(arrays)
    return {n: (a.astype(np.uint32) << 16).view(np.float32) for n, a in arrays.items()}


def write_models(models: Sequence[Model]) -> str:
    """Return the text of a bundle."""
    return write_bundle([replace(m, weights=_wide(m.weights, m.network.dtype)) for m in models])


def read_model(document: str | bytes | dict[str, Any] | Path, model_id: str | None = None) -> Model:
    """Return the model called ``model_id`` of a bundle, or its only one; ArgumentError if there is no such."""
    where = "loom.Network.load"
    models = {m.id: m for m in read_bundle(document)}
    if model_id is None and len(models) == 1:
        return next(iter(models.values()))
    if model_id is None:
        raise ArgumentError(where, "the bundle has not one model", expected="an id", got=f"{len(models)} models",
                            remedy=f"Pass one of {', '.join(map(repr, models)) or 'none'}")  # fmt: skip
    if model_id not in models:
        raise ArgumentError(where, f"no model is called {model_id!r}", remedy=near_matches(model_id, list(models)))
    return models[model_id]


def safetensors_library() -> Any:
    """Return its module for numpy; StateError if it is not installed."""
    try:
        return import_module("safetensors.numpy")
    except ImportError:
        raise StateError(
            "safetensors",
            "the library is not installed",
            expected="the package safetensors",
            got="none",
            remedy="Install it with pip install loom-compute[safetensors], or save a bundle (.json)",
        ) from None


def write_safetensors(path: Path, model: Model) -> None:
    """Write weights by their names, and the network's document as metadata; StateError without the library."""
    arrays, metadata = _wide(model.weights, model.network.dtype), {_NETWORK: to_json(model.network)}
    if model.training is not None:
        arrays |= {_KEPT + n: a for n, a in model.training.arrays.items()}
        metadata[_FACTS] = json.dumps(dict(model.training.facts))
    flat = {n: np.asarray(a, order="C") for n, a in arrays.items()}
    replace_file(path, safetensors_library().save(flat, metadata=metadata), durable=True)


def read_safetensors(path: Path, network: Network | None = None) -> Model:
    """Return the model of a file; ``network`` is needed for one that holds no document.

    ArgumentError for a file that is no safetensors or does not have exactly the network's weights.
    """
    where = f"loom.Network.load, {path.name}"
    library, data = safetensors_library(), path.read_bytes()
    try:
        arrays = library.load(data)
        size = int.from_bytes(data[:8], "little")
        told = json.loads(data[8 : 8 + size]).get("__metadata__", {})
        facts = json.loads(told[_FACTS]) if _FACTS in told else None
    except Exception as error:  # the library's own class, which may change
        raise ArgumentError(where, f"not a safetensors file ({error})", remedy="Check which file it is") from None
    if network is None and _NETWORK not in told:
        raise ArgumentError(where, "the file holds no network", expected=f"metadata {_NETWORK!r}", got="none",
                            remedy="Make the network from its document, then load_weights")  # fmt: skip
    found = network or parse(told[_NETWORK])
    wanted = found.parameters() | found.state()
    kept = {n.removeprefix(_KEPT): arrays.pop(n) for n in list(arrays) if n.startswith(_KEPT)}
    for name in arrays:
        if name not in wanted:
            raise ArgumentError(where, f"unknown weight {name!r}", remedy=near_matches(name, list(wanted)))
    for name, shape in wanted.items():
        if name not in arrays or arrays[name].shape != shape:
            got = arrays[name].shape if name in arrays else "nothing"
            raise ArgumentError(where, f"weight {name!r} does not fit", expected=f"shape {shape}", got=got,
                                remedy="Check which network it is of")  # fmt: skip
    training = Snapshot(facts, kept) if isinstance(facts, dict) else None
    return Model(id=path.stem, network=found, weights=arrays, training=training)
