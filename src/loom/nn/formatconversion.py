"""Networks from one format to another: documents and bundles of ``loom/1`` and both older generations, safetensors.

Layer: nn, over ``loom.nn.spec``. Invariant: what a conversion changes is told, by the layer's name; what it would lose
is refused unless losses are allowed, and told as lost then.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from loom.core.dtype import bf16, f16, f32, f64
from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.late.dataclass import dataclass
from loom.core.narrow import TYPES, numeric_type
from loom.formats.file_writes import SAFETENSORS, path_to_write, write_file
from loom.formats.json_text import canonical
from loom.formats.safetensors import is_safetensors, plain_file
from loom.formats.whole_files import file_bytes
from loom.nn.network import Document, Network
from loom.nn.spec import (
    NetworkSpec,
    SavedModel,
    convert,
    older_tensors,
    read_bundle,
    to_json,
    write_as_first,
    write_first_bundle,
    write_second,
)
from loom.nn.spec.older.packed import KINDS
from loom.nn.train.scalars import flag
from loom.nn.weights.saved import as_document, is_bundle, read_saved, safetensors_of, widen_weights, write_models

__all__ = ["FORMATS", "Converted", "convert_model"]

FORMATS = ("loom/1", "gen1", "gen2", "safetensors")
"""What a model is converted to; ``safetensors`` is Loom's own, to a ``.safetensors`` file ``gen1`` writes its names."""
_WHERE = "loom.nn.formats"
_TYPES = {"f32": f32, "f64": f64, "f16": f16, "bf16": bf16}
_FIRST = {"f8_e4m3": "float8", "f4_e2m1": "float4"}
"""What the first generation calls types that the second has other names for."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A model in another format: its ``data`` as bytes, and ``notes`` of all that changed; losses begin with "lost"."""

    data: bytes
    notes: tuple[str, ...]

    @property
    def losses(self) -> tuple[str, ...]:
        """The notes of what was lost."""
        return tuple(note for note in self.notes if "lost:" in note)


def convert_model(
    source: Document,
    target: str | os.PathLike[str] | None = None,
    *,
    to: str | None = None,
    dtype: str | None = None,
    id: str | None = None,  # noqa: A002
    lossy: bool = False,
    input: int | Sequence[int] | None = None,  # noqa: A002
) -> Converted:
    """Return a model in another format, and write it to ``target`` if there is one.

    ``source``: a document, a bundle or a .safetensors of any generation (a file's name, text, bytes, a dict). ``to``:
    one of ``FORMATS``; by default ``loom/1``, or what ``target`` ends in. ``dtype``: the type of the weights: f32, f64,
    f16 or bf16 of ``loom/1`` and safetensors, one of the older generations' own types of theirs. ``id``: which model of
    a bundle of several, and what it is called. ``lossy``: note what the format cannot say, where something near can be
    said; else that is an ArgumentError. Nothing is written then. ``input``: the shape of a sample, where a document or
    bundle does not tell it.

    >>> found = convert_model({"layers": [{"type": "dense", "input_size": 2, "output_size": 1}]})
    >>> found.data.decode().splitlines()[1].strip(), found.losses
    ('"format": "loom/1",', ())
    """
    lossy = flag(f"{_WHERE}, lossy", lossy)
    path = None if target is None else path_to_write(target, f"{_WHERE}, target")
    is_tensors = path is not None and path.suffix == SAFETENSORS
    to = to if to is not None else ("safetensors" if is_tensors else "loom/1")
    if to not in FORMATS:
        raise ArgumentError(_WHERE, f"no format is called {to!r}", expected=", ".join(FORMATS),
                            got=repr(to), remedy=near_matches(to, FORMATS) or "Choose one of them")  # fmt: skip
    if is_tensors != (to == "safetensors") and not (is_tensors and to == "gen1"):
        raise ArgumentError(_WHERE, f"{to} is no format of such a file", expected="a .safetensors for safetensors",
                            got=str(path), remedy="Name the file .json, or choose --to safetensors")  # fmt: skip
    source = as_document(source)
    models = _models(source, id, input)
    dtype = _type_name(dtype)
    if models is None:
        made = _document(source, to, dtype, id, lossy, input)
    else:
        made = _convert_models(models, to, dtype, lossy, is_tensors)
    if path is not None:
        write_file(path, made.data, _WHERE)
    return made


def _models(source: Document, model_id: str | None, told: int | Sequence[int] | None) -> list[SavedModel] | None:
    """Return the models of a source, None for a document without weights."""
    data = file_bytes(source, _WHERE) if isinstance(source, Path) else source
    if isinstance(data, bytes) and is_safetensors(data):
        found = read_saved(source, None, told)
        return [replace(found, id=model_id or found.id or "model")]
    if not is_bundle(source):
        found = convert(source, told)
        if not found.weights:
            return None
        held = {**Network(found.network, on="cpu").weights(), **found.weights}
        name = model_id or found.network.name or "model"
        return [SavedModel(id=name, network=found.network, weights=held, warnings=found.warnings)]
    models = list(read_bundle(source, told))
    return models if model_id is None else [read_saved(source, model_id, told)]


def _document(
    source: Document, to: str, dtype: str | None, name: str | None, lossy: bool, told: int | Sequence[int] | None
) -> Converted:
    """Return a document without weights in another format."""
    found = convert(source, told)
    network, notes = found.network, list(found.warnings)
    if name is not None:
        network = replace(network, name=name)
    called = network.name or "model"
    if to == "safetensors":
        raise ArgumentError(_WHERE, "a document has no weights to write", expected="a model", got="a document",
                            remedy="Train it first: loom train --out MODEL.json")  # fmt: skip
    if to == "gen1":
        network = network if dtype is None else replace(network, dtype=_type(dtype))
        older = write_as_first(network, called, _WHERE, lossy=lossy, document=True)
        return Converted(canonical(older.config).encode(), (*notes, *older.notes, *_unsaid(network, to)))
    if to == "gen2":
        text, more = write_second(
            network, called, _WHERE, element="float32" if dtype is None else _older_name(dtype, to), lossy=lossy
        )
        return Converted(text.encode(), (*notes, *more, *_unsaid(network, to)))
    network = network if dtype is None else replace(network, dtype=_type(dtype))
    return Converted(to_json(network).encode(), tuple(notes))


def _type(name: str) -> Any:
    if name not in _TYPES:
        raise ArgumentError(_WHERE, "networks of loom/1 compute in no such type", expected="f32, f64, f16 or bf16",
                            got=name, remedy="Choose one of them, or store weights in it: network.convert")  # fmt: skip
    return _TYPES[name]


def _type_name(dtype: Any) -> str | None:
    """Return our name of an element type, whoever's is given; an unknown text as it is: who writes refuses it."""
    try:
        return None if dtype is None else numeric_type(dtype, f"{_WHERE}, dtype").name
    except DTypeError:
        if isinstance(dtype, str):
            return dtype
        raise


def _older_name(dtype: str, to: str) -> str:
    """Return what a generation calls an element type of ours: ``int8`` for i8, ``fp4`` or ``float4`` for f4_e2m1."""
    if to == "gen1" and dtype in _FIRST:
        return _FIRST[dtype]
    return dict(zip(TYPES, KINDS, strict=True)).get(dtype, dtype)


def _convert_models(
    models: Sequence[SavedModel], to: str, dtype: str | None, lossy: bool, is_tensors: bool
) -> Converted:
    """Return models with weights in another format."""
    if len(models) != 1 and to != "loom/1":
        raise ArgumentError(_WHERE, "the bundle has not one model", expected="an id", got=f"{len(models)} models",
                            remedy="Pass one of " + ", ".join(repr(m.id) for m in models))  # fmt: skip
    notes = [note for model in models for note in model.warnings]
    if to in ("loom/1", "safetensors"):
        changed = [_as_type(model, dtype) for model in models]
        notes += [note for _, more in changed for note in more]
        made = [replace(model, warnings=()) for model, _ in changed]
        data = write_models(made).encode() if to == "loom/1" else safetensors_of(made[0]).whole()
        return Converted(data, tuple(notes))
    model = models[0]
    model = replace(model, weights=widen_weights(model.weights))
    if to == "gen2":
        element = "float32" if dtype is None else _older_name(dtype, to)
        text, more = write_second(model.network, model.id, _WHERE, weights=model.weights, element=element, lossy=lossy)
    elif is_tensors:
        if dtype not in (None, "f32"):
            raise ArgumentError(_WHERE, "the names of the first generation are written as f32", expected="no dtype",
                                got=dtype, remedy="Leave it out")  # fmt: skip
        arrays, more = older_tensors(model, lossy=lossy)
        kept = _unsaid(model.network, to)
        return Converted(plain_file(arrays), (*notes, *more, *_training_notes(model), *kept))
    else:
        text, more = write_first_bundle(model, element=None if dtype is None else _older_name(dtype, to), lossy=lossy)
    return Converted(text.encode(), (*notes, *more, *_training_notes(model), *_unsaid(model.network, to)))


def _training_notes(model: SavedModel) -> list[str]:
    kept = ["where its training stopped is left out"] if model.training is not None else []
    return kept + _storage_notes(model)


def _storage_notes(model: SavedModel) -> list[str]:
    """Tell that weights are no longer in their types of storage: files grow."""
    types = ", ".join(dict.fromkeys(held.dtype.name for held in model.stored.values()))
    return [f"that {len(model.stored)} weights are stored in {types} is left out"] if types else []


def _as_type(model: SavedModel, dtype: str | None) -> tuple[SavedModel, list[str]]:
    """Return a model whose network computes in another type, and what that changes of its weights."""
    if dtype is None or _type(dtype) == model.network.dtype:
        return model, []
    spec = replace(model.network, dtype=_type(dtype))
    net, notes = Network(spec, on="cpu"), list[str]()
    held = {n: a.astype(np.float64) for n, a in widen_weights(model.weights).items()}
    net.load_weights(held)
    for name, array in net.weights().items():
        change = np.abs(np.asarray(array, np.float64) - held[name]).max(initial=0.0)
        if change:
            notes.append(f"{name}: weights as {dtype}, largest change {change:.3g}")
    if model.training is not None:
        notes.append("where its training stopped is left out: it was of another type")
    notes += _storage_notes(model)
    return SavedModel(id=model.id, network=spec, weights=net.model.weights()), notes


def _unsaid(network: NetworkSpec, to: str) -> list[str]:
    """Return what a network says that the older formats have no words for, and that changes nothing it computes."""
    told: list[tuple[str, Any]] = [("classes", network.classes), ("metadata", network.metadata)]
    if to == "gen2":
        told.append(("seed", network.seed))
    notes = [f"'{name}' is left out: no such key there" for name, value in told if value]
    frozen = [part.name for part in network.walk() if part.layer.frozen]
    return notes + ([f"{', '.join(frozen)}: that it is frozen is left out"] if frozen else [])
