"""``loom embed MODEL FILE``: a vector for each line, as JSON lines, an array, or a store.

Layer: cli.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from loom.cli.models import asking
from loom.core.errors import ArgumentError, FileError

if TYPE_CHECKING:
    from loom.models.tasks import ServedModel

__all__ = ["embed"]

_ENDINGS = (".jsonl", ".npy", ".ldb")


def embed(
    model: asking.Model,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A text on each line; - for stdin.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A .jsonl, .npy or .ldb (a LoomDB store) file; else JSON lines to stdout."),
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="Of a store: cosine, dot or euclidean.")] = "cosine",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Texts at a time; it changes no bit.")] = 32,
    receipt: asking.ReceiptFile = None,
    weights: asking.Weights = "f32",
    compute: asking.Compute = "exact",
    on: asking.Device = None,
) -> None:
    """Turn each line of a file into a vector.

    In a store the ids are the lines' numbers, from 1, and each vector is told its text.

    Example: loom embed minilm/ notes.txt --out notes.ldb
    """
    _require_place(out)
    if metric != "cosine" and (out is None or out.suffix != ".ldb"):
        raise ArgumentError("loom embed, --metric", "it is of a store", expected="--out NAME.ldb", got=str(out),
                            remedy="Leave it out")  # fmt: skip
    lines = _lines(file)
    opened = asking.open_model(model, on, weights, compute)
    if not opened.embeds:
        raise ArgumentError("loom embed", "the model writes text, it makes no vectors", expected="an embedding model",
                            got=opened.name, remedy="Use loom generate, or another model")  # fmt: skip
    rows: list[list[int]] = []
    parts: list[np.ndarray[Any, Any]] = []
    given, first = iter(lines), 1
    with asking.broken_pipe_ends():
        while texts := list(islice(given, batch)):
            tokens = [opened.encode(text) for text in texts]
            _require_room(opened, file, first, tokens)
            first += len(texts)
            made = opened.embed(tokens)
            if out is None:
                sys.stdout.write(_json_lines(texts, made))
            else:
                parts.append(made)
            if receipt is not None:
                rows += tokens
                parts += [made] if out is None else []
        sys.stdout.flush()
    vectors = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
    if out is not None:
        _write(out, lines, vectors, metric, on)
        typer.echo(f"{out}: {vectors.shape[0]:,} vectors of {vectors.shape[1]:,}")
    if receipt is not None:
        from loom.models.receipts import embedding_receipt

        about = {"model": opened.name, "device": opened.device}
        asking.keep_receipt(receipt, embedding_receipt(opened.identity, rows, vectors, about))


def _require_place(out: Path | None) -> None:
    """See that a file can be written, before anything is computed."""
    from loom.cli.inputs.networks import require_place

    require_place("loom embed, --out", out, _ENDINGS)
    if out is not None and out.suffix == ".ldb" and out.exists():
        raise ArgumentError("loom embed, --out", "there is a store of this name", expected="a new one", got=str(out),
                            remedy="Choose another name, or remove it")  # fmt: skip


def _require_room(model: ServedModel, file: str, first: int, rows: list[list[int]]) -> None:
    """See that the model takes so many tokens; ``first``: the number of the first text's line."""
    for line, row in enumerate(rows, first):
        if len(row) > model.context_length:
            raise FileError(f"{file}, line {line}", "the text is longer than the model's context",
                            expected=f"at most {model.context_length} tokens", got=str(len(row)),
                            remedy="Break it into several lines")  # fmt: skip


def _lines(file: str) -> list[str]:
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        found = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise FileError(f"{file}, line {line}", "not UTF-8", expected="a text", got=f"byte {data[error.start]:#x}",
                        remedy="Write it as UTF-8") from None  # fmt: skip
    if found[-1] == "":
        found.pop()
    found = [line.removesuffix("\r") for line in found]
    empty = next((n for n, line in enumerate(found, 1) if not line.strip()), None)
    if empty is not None or not found:
        raise FileError(f"{file}, line {empty or 1}", "there is no text", expected="a text on each line", got="none",
                        remedy="Remove empty lines")  # fmt: skip
    return found


def _json_lines(texts: Sequence[str], vectors: np.ndarray[Any, Any]) -> str:
    return "".join(_each(texts, vectors))


def _each(texts: Sequence[str], vectors: np.ndarray[Any, Any]) -> Iterator[str]:
    for text, vector in zip(texts, vectors, strict=True):
        yield json.dumps({"text": text, "embedding": vector.tolist()}, ensure_ascii=False) + "\n"


def _write(out: Path, lines: Sequence[str], vectors: np.ndarray[Any, Any], metric: str, on: str | None) -> None:
    from loom.storage.atomic import replace_file

    if out.suffix == ".ldb":
        from loom.vectors import VectorStore, flush

        with VectorStore(dims=vectors.shape[1], capacity=len(lines), metric=metric, device=on) as store:
            store.capture_many(list(range(1, len(lines) + 1)), vectors, [{"text": line} for line in lines])
            flush(store, out, replace=True)
    elif out.suffix == ".npy":
        import io

        held = io.BytesIO()
        np.save(held, vectors)
        replace_file(out, held.getvalue())
    else:
        replace_file(out, _json_lines(lines, vectors).encode())
