"""Documents of integer networks: ``loom/integer-1``.

The document of the network, its type, the exponents of everything, the masters as base64 of little-endian i32, and a
digest of all that. Layer: nn. Invariant: what is read has the integers that were written, and the same digest; a
document that tells a digest and has another is refused.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from loom.core.errors import ArgumentError, FileError, near_matches
from loom.core.given import is_mapping
from loom.formats.file_writes import path_to_write, write_file
from loom.formats.json_text import DIGEST, JsonObject, base64_bytes, base64_text, brief, document_digest, load_json
from loom.formats.whole_files import file_bytes
from loom.nn.integer.model import NO_PEAK, IntegerModel
from loom.nn.integer.record import BITS
from loom.nn.integer.weights import LEAST_EXPONENT, MOST_EXPONENT, largest_master
from loom.nn.spec import parse, to_document
from loom.nn.weights.saved import as_document
from loom.runtime.port.device import Device

Model = TypeVar("Model", bound=IntegerModel)

__all__ = ["read_integer", "write_integer"]

FORMAT = "loom/integer-1"
_WHERE = "IntegerNetwork.load"
_MOST_STATE_EXPONENT = 1 << 10
"""What no training reaches: it ends where numbers leave f32."""
_MOST_COUNT = (1 << 63) - 1
_KEYS = ("network", "dtype", "step", "inputs", "outputs", "exponents", "masters")
_LATER = ("peaks", "saturated", DIGEST)
"""Keys that files written before these were kept have not."""


def write_integer(net: IntegerModel, path: Any) -> str:
    """Return the text, and write it if there is a path; FileError if that cannot be."""
    with net.lock:
        found = _document(net)
    text = json.dumps({**found, DIGEST: document_digest(found)}, indent=1)
    if path is not None:
        write_file(path_to_write(path, "IntegerNetwork.save, path"), text.encode(), "IntegerNetwork.save")
    return text


def _document(net: IntegerModel) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "dtype": net.dtype,
        "step": int(net.step.item()),
        "inputs": net.inputs,
        "outputs": {n: int(e.item()) for n, e in net.outputs.items()},
        "exponents": {n: int(e.item()) for n, e in net.exponents.items()},
        "masters": {n: base64_text(m.numpy().astype("<i4").tobytes()) for n, m in net.masters.items()},
        "peaks": {n: int(e.item()) for n, e in net.peaks.items()},
        "saturated": {n: int(count.item()) for n, count in net.saturated.items()},
        "network": to_document(net.spec),
    }


def _wrong(what: str, expected: object, got: object) -> ArgumentError:
    return ArgumentError(_WHERE, what, expected=expected, got=str(got)[:80], remedy="Check which file it is")


def _read(source: Any) -> dict[str, Any]:
    """Return the object of a file or text, all of its keys there."""
    source = as_document(source)
    data: Any = file_bytes(source, _WHERE) if isinstance(source, Path) else source
    try:
        found = load_json(data.encode() if isinstance(data, str) else memoryview(data), _WHERE, "the document")
    except FileError as error:
        raise ArgumentError(_WHERE, error.what, expected=f"a file of {FORMAT}", got=error.got,
                            remedy="Check which file it is") from None  # fmt: skip
    except (ValueError, TypeError) as error:
        raise _wrong("not JSON", f"a file of {FORMAT}", error) from None
    if found.get("format") != FORMAT:
        raise _wrong("not an integer network", FORMAT, found.get("format"))
    for key in _KEYS:
        if key not in found:
            raise _wrong(f"{key!r} is missing", ", ".join(_KEYS), ", ".join(found))
    known = ("format", *_KEYS, *_LATER)
    for key in found:
        if key not in known:
            raise ArgumentError(
                _WHERE,
                f"unknown key {brief(key)}",
                expected=", ".join(known),
                got=brief(key),
                remedy=near_matches(key[:100], known) or "Take it out",
            )
    return found


def _require_whole(document: JsonObject) -> None:
    """See that a document has the digest that it tells."""
    if DIGEST in document and document[DIGEST] != (found := document_digest(document)):
        wanted = f"SHA-256 {brief(document[DIGEST])}"
        raise ArgumentError(
            _WHERE,
            "the file is damaged, or was changed",
            expected=wanted,
            got=found,
            remedy=f"Get it again; if it was changed on purpose, take out {DIGEST!r}",
        )


def _numbers(value: Any, what: str, names: Any, least: int = -_MOST_STATE_EXPONENT,
             most: int = _MOST_STATE_EXPONENT) -> dict[str, int]:  # fmt: skip
    """Return a whole number from ``least`` to ``most`` for each name."""
    if not is_mapping(value) or sorted(value) != sorted(names):
        raise _wrong(f"{what} do not fit the network", f"a number for each of {', '.join(names)}", value)
    for name, e in value.items():
        if type(e) is not int or not least <= e <= most:
            raise _wrong(f"{what}, {name!r}", f"a whole number from {least} to {most}", e)
    return dict(value)


def read_integer(kind: type[Model], source: Any, on: str | Device | None) -> Model:
    """Return the network, a ``kind``, of a text or a file."""
    found = _read(source)
    spec, dtype = parse(found["network"]), found["dtype"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _wrong("dtype", " or ".join(BITS), dtype)
    step = found["step"]
    if type(step) is not int or not 0 <= step < 1 << 32:
        raise _wrong("step", "a whole number below 2^32", step)
    shapes = spec.parameters()
    names = [i.name for i in spec.inputs]
    inputs = _numbers(found["inputs"], "inputs", names, LEAST_EXPONENT, MOST_EXPONENT)
    exponents = _numbers(found["exponents"], "exponents", shapes)
    given = found["masters"]
    if not is_mapping(given) or sorted(given) != sorted(shapes):
        raise _wrong("masters do not fit the network", ", ".join(shapes), given)
    net = kind(spec, dtype, {n: np.zeros(s, np.float32) for n, s in shapes.items()}, inputs, on=on)
    for name, shape in shapes.items():
        net.masters[name].assign(_master(name, given[name], shape, BITS[dtype]))
        net.exponents[name].assign(np.array(exponents[name], np.int32))
    net.step.assign(np.array(step, np.uint32))
    places = net.rounding_places()
    net.at(_numbers(found["outputs"], "outputs", places))
    for key, state, least, most in (
        ("peaks", net.peaks, NO_PEAK, _MOST_STATE_EXPONENT), ("saturated", net.saturated, 0, _MOST_COUNT),
    ):  # fmt: skip
        if key in found:
            for name, value in _numbers(found[key], key, places, least, most).items():
                state[name].assign(np.array(value, state[name].dtype.numpy))
    _require_whole(found)
    return net


def _master(name: str, text: Any, shape: tuple[int, ...], bits: int) -> Any:
    data = base64_bytes(text)
    if data is None:
        raise _wrong(f"master {name!r} is not base64", "bytes as base64", text)
    if len(data) != 4 * math.prod(shape):
        raise _wrong(f"master {name!r} has another size", f"{4 * math.prod(shape)} bytes", len(data))
    values = np.frombuffer(data, "<i4").astype(np.int32).reshape(shape)
    most = largest_master(name, bits)
    if values.size and np.abs(values.astype(np.int64)).max() > most:
        raise _wrong(f"master {name!r} is out of range", f"at most {most} in size", "a larger one")
    return values
