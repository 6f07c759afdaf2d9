"""Published checkpoints on the command line: what a path is, what is printed of one, what sizes are called.

Layer: cli. Invariant: telling what a file is reads its header alone, and no weight.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from loom.core.errors import ArgumentError
from loom.core.given import is_list, is_mapping

if TYPE_CHECKING:
    from loom.formats.checkpoint import Checkpoint

__all__ = ["bytes_of", "is_checkpoint", "print_checkpoint"]

_ENDINGS = (".gguf", ".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Of files that only a checkpoint has: those of pickles are refused with a remedy."""
_OURS = "loom.network"
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_SHOWN = 100


def is_checkpoint(path: Path) -> bool:
    """Tell whether a path is a published model: a folder, a GGUF, or a safetensors file without a network of ours."""
    if path.is_dir() or path.suffix in _ENDINGS:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        mark = file.read(4)
    if mark == b"GGUF":
        return True
    if path.suffix != ".safetensors":
        return False
    from loom.formats.opening import open_checkpoint

    return _OURS not in open_checkpoint(path).metadata


def bytes_of(text: str, where: str) -> int:
    """Return a number of bytes as people write it: ``5GB``, ``500 MB``, ``1.5GiB``, ``4096``.

    >>> bytes_of("5GB", "here"), bytes_of("1.5 KiB", "here")
    (5000000000, 1536)
    """
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].upper() not in _UNITS:
        raise ArgumentError(where, "not a size", expected="a number of bytes such as 5GB or 500MB", got=repr(text)[:60],
                            remedy="Write 5GB")  # fmt: skip
    return int(float(found[1]) * _UNITS[found[2].upper()])


def print_checkpoint(path: Path, *, json: bool) -> None:
    """Print tensors, types, sizes and what stands beside them."""
    from loom.cli.inputs.output import print_json, print_table
    from loom.formats.opening import open_checkpoint

    found = open_checkpoint(path)
    if json:
        print_json(_facts(found))
        return
    rows = [[t.name, t.encoding, " x ".join(map(str, t.shape)) or "1", f"{t.size:,}", f"{t.nbytes:,}"]
            for t in found.tensors.values()]  # fmt: skip
    print_table(("tensor", "type", "shape", "elements", "bytes"), rows)
    for name, value in _lines(found).items():
        typer.echo(f"{name}: {value}")
    types = ", ".join(f"{count} {name}" for name, count in _types(found).items())
    typer.echo(f"{found.kind}: {len(found.tensors)} tensors ({types}), {found.parameters:,} numbers, "
               f"{found.nbytes:,} bytes")  # fmt: skip


def _types(checkpoint: Checkpoint) -> dict[str, int]:
    return dict(Counter(t.encoding for t in checkpoint.tensors.values()).most_common())


def _lines(checkpoint: Checkpoint) -> dict[str, str]:
    """Return keys and values of config and metadata, each in a line."""
    return {key: _short(value) for key, value in _values(checkpoint).items()}


def _values(checkpoint: Checkpoint) -> dict[str, Any]:
    from loom.formats.gguf import GgufMetadata

    held: Mapping[str, Any] = checkpoint.metadata
    counts: dict[str, int] = {}
    if isinstance(held, GgufMetadata):  # lists of a vocabulary are counted, not made
        counts = {key: count for key in held if (count := held.count_of(key)) is not None and count > 8}
    found = {key: f"{counts[key]:,} elements" if key in counts else held[key] for key in held}
    return {**(checkpoint.config or {}), **found}


def _short(value: Any) -> str:
    if (is_list(value) or is_mapping(value)) and len(value) > 8:
        return f"{len(value):,} elements"
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]} ..."


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    tensors = [{"name": t.name, "type": t.encoding, "shape": [*t.shape], "elements": t.size, "nbytes": t.nbytes}
               for t in checkpoint.tensors.values()]  # fmt: skip
    return {"kind": checkpoint.kind, "parameters": checkpoint.parameters, "nbytes": checkpoint.nbytes,
            "types": _types(checkpoint), "metadata": {k: _finite(v) for k, v in _values(checkpoint).items()},
            "tensors": tensors}  # fmt: skip


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
