"""``loom chat MODEL``: a conversation, at a terminal or line by line from anywhere.

Layer: cli.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from loom.cli.models import asking
from loom.core.errors import ArgumentError

__all__ = ["chat"]

_HELP = "/reset forgets what was said, /exit (or Ctrl-D) ends, Ctrl-C stops an answer"


def chat(
    model: asking.Model,
    system: Annotated[str | None, typer.Option("--system", help="Say this first, as the system.")] = None,
    max_tokens: asking.MostTokens = None,
    temperature: asking.Temperature = 0.0,
    top_k: asking.TopK = 0,
    top_p: asking.TopP = 1.0,
    min_p: asking.MinP = 0.0,
    seed: asking.Seed = 0,
    stop: asking.Stop = None,
    json_schema: asking.JsonSchema = None,
    receipt: asking.ReceiptFile = None,
    weights: asking.Weights = "f32",
    compute: asking.Compute = "exact",
    on: asking.Device = None,
) -> None:
    """Talk with a model: each line is a message. /reset forgets what was said, /exit ends.

    Example: loom chat smollm2.gguf --system "You are brief." --receipt last.json
    """
    schema = asking.read_schema(json_schema)
    opened = asking.open_model(model, on, weights, compute)
    settings = asking.settings_of(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed,
                                  stop=tuple(stop or ()))  # fmt: skip
    first = [] if system is None else [{"role": "system", "content": system}]
    messages = list(first)
    live = sys.stdin is not None and sys.stdin.isatty()
    if live:
        typer.echo(_HELP, err=True)
    with asking.broken_pipe_ends():
        while (line := _line(live)) is not None:
            said = line.strip()
            if not said:
                continue
            if said == "/exit":
                break
            if said == "/reset":
                messages = list(first)
            elif said.startswith("/"):
                typer.echo(f"loom: there is no {said.split()[0][:40]}; {_HELP}", err=True)
            else:
                messages.append({"role": "user", "content": said})
                try:
                    task = asking.task_of(opened, opened.encode_chat(messages), settings, max_tokens, schema)
                    made = asking.answer(opened, task, _tell)
                except ArgumentError as error:
                    messages.pop()
                    if not live:
                        raise
                    typer.echo(f"loom: {' '.join(str(error).split())} Or forget what was said: /reset", err=True)
                    continue
                typer.echo()
                messages.append({"role": "assistant", "content": made.text})
                asking.keep_receipt(receipt, made.receipt())


def _line(live: bool) -> str | None:
    """Return the next line, None at the end."""
    try:
        return input("> ") if live else _read_line()
    except EOFError:
        return None
    except KeyboardInterrupt:
        typer.echo(err=True)
        return None


def _read_line() -> str | None:
    if sys.stdin is None:
        return None
    data = sys.stdin.buffer.readline()
    try:
        return data.decode() if data else None
    except UnicodeDecodeError as error:
        raise ArgumentError("loom chat, stdin", "not UTF-8", expected="a line of text", got=f"byte {error.start}",
                            remedy="Pass texts") from None  # fmt: skip


def _tell(part: str) -> None:
    if part:
        sys.stdout.write(asking.printable(part))
        sys.stdout.flush()
