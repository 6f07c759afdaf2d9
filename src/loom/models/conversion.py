"""Checkpoints into other files and other types of storage, and how far that takes each tensor from what it was.

Layer: models. Invariant: what is written is what is told: each tensor that was rounded has its error in the result, and
every other one its very bits; a file is there whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.arrays import read_array
from loom.core.errors import ArgumentError, DTypeError, FileError, near_matches
from loom.core.given import is_list, is_mapping, one_of
from loom.core.given import path as path_of
from loom.core.late.dataclass import dataclass
from loom.core.narrow import RULES, NumericType, numeric_type
from loom.core.numbers import whole as whole_number
from loom.formats.checkpoint import Checkpoint, StoredTensor
from loom.formats.file_writes import SAFETENSORS, write_file
from loom.formats.ggufwriting import gguf_parts
from loom.formats.opening import CONFIG_KEY, GGUF_KEY, Opened, open_checkpoint
from loom.formats.safetensors import DIGEST_KEY, NO_DIGEST, FilePiece, SealedParts, encode_file
from loom.formats.stored_weights import STORAGE_KEY
from loom.formats.storing import is_plain, is_weight, pieces_of
from loom.formats.tensor_error import TensorError

if TYPE_CHECKING:
    from loom.nn.network import Network

__all__ = ["ConvertedCheckpoint", "convert_checkpoint"]

_WHERE = "loom.models.files.convert_checkpoint"
_CONFIG, _INDEX = "config.json", "model.safetensors.index.json"
_NOT_COPIED = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".onnx", ".gguf", ".ot")
_PLAIN_NAMES = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_LEAST_SHARD = 1 << 10
_COLUMNS = ("tensor", "type", "elements", "max error", "rms", "bits lost", "clipped", "bytes")


@dataclass(frozen=True, slots=True)
class ConvertedCheckpoint:
    """What was written: ``files``, or ``data`` where no file was asked for; ``nbytes`` of them all.

    ``errors``: of each tensor that was rounded, in the order of the tensors; ``unchanged``: how many were not.
    """

    files: tuple[Path, ...]
    nbytes: int
    errors: tuple[TensorError, ...]
    unchanged: int
    data: bytes | Any = field(default=None, repr=False)  # None where files were written

    def rows(self) -> tuple[tuple[str, ...], list[list[str]]]:
        """Return columns and rows of a table of errors, the largest root-mean-square error first."""
        rows: list[list[str]] = []
        for e in sorted(self.errors, key=lambda e: -e.rms):
            rows.append([e.name, e.dtype, f"{e.elements:,}", f"{e.max_abs:.3g}", f"{e.rms:.3g}", f"{e.bits_lost:.1f}",
                         f"{e.clipped:,}", f"{e.nbytes:,}"])  # fmt: skip
        return _COLUMNS, rows

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {"files": [str(path) for path in self.files], "nbytes": self.nbytes, "unchanged": self.unchanged,
                "errors": [e.to_dict() for e in self.errors]}  # fmt: skip


def convert_checkpoint(
    source: Opened | Network | Mapping[str, Any], target: str | os.PathLike[str] | None = None, *,
    dtype: Any = None, scales: str = "row", keep: Sequence[str] = (), shard_nbytes: int | None = None,
) -> ConvertedCheckpoint:  # fmt: skip
    """Write a checkpoint, a network or arrays by name as safetensors or GGUF, with the weights in ``dtype``.

    ``source``: what ``open_checkpoint`` takes, a ``loom.Network``, what has one as its ``network`` (a model of text),
    or a mapping of arrays. ``target``: a .safetensors file; a new folder (of a checkpoint that has a config.json: its
    texts are copied, its weights in files of at most ``shard_nbytes``); a .gguf (of a GGUF); None returns the bytes of
    a safetensors file.

    ``dtype``: one of ``loom.nn.numeric.TYPES``, of a .gguf F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0 or Q5_1; None keeps
    what the format has, and makes F32 of GGUF's blocks. F64, F32, F16 and BF16 mean every tensor of numbers with a
    fraction; narrower types those of two axes and more, with ``scales`` as ``loom.nn.numeric.store`` has them (by
    default one for each row). ``keep``: names, or patterns (``"*norm*"``), of tensors that stay as they are.

    Whatever Loom writes it opens again with the same names, shapes, config and keys.

    ArgumentError for what a format cannot hold and for patterns that no tensor is called by; NotFinite for NaN and
    infinities in what is rounded; FileError for what cannot be read or written.

    >>> import numpy as np
    >>> made = convert_checkpoint({"w": np.array([[1.0, 0.5, -0.25]], np.float32)}, dtype="i4")
    >>> made.errors[0].max_abs < 0.08, open_checkpoint(made.data).tensors["w"].encoding
    (True, 'I4')
    """
    checkpoint = _checkpoint_of(source)
    path = None if target is None else path_of(target, f"{_WHERE}, target")
    kept = _match_names(keep, checkpoint.tensors)
    if shard_nbytes is not None:
        shard_nbytes = whole_number(shard_nbytes, f"{_WHERE}, shard_nbytes", least=_LEAST_SHARD)
    scales = one_of(scales, f"{_WHERE}, scales", RULES)
    if shard_nbytes is not None and (path is None or path.suffix in (SAFETENSORS, ".gguf")):
        raise ArgumentError(f"{_WHERE}, shard_nbytes", "one file has no shards", expected="a folder as target",
                            got=str(path), remedy="Leave it out, or name a folder")  # fmt: skip
    notes: dict[str, TensorError] = {}

    def note(error: TensorError) -> None:
        notes[error.name] = error

    if path is not None and path.suffix == ".gguf":
        files = _write_gguf(checkpoint, path, dtype, scales, kept, note)
        return _result(checkpoint, notes, files)
    kind = None if dtype is None else numeric_type(dtype, f"{_WHERE}, dtype")
    if scales != "row" and (kind is None or is_plain(kind)):
        raise ArgumentError(f"{_WHERE}, scales", "no tensor gets a scale", expected="a narrow dtype, such as i8",
                            got=f"{scales!r} with dtype {None if kind is None else kind.name}",
                            remedy="Leave scales out, or name such a type")  # fmt: skip
    whole = _Whole(checkpoint, kind, scales, kept, note)
    if path is None:
        return _result(checkpoint, notes, (), whole.parts(_metadata(checkpoint, alone=True)).whole())
    if path.suffix == SAFETENSORS:
        write_file(path, whole.parts(_metadata(checkpoint, alone=True)), _WHERE)
        return _result(checkpoint, notes, (path,))
    if path.suffix and not path.is_dir() and path.suffix[1:].isalpha() and len(path.suffix) < 6:
        raise ArgumentError(f"{_WHERE}, target", "not such a file", expected=".safetensors, .gguf or a folder",
                            got=path.name, remedy="Name it by its ending")  # fmt: skip
    return _result(checkpoint, notes, _write_folder(checkpoint, path, whole, kind, shard_nbytes))


def _result(
    checkpoint: Checkpoint, notes: Mapping[str, TensorError], files: tuple[Path, ...], data: bytes | None = None
) -> ConvertedCheckpoint:
    nbytes = sum(path.stat().st_size for path in files) if data is None else len(data)
    errors = tuple(notes[name] for name in checkpoint.tensors if name in notes)
    return ConvertedCheckpoint(files, nbytes, errors, len(checkpoint.tensors) - len(errors), data)


def _checkpoint_of(source: Any) -> Checkpoint:
    """Return a checkpoint of whatever has weights."""
    if (
        is_mapping(source)
        and source
        and not any(isinstance(v, (bytes, bytearray, memoryview)) for v in source.values())
    ):
        return _of_arrays(source, {})
    source = getattr(source, "network", source)  # of a model of text
    spec, weights = getattr(source, "spec", None), getattr(source, "weights", None)
    if spec is not None and callable(weights):  # a loom.Network
        from loom.nn.weights.saved import network_metadata

        return _of_arrays(weights(), network_metadata(spec), spec.dtype.name)
    return open_checkpoint(source)


def _of_arrays(arrays: Any, metadata: Mapping[str, str], dtype: str = "f32") -> Checkpoint:
    tensors: dict[str, StoredTensor] = {}
    for name, given in arrays.items():
        if not isinstance(name, str):
            raise DTypeError(_WHERE, "not the name of a tensor", expected="a str", got=repr(name)[:60],
                             remedy="Name the arrays by texts")  # fmt: skip
        array, found = read_array(given, f"{_WHERE}, {name!r}")
        bits = dtype == "bf16" and array.dtype == np.uint16
        if bits or found.name == "bf16":
            encoding = "BF16"
        else:
            encoding = "BOOL" if found.is_bool else f"{found.name[0].upper()}{found.bits}"
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        tensors[name] = StoredTensor(name, array.shape, encoding, len(data), memoryview(data), _WHERE)
    return Checkpoint("safetensors", "arrays", tensors, metadata)


def _match_names(patterns: Any, names: Mapping[str, Any]) -> set[str]:
    """Return the names that patterns mean; ArgumentError for a pattern that means none."""
    if isinstance(patterns, str) or not is_list(patterns):
        raise ArgumentError(f"{_WHERE}, keep", "not names of tensors", expected='a list of names or patterns',
                            got=repr(patterns)[:60], remedy='Write ["*norm*"]')  # fmt: skip
    found: set[str] = set()
    for pattern in patterns:
        met = [n for n in names if fnmatchcase(n, str(pattern))]
        if not met:
            raise ArgumentError(f"{_WHERE}, keep", f"no tensor is called {pattern!r:.80}",
                                remedy=near_matches(str(pattern), names))  # fmt: skip
        found.update(met)
    return found


class _Whole:
    """All tensors as a file's pieces; those with scales are made at once, the others when they are written."""

    def __init__(
        self, checkpoint: Checkpoint, kind: NumericType | None, scales: str, kept: set[str], note: Any
    ) -> None:
        self.groups: list[list[FilePiece]] = []
        self.told: dict[str, Any] = {}
        taken: set[str] = set(checkpoint.tensors)
        for name, tensor in checkpoint.tensors.items():
            wanted = kind if kind is not None and name not in kept and is_weight(tensor, kind) else None
            pieces, told = pieces_of(tensor, wanted, scales, note, _WHERE)
            for piece in pieces[1:]:
                if piece.name in taken:
                    raise ArgumentError(_WHERE, f"two tensors would be called {piece.name!r:.100}",
                                        expected="one of each name", got="another tensor and the scales of one",
                                        remedy=f"Keep {name!r} as it is: keep=")  # fmt: skip
                taken.add(piece.name)
            self.groups.append(pieces)
            if told is not None:
                self.told[name] = told

    def parts(self, metadata: Mapping[str, str], groups: Sequence[list[FilePiece]] | None = None) -> SealedParts:
        """Return the parts of a file of all tensors, or of some of them."""
        pieces = {p.name: p for group in (self.groups if groups is None else groups) for p in group}
        told = {name: facts for name, facts in sorted(self.told.items()) if name in pieces}
        more = {DIGEST_KEY: NO_DIGEST, **({STORAGE_KEY: json.dumps(told)} if told else {})}
        return encode_file(pieces.values(), {**metadata, **more})

    def shards(self, nbytes: int | None) -> list[list[list[FilePiece]]]:
        """Return the tensors in files of at most so many bytes, in their order; a larger tensor has one of its own."""
        found: list[list[list[FilePiece]]] = [[]]
        room = nbytes
        for group in self.groups:
            size = sum(p.nbytes for p in group)
            if nbytes is not None and room is not None and size > room and found[-1]:
                found.append([])
                room = nbytes
            found[-1].append(group)
            room = None if room is None else room - size
        return found


def _metadata(checkpoint: Checkpoint, *, alone: bool) -> dict[str, str]:
    """Return what a file keeps beside tensors; ``alone``: a file that no config.json lies beside."""
    told = {k: v for k, v in checkpoint.metadata.items() if k != STORAGE_KEY} if checkpoint.kind != "gguf" else {}
    if checkpoint.kind == "gguf":
        told[GGUF_KEY] = json.dumps({**checkpoint.metadata}, ensure_ascii=False)
    elif alone and checkpoint.config is not None:
        told[CONFIG_KEY] = json.dumps({**checkpoint.config})
    elif not alone:
        told.pop(CONFIG_KEY, None)
    return {"format": "pt", **told} if checkpoint.kind == "huggingface" else told


def _write_gguf(
    checkpoint: Checkpoint, path: Path, dtype: Any, scales: str, kept: set[str], note: Any
) -> tuple[Path, ...]:
    if scales != "row":
        raise ArgumentError(f"{_WHERE}, scales", "has no effect on GGUF's blocks", expected="none", got=scales,
                            remedy="Leave it out")  # fmt: skip
    write_file(path, gguf_parts(checkpoint, dtype, kept, note, _WHERE), _WHERE)
    return (path,)


def _write_folder(
    checkpoint: Checkpoint, folder: Path, whole: _Whole, kind: NumericType | None, shard_nbytes: int | None
) -> tuple[Path, ...]:
    """Write config, texts and weights; the weights' names last, so that half a folder is none."""
    if checkpoint.config is None:
        raise ArgumentError(f"{_WHERE}, target", f"a {checkpoint.kind} checkpoint has no config.json for a folder",
                            expected="a .safetensors" + " or .gguf" * (checkpoint.kind == "gguf"), got=folder.name,
                            remedy="Name a file")  # fmt: skip
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        remedy = "Name another, or empty it: old weights beside new ones are a trap"
        raise FileError(f"{_WHERE}, target", "something is there already", expected="a new folder",
                        got=str(folder)[:200], remedy=remedy)  # fmt: skip
    config = dict(checkpoint.config)
    if kind is not None and kind.name in _PLAIN_NAMES:
        config |= {key: _PLAIN_NAMES[kind.name] for key in ("dtype", "torch_dtype") if key in config}
    files = {_CONFIG: (json.dumps(config, indent=2) + "\n").encode()}
    for name in checkpoint.files:
        is_text = not name.startswith(".") and name not in (_CONFIG, _INDEX) and not name.endswith(_NOT_COPIED)
        data = checkpoint.file(name) if is_text else None
        if data is not None:
            files[name] = bytes(data)
    is_new, written = not folder.exists(), list[Path]()
    try:
        for name, data in files.items():
            written.append(folder / name)
            write_file(written[-1], data, _WHERE)
        _write_shards(folder, whole, _metadata(checkpoint, alone=False), shard_nbytes, written)
    except BaseException:
        _remove(folder, written, is_new)
        raise
    return tuple(written)


def _remove(folder: Path, written: Sequence[Path], is_new: bool) -> None:
    """Take away what was written of a folder that is not to be; what cannot be taken away stays."""
    for path in written:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    inner = {parent for path in written for parent in path.parents if folder in parent.parents}
    for place in [*sorted(inner, reverse=True), *([folder] if is_new else [])]:
        with suppress(OSError):
            place.rmdir()


def _write_shards(
    folder: Path, whole: _Whole, metadata: Mapping[str, str], nbytes: int | None, written: list[Path]
) -> None:
    shards = whole.shards(nbytes)
    if len(shards) == 1:
        written.append(folder / "model.safetensors")
        write_file(written[-1], whole.parts(metadata), _WHERE)
        return
    weight_map: dict[str, str] = {}
    for number, groups in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        written.append(folder / name)
        write_file(written[-1], whole.parts(metadata, groups), _WHERE)
        weight_map |= {piece.name: name for group in groups for piece in group}
    total = sum(piece.nbytes for group in whole.groups for piece in group)
    index = json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2)
    written.append(folder / _INDEX)
    write_file(written[-1], (index + "\n").encode(), _WHERE)
