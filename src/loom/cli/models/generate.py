"""``loom generate MODEL``: the continuation of a prompt, or the answer to it, as it is written.

Layer: cli.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loom.cli.models import asking
from loom.core.errors import ArgumentError

if TYPE_CHECKING:
    from loom.models.tasks import ServedModel, TextWriter

__all__ = ["generate"]

_INTERRUPTED_EXIT_CODE = 130
"""As a shell tells that Ctrl-C ended a process."""


def generate(
    model: asking.Model,
    prompt: Annotated[str | None, typer.Option("--prompt", help="What to go on from; else stdin.")] = None,
    system: Annotated[str | None, typer.Option("--system", help="Say this first, as the system; means --chat.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="The prompt is a user's message: write the answer.")] = False,
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
    json: asking.Json = False,
) -> None:
    """Write what follows a prompt, token by token. Ctrl-C stops it.

    Example: loom generate smollm2.gguf --chat --prompt "What is a loom?" --max-tokens 100
    """
    text = _prompt(prompt)
    schema = asking.read_schema(json_schema)
    opened = asking.open_model(model, on, weights, compute)
    settings = asking.settings_of(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed,
                                  stop=tuple(stop or ()))  # fmt: skip
    task = asking.task_of(opened, _tokens(opened, text, system, chat), settings, max_tokens, schema)
    with asking.broken_pipe_ends():
        made = asking.answer(opened, task, _tell if not json else lambda _part: None)
        if json:
            _print_json(opened, made)
        else:
            typer.echo()
    asking.keep_receipt(receipt, made.receipt())
    if made.finish_reason == "cancelled":
        raise typer.Exit(_INTERRUPTED_EXIT_CODE)


def _prompt(given: str | None) -> str:
    """Return the prompt: an option, or all of stdin."""
    if given is None and (sys.stdin is None or sys.stdin.isatty()):
        raise ArgumentError("loom generate", "there is no prompt", expected="--prompt TEXT, or a text at stdin",
                            got="none", remedy="Pass --prompt")  # fmt: skip
    if given is not None:
        return given
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise ArgumentError("loom generate, stdin", "not UTF-8", expected="a text", got=f"byte {error.start}",
                            remedy="Pass a text") from None  # fmt: skip


def _tokens(model: ServedModel, text: str, system: str | None, chat: bool) -> list[int]:
    if system is None and not chat:
        return model.encode(text)
    said = [] if system is None else [{"role": "system", "content": system}]
    return model.encode_chat([*said, {"role": "user", "content": text}])


def _tell(part: str) -> None:
    if part:
        sys.stdout.write(asking.printable(part))
        sys.stdout.flush()


def _print_json(model: ServedModel, made: TextWriter) -> None:
    from loom.cli.inputs.output import print_json

    about: dict[str, Any] = {
        "text": made.text, "finish_reason": made.finish_reason, "tokens": [step.token for step in made.steps],
        "logprobs": [step.logprob for step in made.steps], "prompt_tokens": len(made.task.prompt),
        "device": model.device, "receipt": made.receipt().id,
    }  # fmt: skip
    print_json(about)
