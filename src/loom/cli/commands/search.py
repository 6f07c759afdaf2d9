"""``loom search DATA``: generates networks for samples, trains them by successive halving, and keeps the best.

Layer: cli.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loom.core.errors import ArgumentError

if TYPE_CHECKING:
    from loom.nn.structure import ArchitectureRanking

__all__ = ["search"]


def search(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="digits, FILE.npz (arrays x, y) or FILE.csv (last column: target).")
    ],
    budget: Annotated[
        int | None, typer.Option("--budget", help="Epochs of one network, in all; else four times what is least.")
    ] = None,
    candidates: Annotated[int, typer.Option("--candidates", help="How many networks are generated.")] = 9,
    reduction: Annotated[int, typer.Option("--reduction", help="One in so many is trained on.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of networks, weights and order.")] = 0,
    types: Annotated[str | None, typer.Option("--types", help="Of hidden layers: dense,residual,...")] = None,
    depth: Annotated[str, typer.Option("--depth", help="Hidden layers, least and most: 1-4.")] = "1-4",
    parameters: Annotated[int, typer.Option("--parameters", help="The most that a network may have.")] = 100_000,
    scale: Annotated[bool, typer.Option("--scale", help="Bring inputs to mean 0, deviation 1.")] = False,
    hold_out: Annotated[float, typer.Option("--hold-out", help="Share of samples to rank by.")] = 0.25,
    rate: Annotated[float, typer.Option("--rate", help="Learning rate.")] = 0.003,
    optimizer: Annotated[str, typer.Option("--optimizer", help="sgd, adam, adamw, rmsprop or lion.")] = "adam",
    batch_size: Annotated[int, typer.Option("--batch-size", help="Samples of an update.")] = 32,
    out: Annotated[Path | None, typer.Option("--out", help="Keep the best: a .json or .safetensors file.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Where to run (see 'loom devices').")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search a network for samples; print the ranking, and the digest of the best one's weights.

    Ranking and digest are the same on every device. What was held out chose the network: measure it with other samples.

    Example: loom search data.csv --budget 54 --candidates 9 --scale --seed 1 --out best.json
    """
    from loom.cli.inputs.networks import name_classes, require_place
    from loom.nn.structure import search, space_for
    from loom.nn.train.datasets import class_names, number_classes, read_targets

    require_place("loom search, --out", out, (".json", ".safetensors"))
    x, y = read_targets(data)
    classes = class_names(y)
    y = number_classes(y, classes, data)
    y = y[:, None] if y.ndim == 1 and y.dtype.kind == "f" else y
    constraints: dict[str, Any] = {} if types is None else {"types": [t.strip() for t in types.split(",")]}
    space = space_for(x, y, depth=_depth(depth), parameters=parameters, scale=scale, **constraints)
    result = search(
        x, y, space, candidates=candidates, budget=budget, reduction=reduction, seed=seed, hold_out=hold_out, on=device,
        learning_rate=rate, optimizer=optimizer, batch_size=batch_size,
    )  # fmt: skip
    if classes:
        name_classes(result.best, classes)
    if out is not None:
        result.best.save(out)
    _print(result, out, json=json)


def _depth(text: str) -> tuple[int, int]:
    least, _, most = text.partition("-")
    if not least.strip().isdigit() or not (most or least).strip().isdigit():
        raise ArgumentError("loom search, --depth", "not a range", expected="least-most", got=repr(text)[:60],
                            remedy="Pass for example 1-4")  # fmt: skip
    return int(least), int(most or least)


def _print(result: ArchitectureRanking, out: Path | None, *, json: bool) -> None:
    from loom.cli.inputs.output import print_json, print_table

    if json:
        print_json({"device": result.best.model.device.name, **result.to_dict()})
        return
    rows = [
        [str(place), str(c.number), str(c.epochs), "-" if c.accuracy is None else f"{c.accuracy:.4f}",
         "diverged" if c.failed else f"{c.loss:.6g}", str(c.parameters), c.layers]
        for place, c in enumerate(result.ranking, 1)
    ]  # fmt: skip
    print_table(["place", "network", "epochs", "accuracy", "loss", "parameters", "layers"], rows)
    typer.echo(f"model in {out}" if out is not None else "model not kept: --out MODEL.json would write it")
    typer.echo(f"sha256 of the weights {result.best.digest()}")
