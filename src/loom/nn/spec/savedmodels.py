"""Documents of models, bundles: networks with their weights in one JSON text.

Layer: nn. Invariant: ``read_bundle(write_bundle(models))`` gives the same networks and the same bits; every array read
has the shape that ``NetworkSpec.parameters`` or ``NetworkSpec.state`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import bf16, f32, lookup
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.core.narrow import StoredArray, numeric_type
from loom.formats.json_tensors import FLOATS, is_coded, read_codes, read_tensor, write_codes, write_tensor
from loom.formats.json_text import DIGEST, JsonObject, JsonValue, brief, canonical, document_digest
from loom.nn.spec.base.fields import IGNORED
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.base.text import load
from loom.nn.spec.document import read_any, sample_shape
from loom.nn.spec.older.pieces import Conversion
from loom.nn.spec.reader import FORMAT, write_network
from loom.nn.spec.snapshot import ID, OLDER_KIND, SavedModel, read_training, write_training

__all__ = ["read_bundle", "write_bundle"]


KIND = "loom/bundle"
"""The type of our bundles, of version 1; ``OLDER_KIND`` with weights in ``loom/1`` is what we wrote before."""


def read_bundle(
    document: str | bytes | JsonObject | Path,
    input: int | Sequence[int] | None = None,  # noqa: A002
) -> tuple[SavedModel, ...]:
    """Return the models of a bundle of ours or of the first generation, in the document's order.

    Weights of older bundles come as float32, ours as they were written; arrays own their memory.

    Args:
        document: JSON text, its UTF-8 bytes, a dict as ``json.loads`` makes them, or the ``Path`` of a file.
        input: Shape of a sample, for a document of the older generations that does not tell it; None: that of the
            document.

    Raises:
        ArgumentError: ``input`` is no shape, or has no effect: the documents tell it.
        DTypeError: Not a document.
        SpecError: Not a bundle; the models have problems, all of them listed.
        FileError: The file cannot be read.
    """
    if not isinstance(document, (str, bytes, dict, Path)):
        raise DTypeError(
            "loom.nn.read_bundle", "not a document", expected="JSON text, bytes, a dict or a pathlib.Path",
            got=type(document).__name__,
        )  # fmt: skip
    reading = Reading(told_input=sample_shape(input, "loom.nn.read_bundle, input"))
    place = Place(reading)
    value = load(document, place)
    reading.check("loom.nn.read_bundle", "bundle")
    models = _read_models(value, place)
    reading.check("loom.nn.read_bundle", "bundle")
    reading.require_use("loom.nn.read_bundle")
    return tuple(models)


def _read_models(value: JsonValue, place: Place) -> list[SavedModel]:
    if not isinstance(value, dict):
        place.wrong("an object", value)
        return []
    kind, version = value.get("type"), value.get("version", 1)
    if "models" not in value and "layers" in value and "format" not in value:
        return _read_second(value, place)
    if kind not in (KIND, OLDER_KIND):
        remedy = "It is a network without weights: read it with from_json." if "format" in value else ""
        if str(value.get("format")).startswith("loom/integer"):
            remedy = "It is a network of integers: read it with loom.nn.integer.IntegerNetwork.load."
        expected = f"'{KIND}' or '{OLDER_KIND}'"
        place.at("type").fault("not a bundle", expected=expected, got=brief(kind), remedy=remedy)
        return []
    if type(version) is not int or version != 1:
        remedy = "A newer Loom wrote it." if type(version) is int and version > 1 and kind == KIND else ""
        place.at("version").fault("unusable version", expected=1, got=brief(version), remedy=remedy)
    for key in value:
        if key not in ("type", "version", "models", DIGEST, *IGNORED):
            place.at(key).unknown("key", key, ("type", "version", "models", DIGEST))
    raw, here = value.get("models"), place.at("models")
    if not isinstance(raw, (list, tuple)):
        here.wrong("a list of models", raw)
        return []
    models, before = list[SavedModel](), place.count
    for i, each in enumerate(raw):
        model = _read_model(each, here.at(i))
        if model is not None and any(m.id == model.id for m in models):
            here.at(i, "id").fault(f"another model has the id {brief(model.id)}")
        models += [model] if model is not None else []
    if place.count == before and DIGEST in value:
        _require_whole(value, place.at(DIGEST))
    return models


def _require_whole(value: JsonObject, place: Place) -> None:
    """See that a bundle has the digest that it tells."""
    found = document_digest(value)
    if value[DIGEST] != found:
        remedy = f"Get it again; if it was changed on purpose, take out {DIGEST!r}."
        what = "the bundle is damaged, or was changed"
        place.fault(what, expected=f"SHA-256 {brief(value[DIGEST])}", got=brief(found), remedy=remedy)


def _read_second(value: JsonObject, place: Place) -> list[SavedModel]:
    """Return the model of a second-generation document that holds its weights."""
    before = place.count
    found = read_any(value, place)
    if found is None or place.count != before:
        return []
    missing = [name for name in found.network.parameters() if name not in found.weights]
    if missing:
        place.fault("the document holds no weights, or not all of them", expected="those of every layer",
                    got=f"none for {missing[0]!r}", remedy="Read it with from_json: what is missing starts anew.",
                    )  # fmt: skip
        return []
    name = found.network.name or "model"
    return [SavedModel(id=name, network=found.network, weights=dict(found.weights), warnings=found.warnings)]


def _read_model(value: JsonValue, place: Place) -> SavedModel | None:
    if not isinstance(value, dict):
        place.wrong("a model: an object with id, cfg and weights", value)
        return None
    before = place.count
    for key in value:
        if key not in ("id", "cfg", "weights", "training", *IGNORED):
            place.at(key).unknown("key", key, ("id", "cfg", "weights", "training"))
    ID.read(value.get("id"), place.at("id"))
    conversion = _read_network(value.get("cfg"), place.at("cfg"))
    weights = value.get("weights")
    if not isinstance(weights, dict) or not isinstance(weights.get("fmt"), str):
        place.at("weights").wrong("an object with fmt", weights)
        return None
    if conversion is None or place.count != before:
        return None
    notes = list(conversion.warnings)
    stored: dict[str, StoredArray] = {}
    arrays = _read_weights(weights, value["cfg"], conversion, place.at("weights"), notes, stored)
    training = read_training(value["training"], place.at("training")) if "training" in value else None
    if place.count != before:
        return None
    network, warnings = conversion.network, tuple(notes)
    return SavedModel(
        id=str(value["id"]), network=network, weights=arrays, warnings=warnings, training=training, stored=stored
    )  # fmt: skip


def _read_network(value: JsonValue, place: Place) -> Conversion | None:
    own = Reading(told_input=place.reading.told_input)  # names of layers are known within their network alone
    here = Place(own, place.path)
    conversion = read_any(value, here, saved=True)
    place.reading.uses_input |= own.uses_input
    for problem in own.problems:
        place.reading.note(problem)
    return None if own.problems else conversion


def _read_weights(
    value: JsonObject, config: JsonValue, found: Conversion, place: Place, notes: list[str],
    stored: dict[str, StoredArray],
) -> dict[str, Array]:  # fmt: skip
    """Return the weights; those in another type than the network's are put into ``stored`` as well."""
    if value["fmt"] != FORMAT:
        from loom.nn.spec.older.weights import read_old_weights

        return read_old_weights(value, config, found, place, notes)
    for key in value:
        if key not in ("fmt", "tensors", *IGNORED):
            place.at(key).unknown("key", key, ("fmt", "tensors"))
    wanted = found.network.parameters() | found.network.state()
    tensors, here = value.get("tensors"), place.at("tensors")
    own = f32 if found.network.dtype == bf16 else found.network.dtype  # weights of bf16 travel as f32
    if not isinstance(tensors, dict):
        here.wrong("an object of tensors", tensors)
        return {}
    for name in tensors:
        if name not in wanted:
            here.at(name).unknown("weight", name, wanted)
    arrays: dict[str, Array] = {}
    for name, shape in wanted.items():
        if name not in tensors:
            here.fault(f"weight {brief(name)} is missing", expected=f"shape {shape}")
            continue
        if is_coded(tensors[name]):
            held = read_codes(tensors[name], here.at(name).note, shape)
            if held is not None:
                stored[name], arrays[name] = held, held.decode()
            continue
        array = read_tensor(tensors[name], FLOATS, here.at(name).note, shape)
        if array is not None:
            arrays[name] = array
            kind = numeric_type(array.dtype)
            if kind.name != own.name:
                data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
                stored[name] = StoredArray(kind, shape, data)
    return arrays


def write_bundle(models: Sequence[SavedModel]) -> str:
    """Return the text of a bundle.

    Args:
        models: Models; ``weights`` of each are f32, f64 or f16 arrays with exactly the names and shapes of
            ``parameters()`` and ``state()``.

    Returns:
        Networks as ``loom/1``, weights as base64 of their little-endian bytes, and a digest.

    Raises:
        ArgumentError: A name of a weight that is missing or strange; an id that is unusable, or twice.
        DTypeError: Weights of another dtype.
        ShapeError: Weights of another shape.
    """
    where = "loom.nn.write_bundle"
    ids = [m.id for m in models]
    for each in ids:
        if not ID.holds(each):
            raise ArgumentError(where, "unusable id of a model", expected=ID.expected, got=ascii(each)[:100],
                                remedy="Call it by a short name")  # fmt: skip
    if len(set(ids)) != len(ids):
        raise ArgumentError(where, "two models have the same id", got=sorted(i for i in set(ids) if ids.count(i) > 1))
    bundle: JsonObject = {"type": KIND, "version": 1, "models": [_write_model(m, where) for m in models]}
    return canonical({**bundle, DIGEST: document_digest(bundle)})


def _write_model(model: SavedModel, where: str) -> JsonObject:
    wanted = model.network.parameters() | model.network.state()
    for name in model.weights:
        if name not in wanted:
            raise ArgumentError(where, f"unknown weight {name!r}", remedy=near_matches(name, wanted))
    tensors: JsonObject = {}
    for name, shape in wanted.items():
        if name not in model.weights:
            raise ArgumentError(where, f"weight {name!r} is missing", expected=f"shape {shape}")
        held = model.stored.get(name)
        array = np.asarray(model.weights[name])
        tensors[name] = _write_weight(name, array, shape, where) if held is None else write_codes(held)
    weights: JsonObject = {"fmt": FORMAT, "tensors": tensors}
    made: JsonObject = {"id": model.id, "cfg": write_network(model.network), "weights": weights}
    return made if model.training is None else {**made, "training": write_training(model.training)}


def _write_weight(name: str, array: Array, shape: tuple[int, ...], where: str) -> JsonObject:
    if array.dtype not in [lookup(n).numpy for n in FLOATS]:
        raise DTypeError(where, f"weight {name!r} has an unusable type", expected=", ".join(FLOATS), got=array.dtype)
    if array.shape != shape:
        raise ShapeError(where, f"weight {name!r} has another shape", expected=shape, got=array.shape)
    return write_tensor(array)
