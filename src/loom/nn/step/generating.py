"""Token by token: classes drawn of what an output shows, and sequences that go on with what was drawn.

Layer: nn. Source of the draw: the largest of z / temperature plus Gumbel noise (E. Gumbel 1954; C. Maddison and others,
"A* Sampling", 2014), which has the chances of softmax(z / temperature). Invariant: what is drawn depends on the
outputs' bits, the seed and the number of ticks alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import f32
from loom.core.errors import ArgumentError, ShapeError
from loom.nn.base.random import RandomStream, gumbels
from loom.nn.step.state import StepState
from loom.nn.train.samples import numbers
from loom.nn.train.scalars import real, whole
from loom.nn.train.targets import outputs_of
from loom.nn.train.updates import Pairs
from loom.tensor import Tensor
from loom.tensor.ops.random import random_words

__all__ = ["generate", "sample"]

_HOTTEST = 2.0**127
_LEAST = 2.0**-126
"""Added to chances before their logarithm: the least normal f32."""


def sample(state: StepState, *, temperature: float = 1.0, seed: int = 0) -> Array:
    """Return a class for each row of what the output shows, drawn by its chances.

    Args:
        state: State of a network of one output.
        temperature: 0 takes the likeliest; above 1 evens the chances out.
        seed: Seed of the draws, which differ from tick to tick.

    Returns:
        Classes (batch,), or (batch, tokens), i64.

    Raises:
        ArgumentError: A number is out of range; the network has several outputs.
    """
    where = "loom.nn.step.sample"
    heat = np.float32(real(f"{where}, temperature", temperature, below=_HOTTEST))
    key = whole(f"{where}, seed", seed, least=0, most=(1 << 64) - 1)
    outputs = outputs_of(state.wiring.spec)
    if len(outputs) != 1:
        raise ArgumentError(where, "the network has several outputs", expected="one, of classes", got=len(outputs),
                            remedy="Draw from get_output yourself")  # fmt: skip
    (name, output), programs = next(iter(outputs.items())), state.programs

    def record() -> tuple[list[Tensor], Pairs]:
        z = programs.tensors[name].astype(f32)
        if output.gives_probabilities:
            z = (z + _LEAST).log()
        if heat:
            words = random_words(z.shape, key, 0, programs.number, RandomStream.SAMPLE)
            z = z / tensor.input("temperature", (), f32) + gumbels(words)
        return [tensor.argmax(z, -1)], []

    with state.network.model.lock:
        program = programs.program(("sample", key, bool(heat)), record)
        program.run(**({"temperature": np.asarray(heat)} if heat else {}))
        return program.read()[0].astype(np.int64)


def generate(state: StepState, prompt: Any, count: int, *, temperature: float = 1.0, seed: int = 0) -> Array:
    """Return tokens that go on from others.

    Each token passes all layers at once (``step_through``), with the state that the tokens before it left: a state that
    was not reset goes on from what it had. The network takes one id and gives logits, or chances, of all.

    Args:
        state: State of a network that takes one id and gives logits, or chances, of all.
        prompt: Ids (n,) or (batch, n), n at least 1.
        count: Number of tokens.
        temperature: 0 takes the likeliest; above 1 evens the chances out.
        seed: Seed of the draws.

    Returns:
        Ids (count,) or (batch, count), i64.

    Raises:
        ArgumentError: A number is out of range; the network has several outputs; an id that is no row of its table.
        DTypeError: The prompt is no numbers.
        ShapeError: The network does not take one token; not a sequence of tokens for each sample.
    """
    where = "loom.nn.step.generate"
    ids, count = numbers(prompt, where, "prompt"), whole(f"{where}, count", count, least=0)
    shape = state.programs.tensors[state.wiring.inputs[0]].shape
    rows = ids[None] if ids.ndim == 1 and state.batch == 1 else ids
    if len(state.wiring.inputs) != 1 or shape not in ((state.batch, 1), (state.batch,)):
        raise ShapeError(where, "the network does not take one token", expected="an input of one id", got=shape,
                         remedy="Begin with an embedding and a recurrent layer")  # fmt: skip
    if rows.ndim != 2 or rows.shape[0] != state.batch or not rows.shape[1]:
        raise ShapeError(f"{where}, prompt", "not a sequence of tokens for each sample",
                         expected=f"({state.batch}, n), n at least 1", got=ids.shape,
                         remedy="Begin with a token")  # fmt: skip
    for column in rows.T:
        _pass(state, column, shape)
    found: list[Array] = []
    for n in range(count):
        if n:
            _pass(state, found[-1], shape)
        found.append(sample(state, temperature=temperature, seed=seed).reshape(state.batch))
    made = np.stack(found, 1) if found else np.zeros((state.batch, 0), np.int64)
    return made[0] if ids.ndim == 1 else made


def _pass(state: StepState, tokens: Array, shape: tuple[int, ...]) -> None:
    state.set_input(tokens.reshape(shape))
    state.step_through()
