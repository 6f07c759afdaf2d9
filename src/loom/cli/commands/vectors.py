"""``loom vectors info|search``: stores of vectors in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from loom.vectors import VectorStore

__all__ = ["commands"]

commands = typer.Typer(no_args_is_help=True, help="Stores of vectors in files: what they hold, and search in them.")

Store = Annotated[Path, typer.Argument(metavar="PATH", help="What flush was given, or its .ldb file.")]
Device = Annotated[str | None, typer.Option("--device", help="Where to search (see 'loom devices').")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@commands.command("info")
def info(path: Store, device: Device = None, json: Json = False) -> None:
    """Print how many vectors a store holds, and of what kind."""
    from loom.cli.inputs.output import print_json

    with _restore(path, device) as store:
        facts: dict[str, Any] = {
            "vectors": len(store), "deleted": store.tombstones, "dims": store.dims, "metric": store.metric,
            "dtype": str(store.dtype), "nbytes": store.nbytes,
        }  # fmt: skip
    if json:
        print_json(facts)
        return
    for name, value in facts.items():
        typer.echo(f"{name:8} {f'{value:,}' if isinstance(value, int) else value}")


@commands.command("search")
def search(
    path: Store,
    vector: Annotated[str | None, typer.Option("--vector", help="Numbers with commas between.")] = None,
    like: Annotated[str | None, typer.Option("--like", help="The id of a vector of the store.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many to find.")] = 10,
    device: Device = None,
    json: Json = False,
) -> None:
    """Print the vectors of a store that are nearest to one, the best first.

    Example: loom vectors search cache/embeddings --like emb_001 -k 5
    """
    from loom.cli.inputs.output import print_json, print_table
    from loom.core.errors import ArgumentError

    if (vector is None) == (like is None):
        raise ArgumentError("loom vectors search", "what to search for is not told", expected="--vector or --like",
                            got="both or none", remedy="Pass one of them")  # fmt: skip
    with _restore(path, device) as store:
        hits = store.search(_numbers(vector) if like is None else store[_id(store, like)].vector, k)
    if json:
        print_json([{"id": hit.id, "score": hit.score, "meta": hit.meta, "row": hit.row} for hit in hits])
        return
    rows = [[str(hit.id), f"{hit.score:.9g}", "" if hit.meta is None else str(hit.meta)] for hit in hits]
    print_table(["id", "score", "meta"], rows)


def _restore(path: Path, device: str | None) -> VectorStore:
    from loom.vectors import restore

    return restore(path, device)


def _id(store: VectorStore, text: str) -> Any:
    """Return the id that a text names: itself, or the whole number it writes."""
    return int(text) if text not in store and text.lstrip("-").isdigit() else text


def _numbers(text: str | None) -> list[float]:
    from loom.core.errors import ArgumentError

    try:
        return [float(v) for v in (text or "").split(",")]
    except ValueError:
        raise ArgumentError("loom vectors search, --vector", "not a vector", expected="numbers",
                            got=repr(text), remedy="Put commas between them") from None  # fmt: skip
