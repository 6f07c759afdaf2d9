"""Networks with weights as files and texts: bundles (JSON, base64), and safetensors.

Both hold where a training stopped as well, if it is given. Layer: nn. Invariant: what is read has the bits that were
written; weights of bf16 travel as f32, which has all of their numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.conversions import LARGEST, widen
from loom.core.dtype import DType, bf16
from loom.core.errors import ArgumentError, DTypeError, NotFinite, near_matches
from loom.core.given import is_mapping
from loom.formats.file_writes import SAFETENSORS, write_file
from loom.formats.safetensors import SealedParts, is_safetensors, plain_file
from loom.formats.stored_weights import Arrays, read_stored, write_stored
from loom.formats.whole_files import file_bytes
from loom.nn.base.resumption import PROGRESS, PROGRESS_NUMBERS, SETTINGS_KEY, facts_of, progress_of, settings_digest
from loom.nn.base.torchnames import Names, from_torch, rename
from loom.nn.spec import (
    NetworkSpec,
    SavedModel,
    Snapshot,
    from_older_tensors,
    older_tensors,
    parse,
    read_bundle,
    to_json,
    write_bundle,
    write_older_bundle,
)
from loom.nn.spec.document import Document

__all__ = [
    "KEPT", "as_document", "is_bundle", "network_metadata", "of_elsewhere", "read_model", "read_saved",
    "require_numbers", "safetensors_of", "training_metadata", "widen_weights", "write_models", "write_older",
    "write_saved",
]  # fmt: skip

LAYOUTS = ("loom", "torch", "older")

_NETWORK, _FACTS = "loom.network", "loom.training"
"""Keys of the file's metadata: the network's document, and the facts of a training."""
KEPT = "training/"
"""Begins the names of a training's arrays; no weight is called so."""


def is_bundle(document: Any) -> bool:
    """Tell whether a document (text, bytes, dict or Path) says that it is a bundle of models."""
    value = document
    try:
        if isinstance(value, Path):
            value = file_bytes(value, "loom.nn")
        if isinstance(value, (str, bytes)):
            value = json.loads(value)
    except ValueError:
        return False  # who reads it says what is wrong
    return isinstance(value, dict) and "models" in value and "layers" not in value


def widen_weights(arrays: Mapping[str, Array]) -> Arrays:
    """Return weights as other software reads them: bf16's bits as f32; those that were read from files are already."""
    return {name: widen(a, bf16) if a.dtype == np.uint16 else a for name, a in arrays.items()}


def write_models(models: Sequence[SavedModel]) -> str:
    """Return the text of a bundle."""
    return write_bundle([replace(m, weights=widen_weights(m.weights)) for m in models])


def read_model(document: Document, model_id: str | None = None, told: int | Sequence[int] | None = None) -> SavedModel:
    """Return the model called ``model_id`` of a bundle, or its only one; ArgumentError if there is no such.

    ``told``: the shape of a sample, where the bundle has none.
    """
    where = "loom.Network.load"
    models = {m.id: m for m in read_bundle(document, told)}
    if model_id is None and len(models) == 1:
        return next(iter(models.values()))
    if model_id is None:
        raise ArgumentError(where, "the bundle has not one model", expected="an id", got=f"{len(models)} models",
                            remedy=f"Pass one of {', '.join(map(repr, models)) or 'none'}")  # fmt: skip
    if not isinstance(model_id, str) or model_id not in models:
        raise ArgumentError(where, f"no model is called {model_id!r}", remedy=near_matches(model_id, list(models)))
    return models[model_id]


def network_metadata(network: NetworkSpec) -> dict[str, str]:
    """Return what a .safetensors file tells of the network that its tensors are the weights of."""
    return {_NETWORK: to_json(network)}


def training_metadata(facts: Mapping[str, object]) -> dict[str, str]:
    """Return what a .safetensors file tells of a training: its facts, and the digest of its settings."""
    found = {_FACTS: json.dumps(dict(facts))}
    config, samples = facts.get("config"), facts.get("samples")
    if is_mapping(config) and isinstance(samples, int):
        found[SETTINGS_KEY] = settings_digest(config, samples)
    return found


def safetensors_of(model: SavedModel) -> SealedParts:
    """Return a file of weights by their names, with the network's document as metadata."""
    arrays, metadata = widen_weights(model.weights), network_metadata(model.network)
    if model.training is not None:
        arrays |= {KEPT + n: a for n, a in model.training.arrays.items()}
        progress = progress_of(model.training.facts)
        if progress is not None:
            arrays[KEPT + PROGRESS] = progress
        metadata |= training_metadata(model.training.facts)
    return write_stored({n: np.asarray(a, order="C") for n, a in arrays.items()}, model.stored, metadata)


def as_document(source: Document) -> Document:
    """Return a text that does not begin with ``{`` as the path of a file."""
    is_name = isinstance(source, str) and not source.lstrip().startswith("{")
    return Path(str(source)) if is_name else source


def read_saved(source: Document, model_id: str | None, told: int | Sequence[int] | None = None) -> SavedModel:
    """Return a model of a bundle (file, text, bytes, dict), or that of a .safetensors (file, bytes).

    ``told``: the shape of a sample, where a bundle has none.
    """
    source = as_document(source)
    if isinstance(source, (Path, bytes)) and (
        source.suffix == SAFETENSORS if isinstance(source, Path) else is_safetensors(source)
    ):
        _require_no_id(model_id, None, "loom.Network.load, id")
        if told is not None:
            raise ArgumentError(
                "loom.Network.load, input",
                "has no effect: the file tells the size of its input",
                expected="input left out",
                got=told,
                remedy="Leave it out",
            )
        return read_safetensors(source)
    return read_model(source, model_id, told)


def write_saved(path: Path | None, model: SavedModel) -> str:
    """Write a model; return the bundle's text, of a .safetensors ""."""
    if path is not None and path.suffix == SAFETENSORS:
        _require_no_id(model.id, "model", "loom.Network.save, id")
        write_file(path, safetensors_of(model), "loom.Network.save")
        return ""
    text = write_models([model])
    if path is not None:
        write_file(path, text.encode(), "loom.Network.save")
    return text


def _require_no_id(given: str | None, default: str | None, where: str) -> None:
    if given != default:
        raise ArgumentError(where, "a .safetensors file keeps no id", expected="none", got=repr(given),
                            remedy="Leave it out, or use a bundle (.json)")  # fmt: skip


def write_older(path: Path | None, model: SavedModel) -> str:
    """Write a model as programs of the first generation read it; return the bundle's text, of a .safetensors ""."""
    if path is None or path.suffix != SAFETENSORS:
        text = write_older_bundle(model)
        if path is not None:
            write_file(path, text.encode(), "loom.Network.save")
        return text
    write_file(path, plain_file(older_tensors(model)[0]), "loom.Network.save")
    return ""


def read_safetensors(source: Path | bytes) -> SavedModel:
    """Return the model of a file of ours, or of its bytes.

    ArgumentError for what is no safetensors, holds no network, or does not have exactly its weights.
    """
    name = source.name if isinstance(source, Path) else "bytes"
    where = f"loom.Network.load, {name}"
    arrays, stored, told = read_stored(file_bytes(source, where) if isinstance(source, Path) else source, where)
    if _NETWORK not in told:
        raise ArgumentError(where, "the file holds no network", expected=f"metadata {_NETWORK!r}", got="none",
                            remedy="Make the network from its document, then load_weights")  # fmt: skip
    found = parse(told[_NETWORK])
    kept = {n.removeprefix(KEPT): arrays.pop(n) for n in list(arrays) if n.startswith(KEPT)}
    _require_fit(arrays, found, where)
    training = _snapshot(told, kept, where) if _FACTS in told else None
    return SavedModel(id=Path(name).stem, network=found, weights=arrays, training=training, stored=stored)


def _snapshot(told: Mapping[str, str], kept: Arrays, where: str) -> Snapshot:
    """Return where a training stopped; that of an export, which tells it in words, as Loom keeps it."""
    facts, words = _facts(told, where), kept.pop(PROGRESS, None)
    if "epoch" in facts or words is None:
        return Snapshot(facts, kept)
    if (words.dtype, words.shape) != (np.dtype(np.uint64), (PROGRESS_NUMBERS,)):
        what, wanted = f"the tensor {KEPT + PROGRESS!r} tells no progress", f"{PROGRESS_NUMBERS} of uint64"
        raise ArgumentError(where, what, expected=wanted, got=words.dtype, remedy="Check which file it is")
    facts = facts_of(facts, words, kept)
    return Snapshot(facts, {n: a for n, a in kept.items() if facts["epoch"] or not n.startswith("best/")})


def _facts(told: Mapping[str, str], where: str) -> dict[str, Any]:
    try:
        facts = json.loads(told[_FACTS])
    except ValueError:
        facts = None
    if not is_mapping(facts):
        raise ArgumentError(where, f"the metadata {_FACTS!r} is no object", expected="a JSON object",
                            got=repr(told[_FACTS])[:60], remedy="Check which file it is")  # fmt: skip
    return dict(facts)


def _require_fit(arrays: Mapping[str, Array], network: NetworkSpec, where: str) -> None:
    wanted = network.parameters() | network.state()
    for name in arrays:
        if name not in wanted:
            raise ArgumentError(where, f"unknown weight {name!r}", remedy=near_matches(name, list(wanted)))
    for name, shape in wanted.items():
        if name not in arrays or arrays[name].shape != shape:
            got = arrays[name].shape if name in arrays else "nothing"
            raise ArgumentError(where, f"weight {name!r} does not fit", expected=f"shape {shape}", got=got,
                                remedy="Check which network it is of")  # fmt: skip


def of_elsewhere(
    source: Mapping[str, Any] | str | bytes | os.PathLike[str], network: NetworkSpec, names: Names, layout: str
) -> dict[str, Any]:
    """Return weights for a network: of a mapping, of a .safetensors file or its bytes, or of a bundle of one model.

    ``names`` and ``layout`` are as in ``Network.load_weights``, which tells the errors.
    """
    where = "loom.Network.load_weights"
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ArgumentError(f"{where}, layout", "no such layout", expected=" or ".join(map(repr, LAYOUTS)),
                            got=repr(layout), remedy=near_matches(str(layout), LAYOUTS))  # fmt: skip
    is_file = isinstance(source, (str, os.PathLike))
    if is_file:
        where = f"{where}, {Path(source).name}"
    found = rename(_arrays_of(source, where), names, where)
    if layout == "torch":
        found = from_torch(network, found, where)
    if layout == "older":
        found = from_older_tensors(network, found, where)
    require_numbers(found, network.dtype, where)
    if is_file:
        _require_fit(found, network, where)
    return found


def _arrays_of(source: Mapping[str, Any] | str | bytes | os.PathLike[str], where: str) -> Mapping[str, Any]:
    if is_mapping(source):
        return {str(name): _on_host(a) for name, a in source.items()}
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        _require_no_archive(data, where)
        return _weights_of(data, where) if is_safetensors(data) else read_model(data).weights
    if not isinstance(source, (str, os.PathLike)):
        raise DTypeError(where, "not weights", expected="a mapping of arrays, a file's name or its bytes",
                         got=type(source).__name__, remedy="Pass for example a state_dict")  # fmt: skip
    path = Path(source)
    if path.suffix != SAFETENSORS:
        _require_no_archive(file_bytes(path, where), where)
        return read_model(path).weights
    return _weights_of(file_bytes(path, where), where)


def _weights_of(data: bytes, where: str) -> Arrays:
    """Return the weights of a .safetensors, without what it may have of a training."""
    arrays, _, told = read_stored(data, where)
    of_training = ("state/", "best/") if told.get("loom", "").startswith("export of ") else KEPT  # of older exports
    return {name: a for name, a in arrays.items() if not name.startswith(of_training)}


def _require_no_archive(data: bytes, where: str) -> None:
    """See that it is no .npz or .pt, which are zip archives, some of objects that run code when they are read."""
    if data.startswith(b"PK\x03\x04"):
        raise ArgumentError(where, "an archive, as numpy and PyTorch write them", expected="a .safetensors or a bundle",
                            got="a zip file", remedy="Pass what they read of it: dict(numpy.load(path)), or "
                            "torch.load(path, weights_only=True)")  # fmt: skip


def _on_host(array: Any) -> Any:
    """Return PyTorch's tensors as arrays: without their gradients, from any device, bfloat16 as f32."""
    if not hasattr(array, "detach"):
        return array
    held = array.detach().cpu()
    return held.float().numpy() if str(held.dtype) == "torch.bfloat16" else held.numpy()


def require_numbers(weights: Mapping[str, Any], dtype: DType, where: str) -> None:
    """See that weights from elsewhere are numbers of a network of ``dtype``.

    DTypeError for arrays of integers, which stand for other numbers by a scale that nobody told; NotFinite for NaN and
    infinities; ArgumentError for numbers that are too large for the type.
    """
    for name, given in weights.items():
        if dtype == bf16 and getattr(given, "dtype", None) == np.uint16:
            given = widen(given, bf16)
        _require_floats(name, given, where)
        array = np.asarray(given)
        if array.dtype.kind not in "fiub":
            continue  # who writes it says what is wrong
        is_finite = np.isfinite(array)
        if not is_finite.all():
            place = tuple(int(i) for i in np.argwhere(~is_finite)[0])
            raise NotFinite(f"{where}, {name!r}", f"a weight is {array[place]}", expected="finite numbers",
                            got=f"{np.count_nonzero(~is_finite)} others, the first at {place}",
                            remedy="The training it comes from diverged, or the file is damaged")  # fmt: skip
        largest = float(np.abs(array.astype(np.float64)).max(initial=0.0))
        if largest > LARGEST[dtype.name]:
            raise ArgumentError(f"{where}, {name!r}", f"a weight is too large for {dtype}",
                                expected=f"at most {LARGEST[dtype.name]:g} in size", got=f"{largest:g}",
                                remedy='Use a network of a wider type: {"dtype": "f64"}')  # fmt: skip


def _require_floats(name: str, given: Any, where: str) -> None:
    kind = getattr(getattr(given, "dtype", None), "kind", "f")  # lists of whole numbers are what they say
    if kind in "iub":
        raise DTypeError(f"{where}, {name!r}", "weights of integers have no scale", expected="floating point",
                         got=given.dtype, remedy="Multiply them by their scale first")  # fmt: skip
