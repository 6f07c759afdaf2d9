"""``loom serve MODEL``: models over HTTP.

Layer: cli.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loom.cli.models import asking
from loom.core.errors import ArgumentError, near_matches
from loom.core.given import one_of
from loom.core.late.dataclass import dataclass

if TYPE_CHECKING:
    from loom.models.tasks import ServedModel

__all__ = ["serve"]


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Folders or files: MODEL, NAME=MODEL, or NAME=MODEL,weights=..,compute=..,on=.."
        ),
    ],
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8000,
    key: Annotated[list[str] | None, typer.Option("--key", help="Ask for it; may be given again.")] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="A file with a key on each line: no process list shows them.")
    ] = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="Let everyone in who reaches --host.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A name that the server goes by; may be given again.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option("--allow-origin", help="Whose pages may use it: https://example.org.")
    ] = None,
    sequences: Annotated[int, typer.Option("--sequences", min=1, help="Texts written at once.")] = 32,
    queue: Annotated[int, typer.Option("--queue", min=0, help="Texts that may wait; more are answered 429.")] = 512,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The most of one text.")] = 65536,
    max_body: Annotated[int, typer.Option("--max-body", min=1, help="Bytes of a request.")] = 4 << 20,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds of a request, waiting included.")] = 600.0,
    drain: Annotated[float, typer.Option("--drain", help="Seconds for answers to end when it stops.")] = 30.0,
    receipts: Annotated[int, typer.Option("--receipts", min=1, help="How many are kept.")] = 4096,
    weights: asking.Weights = "f32",
    compute: asking.Compute = "exact",
    on: asking.Device = None,
) -> None:
    """Serve models with the interface that clients of OpenAI know, and a page to chat at.

    --weights, --compute and --on are of models that name none of their own; a model of vectors is computed in f32.

    Example: loom serve smollm2.gguf,weights=stored minilm=./minilm --port 8000
    """
    from loom.serve.http.application import build_application
    from loom.serve.http.guard import host_name, page_origin
    from loom.serve.http.server import listen, serve_on, url_of
    from loom.serve.limits import ServerLimits

    keys = _keys(key, key_file, no_key)
    limits = ServerLimits(sequences=sequences, queue=queue, output_tokens=max_tokens, body_bytes=max_body,
                          request_seconds=timeout, drain_seconds=drain, receipts=receipts)  # fmt: skip
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    sources = [_source_of(each) for each in models]
    hosts, origins = [*map(host_name, allow_host or ()), host], [page_origin(each) for each in allow_origin or ()]
    sock = listen(host, port, keyed=bool(keys), no_key=no_key)
    try:
        opened = _open_models(sources, on, weights, compute)
        made = build_application(opened, keys=keys, hosts=hosts, origins=origins, limits=limits)
        url = url_of(sock)
        serve_on(made, sock, ready=lambda: typer.echo(f"serving at {url} (a page to chat at), {url}/v1 for clients"))
    finally:
        sock.close()


def _open_models(sources: list[_ModelSource], on: str | None, weights: str, compute: str) -> list[ServedModel]:
    """Return the models, each told as it is ready; ArgumentError where what is said of all is of none."""
    opened: list[ServedModel] = []
    for each in sources:
        usual = weights, compute
        model = asking.open_model(each.path, each.on or on, each.weights, each.compute, each.name, usual)
        typer.echo(f"{model.name}: on {model.device}, weights {model.identity.weights[:16]}")
        opened.append(model)
    for option, given, default in (("weights", weights, "f32"), ("compute", compute, "exact")):
        own = [getattr(each, option) for each, model in zip(sources, opened, strict=True) if model.writes]
        if given != default and None not in own:
            wanted = f"a model of text without {option} of its own"
            raise ArgumentError(
                f"loom serve, --{option}", "it is of no model", expected=wanted, got=given, remedy="Leave it out"
            )
    return opened


def _keys(given: list[str] | None, file: Path | None, no_key: bool) -> list[str]:
    kept = [] if file is None else file.read_text(encoding="utf-8", errors="replace").splitlines()
    keys = [*(given or ()), *(line.strip() for line in kept)]
    if no_key and (given or file is not None):
        raise ArgumentError("loom serve", "a key and none", expected="a key or --no-key", got="both",
                            remedy="Pass one of them")  # fmt: skip
    if file is not None and not kept:
        raise ArgumentError("loom serve, --key-file", "there is no key", expected="a key on each line", got=str(file),
                            remedy="Write one into it")  # fmt: skip
    if any(not each.isascii() or not each.isprintable() or " " in each or not each for each in keys):
        raise ArgumentError("loom serve, --key", "not a key", expected="ASCII letters, digits and signs",
                            got="another", remedy="Choose another")  # fmt: skip
    return keys


def _is_there(text: str) -> bool:
    name, _, path = text.partition("=")
    return Path(text).exists() or (bool(path) and "," not in name and Path(path).exists())


@dataclass(frozen=True, slots=True)
class _ModelSource:
    """A model to be served: where it is, and what is its own."""

    path: str
    name: str | None = None
    weights: str | None = None
    compute: str | None = None
    on: str | None = None


def _source_of(text: str) -> _ModelSource:
    """Return what ``NAME=PATH,weights=..`` says; a path may have commas and ``=`` itself, if it is there."""
    from loom.models.inference.stored import WEIGHTS
    from loom.tensor.neural.quantized import COMPUTES

    known: dict[str, tuple[str, ...]] = {"weights": WEIGHTS, "compute": COMPUTES, "on": ()}
    rest, own = text, dict[str, str]()
    while "," in rest and not _is_there(rest):
        rest, _, last = rest.rpartition(",")
        key, sign, value = last.partition("=")
        if key not in known or not sign or not value:
            raise ArgumentError(
                "loom serve",
                f"there is no such file, and {last!r} is no setting",
                expected="NAME=MODEL,weights=..,compute=..,on=..",
                got=text,
                remedy=near_matches(key, known),
            )
        if key in own:
            raise ArgumentError("loom serve", f"{key} is there twice", expected="one", got=text, remedy="Say it once")
        own[key] = one_of(value, f"loom serve, {text!r}, {key}", known[key]) if known[key] else value
    name, sign, path = rest.partition("=")
    whole = not sign or Path(rest).exists()
    if not rest or not (whole or (name and path)):
        raise ArgumentError("loom serve", f"{text!r} names no model", expected="MODEL or NAME=MODEL",
                            remedy="Check it")  # fmt: skip
    return _ModelSource(rest, **own) if whole else _ModelSource(path, name, **own)
