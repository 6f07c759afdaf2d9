"""``loom export MODEL --to c``: a network as a library for other languages, which computes and trains alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from json import loads as parse
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from loom.core.late.dataclass import dataclass

if TYPE_CHECKING:
    from loom.export import FrozenFunction, FrozenKernel, FrozenNetwork
    from loom.export.c.levels import Optimize
    from loom.export.delivery import Export

__all__ = ["export"]


_MODELS = "Models or documents, for one library; or FILE.py:NAME."


def export(
    context: typer.Context,
    network: Annotated[list[Path] | None, typer.Argument(metavar="MODEL...", help=_MODELS)] = None,
    to: Annotated[str, typer.Option("--to", help="c, wasm, npm, onnx, python, ...: one or several.")] = "c",
    out: Annotated[Path, typer.Option("--out", help="Folder for what is written.")] = Path("build"),
    name: Annotated[str | None, typer.Option("--name", help="Prefix of functions and files, else the file's.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Of all but wasm: x86_64-linux (else), aarch64-linux, ...")
    ] = None,
    optimize: Annotated[str | None, typer.Option("--optimize", help="speed or size; the bits are the same.")] = None,
    batch: Annotated[str, typer.Option("--batch", help="Samples that are computed at once: 1,32.")] = "1",
    data: Annotated[
        str | None, typer.Option("--data", help="Samples like those it will train with: digits, ...")
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", help="How often all samples are met.")] = 10,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Else the document's, or 32.")] = None,
    rate: Annotated[float, typer.Option("--rate", help="Learning rate.")] = 0.01,
    optimizer: Annotated[str, typer.Option("--optimizer", help="sgd, adam, adamw, rmsprop or lion.")] = "adam",
    schedule: Annotated[str | None, typer.Option("--schedule", help="Of the rate: linear, cosine, ...")] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="Else cross_entropy for classes, mse for numbers.")] = None,
    hold_out: Annotated[float, typer.Option("--hold-out", help="Share of samples that is not trained with.")] = 0.2,
    keep: Annotated[
        Path | None, typer.Option("--samples", help="Folder for them, as x.bin and target.bin; trains a copy.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of the order, else the document's.")] = None,
    clip_norm: Annotated[float | None, typer.Option("--clip-norm", help="The largest norm of all gradients.")] = None,
    patience: Annotated[int | None, typer.Option("--patience", help="Epochs without gain before it stops.")] = None,
    shape: Annotated[list[str] | None, typer.Option("--shape", help="Of an ONNX input: image=1x3x224x224.")] = None,
    threads: Annotated[bool, typer.Option("--threads", help="Nets may compute with several threads.")] = False,
    length: Annotated[
        int | None, typer.Option("--length", help="Of onnx: tokens of a sample, else any number.")
    ] = None,
    opset: Annotated[int | None, typer.Option("--opset", help="Of onnx, else 21.")] = None,
    library: Annotated[
        bool, typer.Option("--library", help="Write libloom, which makes and trains any document, and no model.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="In place of files that no export wrote, or that were changed.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a network as C, wasm, npm, a package (with --data it trains), ONNX; programs, kernels, models of ONNX too.

    The settings of training are those of loom train, and mean the same.

    Example: loom export net.json --to c,rust --out build --data digits --epochs 3
    """
    asked = _Asked(_kinds(to), target, cast("Optimize | None", optimize), overwrite)
    if library or not network:
        _export_library(context, network, out, asked, library, json)
        return
    if asked.kinds == ["onnx"]:
        size = _size(batch) if _is_given(context, "batch") else None
        _to_onnx(context, network, out, _OnnxSettings(name, size, length, opset, overwrite), json)
        return
    _require_not_given(context, ["length", "opset"], f"--to {to}, which is not onnx alone")
    if ".py:" in str(network[0]):
        _export_kernel(context, network, to, out, asked, json)
        return
    if network[0].suffix == ".onnx":
        _export_graph(context, network, to, out, asked, json)
        return
    _require_no(",".join(shape) if shape else None, "--shape", "what is no model of ONNX")
    settings: dict[str, Any] = {}
    if data is not None:
        settings = {"epochs": epochs, "learning_rate": rate, "optimizer": optimizer, "schedule": schedule}
        told = {"clip_norm": clip_norm, "patience": patience, "loss": loss, "batch_size": batch_size, "seed": seed}
        settings |= {key: value for key, value in told.items() if value is not None}
    else:
        _require_not_given(context, _OF_TRAINING, "an export that does not train: --data is missing")
    frozen = [_freeze(context, path, settings, hold_out, threads) for path in network]
    if len(frozen) == 1:
        _write(frozen[0], network, out, asked, json, frozen[0].digest(), keep)
        return
    _require_not_given(context, ["keep"], "several networks")
    if asked.kinds != ["c"]:
        _require_one(network, f"--to {to}")
    _print(_deliver([(lambda folder: _several_to_c(frozen, folder, asked, name), out)], network, asked), None, json)


def _freeze(
    context: typer.Context, path: Path, settings: dict[str, Any], hold_out: float, threads: bool
) -> FrozenNetwork:
    """Return the network of a file written down, with the samples that are asked for."""
    from loom.cli.inputs.networks import open_network, samples_for
    from loom.export import freeze
    from loom.nn.train.datasets import divide

    asked, net = context.params, open_network(path, "cpu")
    samples = held_out = None
    if asked["data"] is not None:
        samples, held_out = divide(
            *samples_for(net, asked["data"], learn_names=True), hold_out, settings.get("seed", net.spec.seed)
        )
    found = freeze(
        net,
        name=asked["name"] if asked["name"] and len(asked["network"]) == 1 else _prefix(path),
        batch=[_size(text) for text in asked["batch"].split(",")],
        train=settings,
        data=samples,
        validation=held_out if asked["patience"] is not None else None,
        threads=threads,
        proof=asked["keep"] is not None,
    )
    found.documents += _documents(path)
    return found


def _write(
    frozen: FrozenNetwork | FrozenFunction | FrozenKernel,
    sources: list[Path],
    out: Path,
    asked: _Asked,
    json: bool,
    digest: str | None = None,
    samples: Path | None = None,
) -> None:
    """Write one thing in all kinds that are asked for, all or none, and print what was written."""
    from loom.export import FrozenNetwork
    from loom.export.trainingdata import write_samples

    writers = [partial(write, frozen, asked) for write in dict.fromkeys(_EXPORTS.get(k, _to_c) for k in asked.kinds)]
    places: list[tuple[Callable[[Path], Export], Path]] = [(write, out) for write in writers]
    if samples is not None and isinstance(frozen, FrozenNetwork):
        places.append((partial(write_samples, frozen), samples))
    _print(_deliver(places, sources, asked), digest, json)


def _deliver(writers: list[tuple[Callable[[Path], Export], Path]], sources: list[Path], asked: _Asked) -> list[Export]:
    from loom.export.delivery import deliver_together

    files = [Path(str(source).partition(".py:")[0] + ".py") if ".py:" in str(source) else source for source in sources]
    return deliver_together(writers, overwrite=asked.overwrite, sources=files)


def _export_library(
    context: typer.Context, network: list[Path] | None, out: Path, asked: _Asked, is_asked: bool, json: bool
) -> None:
    """Write libloom, which takes any document, and print what was written."""
    from loom.cli.inputs.output import print_json
    from loom.core.errors import ArgumentError
    from loom.export.library import export_library

    if not is_asked:
        raise ArgumentError(
            "loom export",
            "no model is named",
            expected="MODEL, or --library",
            got="neither",
            remedy="Name a document, a model or FILE.py:NAME; or write --library",
        )
    _require_no(str(network[0]) if network else None, "--library", "a model")
    others = ["to", "name", "batch", "data", "shape", "threads", "length", "opset", *_OF_TRAINING]
    _require_not_given(context, others, "--library")
    made = export_library(
        out, target=asked.target or "x86_64-linux", optimize=asked.optimize or "speed", overwrite=asked.overwrite
    )
    if json:
        print_json(
            {
                "files": [str(p) for p in made.files],
                "templates": made.templates,
                "rows": made.rows,
                "kernels": made.kernels,
                "code_nbytes": made.code_nbytes,
            }
        )
        return
    for path in made.files:
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")
    typer.echo(f"{made.templates} templates of {made.rows:,} rows, {made.kernels} kernels")


@dataclass(frozen=True, slots=True)
class _OnnxSettings:
    """What is asked of a model of ONNX."""

    name: str | None
    batch: int | None
    length: int | None
    opset: int | None
    overwrite: bool


def _to_onnx(context: typer.Context, models: list[Path], out: Path, settings: _OnnxSettings, json: bool) -> None:
    """Write a network or a program as ONNX, and print what was written."""
    from loom.cli.inputs.kernel_file import load_object
    from loom.cli.inputs.networks import open_network
    from loom.cli.inputs.output import print_json
    from loom.export import export_onnx

    _require_one(models, "--to onnx")
    _require_not_given(context, ["data", "threads", "optimize", "target", "shape", *_OF_TRAINING], "--to onnx")
    is_object = ".py:" in str(models[0])
    if is_object:
        _require_not_given(context, ["batch", "length"], "a program")
    source = load_object(str(models[0])) if is_object else open_network(models[0], "cpu")
    called = settings.name or (str(models[0]).rpartition(":")[2] if is_object else _prefix(models[0]))
    made = export_onnx(source, out, name=called, batch=settings.batch, length=settings.length,
                       opset=settings.opset, overwrite=settings.overwrite)  # fmt: skip
    if json:
        told = {"opset": made.opset, "nodes": made.nodes, "operators": list(made.operators), "sha256": made.digest}
        print_json({"files": [str(p) for p in made.files], "weights_nbytes": made.weights_nbytes} | told)
        return
    for path in made.files:
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")
    typer.echo(f"{made.nodes} nodes of {len(made.operators)} operators, opset {made.opset}; weights {made.digest[:16]}")


def _export_kernel(context: typer.Context, network: list[Path], to: str, out: Path, asked: _Asked, json: bool) -> None:
    """Write a kernel, program or chain of a file."""
    _require_not_given(context, ["batch", "data", "threads", "shape", *_OF_TRAINING], "a kernel")
    _require_one(network, "a kernel")
    _write(_kernel(str(network[0]), to, context.params["name"]), network, out, asked, json)


def _export_graph(context: typer.Context, network: list[Path], to: str, out: Path, asked: _Asked, json: bool) -> None:
    """Write a model of ONNX."""
    from loom.cli.inputs.onnx_file import freeze_file

    what, given = "a model of ONNX", context.params
    _require_not_given(context, ["data", "threads", *_OF_TRAINING], what)
    _require_one(network, what)
    _require_kernel_kinds(to, what)
    name = given["name"] or _prefix(network[0])
    graph = freeze_file(network[0], given["shape"] or [], _size(given["batch"]), name)
    _write(graph, network, out, asked, json)


def _several_to_c(nets: list[FrozenNetwork], out: Path, asked: _Asked, name: str | None) -> Export:
    from loom.export import export_c

    targets = [text.strip() for text in (asked.target or "x86_64-linux").split(",")]
    return export_c(nets, out, targets, optimize=asked.optimize or "speed", name=name)


def _documents(path: Path) -> list[Any]:
    """Return the document of a file as it is written there, which need not be as Loom writes it."""
    from loom.core.given import is_mapping

    if path.suffix != ".json":
        return []
    found: Any = parse(path.read_bytes())
    models: Any = found.get("models") if is_mapping(found) else None
    return [found] if models is None else [model["cfg"] for model in models[:1]]


def _require_one(network: list[Path], what: str) -> None:
    from loom.core.errors import ArgumentError

    if len(network) > 1:
        raise ArgumentError("loom export", f"{what} takes one at a time", expected="one", got=len(network),
                            remedy="Export one after the other")  # fmt: skip


def _kernel(where: str, to: str, name: str | None) -> Any:
    """Return the kernel, program or chain that FILE.py:NAME is, frozen."""
    from loom.cli.inputs.kernel_file import load_kernel, load_object
    from loom.export import FrozenFunction, freeze_kernel, freeze_program
    from loom.tensor import TensorProgram

    found = load_object(where)
    _require_kernel_kinds(to, "a program" if isinstance(found, (FrozenFunction, TensorProgram)) else "a kernel")
    if isinstance(found, (FrozenFunction, TensorProgram)):
        if isinstance(found, TensorProgram):
            return freeze_program(found, name=name or where.rpartition(":")[2])
        _require_no(name, "--name", "what has a name already")
        return found
    return freeze_kernel(load_kernel(where), name=name)


def _require_kernel_kinds(to: str, what: str) -> None:
    from loom.core.errors import ArgumentError

    if not {kind.strip() for kind in to.split(",")} <= {"c", "wasm"}:
        known = "C, wasm and ONNX" if what == "a program" else "C and wasm"
        raise ArgumentError("loom export, --to", f"{what} is exported to {known} alone", expected="c or wasm", got=to,
                            remedy="Write --to c")  # fmt: skip


def _print(exports: Sequence[Any], digest: str | None, json: bool) -> None:
    made, paths = exports[0], [path for each in exports for path in each.files]
    if json:
        from loom.cli.inputs.output import print_json

        print_json({"files": [str(p) for p in paths], "net_nbytes": made.net_nbytes, "kernels": made.kernels,
                    "code_nbytes": made.code_nbytes} | ({} if digest is None else {"sha256": digest}))  # fmt: skip
        return
    for path in paths:
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")
    takes = f"; a net takes {made.net_nbytes:,} bytes" if made.net_nbytes else ""
    typer.echo(f"{made.kernels} kernels, {made.code_nbytes:,} bytes of code{takes}")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of a writer: all of --to, --target and --optimize."""

    kinds: list[str]
    target: str | None
    optimize: Optimize | None
    overwrite: bool


def _kinds(to: str) -> list[str]:
    """Return what --to names; ArgumentError for what is no export."""
    from loom.core.errors import ArgumentError, near_matches
    from loom.export import LANGUAGES

    kinds, known = [text.strip() for text in to.split(",")], [*_EXPORTS, "onnx", *LANGUAGES]
    if "onnx" in kinds and len(kinds) > 1:
        raise ArgumentError("loom export, --to", "onnx is written alone", expected="--to onnx", got=to,
                            remedy="Write it with a command of its own")  # fmt: skip
    for kind in kinds:
        if kind not in known:
            raise ArgumentError("loom export, --to", "no such export", expected=", ".join(known), got=kind,
                                remedy=near_matches(kind, known))  # fmt: skip
    return kinds


def _to_c(net: FrozenNetwork | FrozenFunction | FrozenKernel, asked: _Asked, out: Path) -> Any:
    """Write the C libraries, and packages of all languages that are asked for."""
    from loom.export import FrozenNetwork, export_bindings, export_c

    targets = [text.strip() for text in (asked.target or "x86_64-linux").split(",")]
    if not isinstance(net, FrozenNetwork):
        return export_c(net, out, targets, optimize=asked.optimize or "speed")
    languages = [kind for kind in asked.kinds if kind not in _EXPORTS]
    return export_bindings(net, out, languages, targets, optimize=asked.optimize or "speed")


def _to_wasm(net: FrozenNetwork | FrozenFunction | FrozenKernel, asked: _Asked, out: Path) -> Any:
    from loom.export import export_wasm

    if set(asked.kinds) <= _OF_THE_WEB:
        _require_no(asked.target, "--target", "--to wasm")
    return export_wasm(net, out, optimize=asked.optimize or "speed")


def _to_npm(net: FrozenNetwork, asked: _Asked, out: Path) -> Any:
    from loom.export import export_npm

    if set(asked.kinds) <= _OF_THE_WEB:
        _require_no(asked.target, "--target", "--to npm")
    return export_npm(net, out, optimize=asked.optimize or "speed")


def _require_no(given: str | None, option: str, what: str) -> None:
    from loom.core.errors import ArgumentError

    if given is not None:
        raise ArgumentError(f"loom export, {option}", f"has no effect with {what}", expected="none", got=given,
                            remedy="Leave it out")  # fmt: skip


_OF_TRAINING = [
    "epochs", "batch_size", "rate", "optimizer", "schedule", "loss", "hold_out", "seed", "clip_norm", "patience",
    "keep",
]  # fmt: skip


def _require_not_given(context: typer.Context, options: list[str], what: str) -> None:
    for option in options:
        if _is_given(context, option):
            name = _NAMES.get(option, option.replace("_", "-"))
            _require_no(str(context.params[option]), f"--{name}", what)


_NAMES = {"keep": "samples"}
"""What options are called where that is no name of a parameter."""


def _is_given(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


_EXPORTS = {"c": _to_c, "wasm": _to_wasm, "npm": _to_npm, "typescript": _to_npm}
"""What --to names, beside languages: a frozen network, the folder and what is asked to what was made."""
_OF_THE_WEB = set(_EXPORTS) - {"c"}


def _size(text: str) -> int:
    from loom.core.errors import ArgumentError

    try:
        return int(text)
    except ValueError:
        raise ArgumentError("loom export, --batch", "not a number of samples", expected="whole numbers: 1,32",
                            got=text, remedy="Write --batch 1,32") from None  # fmt: skip


def _prefix(path: Path) -> str:
    from loom.export.words import is_taken

    name = "".join(c if c.isalnum() and c.isascii() else "_" for c in path.stem)
    return f"net_{name}" if not name or name[0].isdigit() or is_taken(name) else name
