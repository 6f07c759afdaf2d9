"""What the commands over models share: options, the model itself, a text written to the terminal, its receipt.

Layer: cli. Invariant: what is not a terminal gets a model's text as it is; a terminal gets nothing that it would obey.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from loom.cli.inputs.output import is_terminal
from loom.core.errors import ArgumentError, FileError

if TYPE_CHECKING:
    from loom.models.receipts import Receipt
    from loom.models.tasks import ServedModel, TextConstraint, TextTask, TextWriter

__all__ = [
    "Compute", "Device", "Json", "JsonSchema", "MinP", "Model", "MostTokens", "ReceiptFile", "Seed", "Stop",
    "Temperature", "TopK", "TopP", "Weights", "answer", "broken_pipe_ends", "keep_receipt", "open_model", "printable",
    "read_schema", "settings_of", "task_of",
]  # fmt: skip

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A HuggingFace folder, a .gguf or a .safetensors file.")]
Device = Annotated[str | None, typer.Option("--on", "--device", help="Where to run (see 'loom devices').")]
Weights = Annotated[str, typer.Option("--weights", help="f32, or stored: as few bits as the file has.")]
Compute = Annotated[str, typer.Option("--compute", help="exact, q8 or q12: how products with stored weights are made.")]
MostTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=0, help="The most to write; else to the context's end.")
]
Temperature = Annotated[float, typer.Option("--temperature", help="0: the likeliest token, always.")]
TopK = Annotated[int, typer.Option("--top-k", help="Of so many likeliest tokens; 0: of all.")]
TopP = Annotated[float, typer.Option("--top-p", help="Of the likeliest that have this chance together.")]
MinP = Annotated[float, typer.Option("--min-p", help="Of those at least so likely as the likeliest, times this.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same one gives the same text, on every device.")]
Stop = Annotated[list[str] | None, typer.Option("--stop", help="A text before which to stop; may be given again.")]
JsonSchema = Annotated[Path | None, typer.Option("--json-schema", help="A file: write JSON that its schema accepts.")]
ReceiptFile = Annotated[Path | None, typer.Option("--receipt", help="Write what 'loom audit' reads.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_PIPE_EXIT_CODE = 141
"""As a shell tells that a process ended because nobody read on."""


def open_model(
    source: str,
    on: str | None,
    weights: str | None,
    compute: str | None,
    name: str | None = None,
    usual: tuple[str, str] = ("f32", "exact"),
) -> ServedModel:
    """Return a model of a file or folder, ready to be asked; the settings are those of ``open_served``."""
    from loom.models.tasks.adapter import open_served

    return open_served(source, name=name, on=on, weights=weights, compute=compute, usual=usual)


def settings_of(**given: Any) -> dict[str, Any]:
    """Return settings by the names of ``SamplingConfig``, with those that commands do not have."""
    return {"repetition_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0, "logit_bias": {}, "stream": 0,
            **given}  # fmt: skip


def read_schema(path: Path | None) -> TextConstraint | None:
    """Return what a text must be by the schema in a file, None if there is none."""
    if path is None:
        return None
    import json

    from loom.models.tasks import TextConstraint
    from loom.models.tasks.claims import schema_text

    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FileError("--json-schema", f"{path} is no JSON", got=str(error)[:100], remedy="Correct it") from None
    return TextConstraint("json_schema", schema_text(found))


def task_of(
    model: ServedModel, prompt: list[int], settings: Mapping[str, Any], most: int | None, schema: TextConstraint | None
) -> TextTask:
    """Return the task of a prompt; ArgumentError where the context has no place for an answer."""
    from loom.models.tasks import TextTask

    if not prompt:
        raise ArgumentError("loom, the prompt", "it has no tokens", expected="a text", got="none",
                            remedy="Pass a text, by --prompt or at stdin")  # fmt: skip
    room = model.context_length - len(prompt)
    if room < (1 if most is None else most):
        raise ArgumentError("loom, the prompt", "prompt and text are longer than the model's context",
                            expected=f"at most {model.context_length} tokens",
                            got=f"{len(prompt)} and {most or 'some'} to write",
                            remedy="Shorten the prompt, or pass a smaller --max-tokens")  # fmt: skip
    return TextTask(tuple(prompt), {**settings, "max_tokens": room if most is None else most}, schema)


def answer(model: ServedModel, task: TextTask, tell: Callable[[str], None]) -> TextWriter:
    """Write a text, telling it part by part; a KeyboardInterrupt ends it, and what was written is returned."""
    from loom.models.tasks import TextWriter

    writer = TextWriter(model, task)
    try:
        for _, part in writer:
            tell(part)
    except KeyboardInterrupt:
        pass
    finally:
        last = writer.flush()
    tell(last)
    return writer


def printable(text: str) -> str:
    """Return a text for stdout: on a terminal without characters that it would obey.

    >>> printable("a\\tb")
    'a\\tb'
    """
    if not is_terminal():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


@contextlib.contextmanager
def broken_pipe_ends() -> Any:
    """End the process in silence where nobody reads its output any more."""
    try:
        yield
    except BrokenPipeError:
        end_in_silence()


def end_in_silence() -> NoReturn:
    """End the process: what is left to be written goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(_PIPE_EXIT_CODE)


def keep_receipt(path: Path | None, receipt: Receipt) -> None:
    """Write a receipt to a file, if there is one to be written to."""
    if path is not None:
        from loom.storage.atomic import replace_file

        replace_file(path, receipt.to_json() + b"\n")
