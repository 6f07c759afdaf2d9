"""``loom eval`` and ``loom infer``: what a model is worth, and says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from loom.nn.network import Network

__all__ = ["evaluate", "infer"]

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle (.json) or .safetensors file.")]
Device = Annotated[str | None, typer.Option("--device", help="Where to run (see 'loom devices').")]
Id = Annotated[str | None, typer.Option("--id", help="Which model of a bundle of several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def evaluate(
    model: Model,
    data: Annotated[str, typer.Option("--data", help="digits, FILE.npz or FILE.csv.")],
    loss: Annotated[str | None, typer.Option("--loss", help="Else as in loom train.")] = None,
    names: Annotated[
        str | None, typer.Option("--names", help="Of the classes of a model that does not know them: a,b,...")
    ] = None,
    worst: Annotated[int, typer.Option("--worst", help="Print so many samples that are off most.", min=0)] = 0,
    summary: Annotated[bool, typer.Option("--summary", help="Print the deviations' distribution and bars.")] = False,
    auc: Annotated[bool, typer.Option("--auc", help="Print areas under ROC curves and the calibration error.")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="A folder for PNGs: confusion, roc, calibration, buckets.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the evaluation's JSON to a file (.json).")] = None,
    model_id: Id = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Print loss, precision and recall of classes, confusion (rows: the true class) and deviation of a model."""
    from loom.cli.inputs.evaluation import facts_of, print_evaluation, write_evaluation, write_plots
    from loom.cli.inputs.networks import open_network, require_place, samples_for
    from loom.cli.inputs.output import print_json
    from loom.core.errors import ArgumentError

    require_place("--out", out, (".json",))
    net = open_network(model, device, trained=True, model_id=model_id)
    if summary and json:
        raise ArgumentError("loom eval, --summary", "is a text", expected="--summary or --json", got="both",
                            remedy="Leave --summary out: --json has the buckets")  # fmt: skip
    found = net.evaluate(*samples_for(net, data, names), loss=loss)
    if names is not None and found.confusion is None:
        raise ArgumentError("loom eval, --names", "the targets are no classes", expected="classes", got="numbers",
                            remedy="Leave it out")  # fmt: skip
    facts = facts_of(found, worst=worst, auc=auc) if json or out is not None else {}
    if out is not None:
        write_evaluation(facts, out)
    if plot is not None:
        write_plots(found, plot)
    if json:
        print_json(facts)
        return
    print_evaluation(found, net.spec.classes, worst=worst, summary=summary, auc=auc)


def infer(
    model: Model,
    data: Annotated[
        str | None, typer.Option("--data", help="digits, FILE.npz or FILE.csv; targets are not needed.")
    ] = None,
    values: Annotated[str | None, typer.Option("--input", help="One sample: numbers with commas between.")] = None,
    model_id: Id = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Print a model's answers, one line for each sample.

    Of a model that knows its classes: the likeliest, then each with its probability. Of others: the outputs.
    """
    from loom.cli.inputs.networks import inputs_for, open_network
    from loom.cli.inputs.output import print_json
    from loom.core.errors import ArgumentError

    if (data is None) == (values is None):
        raise ArgumentError(
            "loom infer",
            "what to run it on is not told",
            expected="--data or --input",
            got="both or none",
            remedy="Pass one of them",
        )
    net = open_network(model, device, trained=True, model_id=model_id)
    outputs = net.predict(inputs_for(net, data or "") if values is None else _sample(values, net.spec.inputs[0].shape))
    if net.spec.classes:
        _print_classes(net.spec.classes, _chances(net, outputs), outputs, json)
        return
    if json:
        print_json(outputs.tolist())
        return
    for row in outputs.reshape(len(outputs), -1).tolist():
        typer.echo(" ".join(f"{v:.9g}" for v in row))


def _chances(net: Network, outputs: Any) -> Any:
    """Return (samples, classes): the probability of each class, f64; of several rows for a sample those of the last."""
    from loom.nn.train.measures import chances_of

    last = outputs.reshape(len(outputs), -1, outputs.shape[-1])[:, -1]
    return chances_of(last, probabilities=net.gives_probabilities)


def _print_classes(classes: tuple[str, ...], chances: Any, outputs: Any, json: bool) -> None:
    from loom.cli.inputs.output import print_json

    likeliest = [classes[int(k)] for k in chances.argmax(1)]
    if json:
        rows = zip(likeliest, chances.tolist(), outputs.tolist(), strict=True)
        print_json([
            {"class": name, "probabilities": dict(zip(classes, row, strict=True)), "outputs": output}
            for name, row, output in rows
        ])  # fmt: skip
        return
    width = max(map(len, classes))
    for name, row in zip(likeliest, chances.tolist(), strict=True):
        each = (f"{other}={chance:.6f}" for other, chance in zip(classes, row, strict=True))
        typer.echo(f"{name.ljust(width)}  {' '.join(each)}")


def _sample(text: str, shape: tuple[int, ...]) -> Any:
    import numpy as np

    from loom.core.errors import ArgumentError

    try:
        return np.array([float(v) for v in text.split(",")]).reshape(1, *shape)
    except ValueError:
        raise ArgumentError(
            "loom infer, --input",
            "not a sample",
            expected=f"{int(np.prod(shape))} numbers",
            got=repr(text),
            remedy="Put commas between them",
        ) from None
