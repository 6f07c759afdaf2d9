"""``loom init DATA.csv``: a document of a network that fits a file of samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from loom.nn.train.datasets import Array

__all__ = ["init"]


def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="FILE.csv (last column: target), FILE.npz or digits.")],
    out: Annotated[Path, typer.Option("--out", help="The document: a .json file that is not there yet.")] = Path(
        "net.json"
    ),
    hidden: Annotated[int, typer.Option("--hidden", min=1, help="Size of the layer between.")] = 32,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the first weights.")] = 0,
) -> None:
    """Write the document of a small network for samples: scaling, one hidden layer, an output for each class or number.

    Example: loom init data.csv --out net.json, then loom train net.json --data data.csv --out model.json
    """
    from loom.cli.inputs.networks import require_place
    from loom.core.errors import ArgumentError
    from loom.nn.spec import check, parse, to_json
    from loom.nn.spec.base.text import canonical
    from loom.nn.train.datasets import read_targets

    require_place("loom init, --out", out, (".json",))
    if out.exists():
        raise ArgumentError("loom init, --out", "the file is there already", expected="a new name", got=str(out),
                            remedy="Choose another name; nothing was written")  # fmt: skip
    x, y = read_targets(data)
    outputs, classes = _outputs(y, data)
    document: dict[str, Any] = {
        "format": "loom/1", "name": Path(data).stem, "seed": seed, "classes": list(classes),
        "input": {"shape": list(x.shape[1:])},
        "layers": [
            {"type": "scale"}, *([{"type": "flatten"}] if x.ndim > 2 else []),
            {"type": "dense", "output_size": hidden, "activation": "relu"}, {"type": "dense", "output_size": outputs},
        ],
    }  # fmt: skip
    from loom.nn.files.persistence import write_file

    write_file(out, to_json(check(parse(canonical(document)))).encode(), "loom init, --out")
    what = f"{outputs} classes" if y.dtype.kind in "iuU" and outputs > 1 else f"{outputs} number{'s'[: outputs > 1]}"
    typer.echo(f"{out}: {x.shape[1:]} to {what}, for {len(x)} samples")


def _outputs(y: Array, data: str) -> tuple[int, tuple[str, ...]]:
    """Return how many outputs such targets need, and the names of their classes; ArgumentError for a single name."""
    from loom.core.errors import ArgumentError
    from loom.nn.train.datasets import class_names

    names = class_names(y)
    if len(names) == 1:
        raise ArgumentError(data, "all samples are of one class: there is nothing to tell apart",
                            expected="2 classes or more", got=repr(names[0]),
                            remedy="Add samples of the others")  # fmt: skip
    if names:
        return len(names), names
    is_class = y.ndim == 1 and y.dtype.kind in "iu" and y.min() >= 0 and y.max() < max(2, len(y) // 2)
    return (max(int(y.max()) + 1, 2), ()) if is_class else (1 if y.ndim == 1 else y.shape[-1], ())
