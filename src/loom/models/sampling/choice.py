"""``sample``: the next tokens of several texts, chosen where their logits are; ``TokenChoice``: that in a program.

Layer: models. Settings, positions and what was said are data, so that texts of any settings share a program. Invariant:
a token depends on the logits of its row, the settings, the seed and the position alone: not on the device, the rows
beside it, or how the program is cut.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, NotFinite, ShapeError
from loom.core.given import items
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.kernels.sampling import draw, weights
from loom.models.sampling.state import SamplingState, idle
from loom.runtime.calls import kernels as _  # noqa: F401  # pyright: ignore[reportUnusedImport] - what calling a kernel does
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.tensor import Tensor, TensorProgram, compile, log_softmax, take_along_axis, topk, zeros  # noqa: A004
from loom.tensor import input as tensor_input
from loom.tensor import max as tensor_max
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.views import reshape

__all__ = ["Sampled", "TokenChoice", "logprobs_of", "pack_mask", "require_token", "room", "sample"]

MOST_TOP = 64
"""Most probable tokens that are told for each."""
_KEPT = 32


@dataclass(frozen=True, slots=True)
class Sampled:
    """The tokens of the rows; of each its log probability, and the most probable tokens with theirs, if asked for.

    Log probabilities are those of the model's own logits, before any setting.
    """

    tokens: list[int]
    logprobs: list[float] | None = None
    top: list[list[tuple[int, float]]] | Any = None  # unless log probabilities are asked for


def room(adjusted: int) -> int:
    """Return how many places for adjusted tokens a program gets: few sizes, so that few programs are made."""
    size = 64
    while size < adjusted:
        size *= 4
    return size if adjusted else 0


def pack_mask(allowed: Array) -> Array:
    """Return a mask of tokens as words of 32 bits, the first token lowest."""
    bits = np.packbits(np.asarray(allowed, dtype=bool), bitorder="little")
    words = np.zeros(-(-len(allowed) // 32) * 4, np.uint8)
    words[: len(bits)] = bits
    return words.view("<u4").astype(np.uint32, copy=False)


class TokenChoice:
    """The choice of a token for each row of ``logits``, recorded; ``tokens`` is a tensor of u32.

    ``adjustments``: how many tokens of a row may have penalties or biases (``room``); ``masked``: whether rows have
    masks. A program that holds ``tokens`` is fed ``feed(states, masks)``; what it gives is read by ``read``.
    """

    def __init__(self, logits: Tensor, *, adjustments: int = 0, masked: bool = False, name: str = "sampling") -> None:
        if logits.ndim != 2 or not logits.size or 2 * logits.size >= 1 << 32:
            raise ShapeError("sample, logits", "not usable", expected="rows of logits, fewer than 2^31 in all",
                             got=logits.shape, remedy="Pass (rows, vocabulary)")  # fmt: skip
        rows, n = logits.shape
        self.rows, self.size, self.adjustments, self.masked, self.name = rows, n, adjustments, masked, name
        numbers = tensor_input(f"{name}_numbers", (rows, weights.SETTINGS))
        words = tensor_input(f"{name}_words", (rows, weights.SETTINGS), "u32")
        x, tiles = cast(logits, "f32"), -(-n // weights.TILE)
        if adjustments or masked:
            x = self._adjust(x, numbers, words, tiles)
        largest = tensor_max(x, axis=1)
        made, stats = weights.weigh()(
            x, largest, numbers, words, n=n, groups=rows * tiles,
            out={"weights": (rows, n), "stats": (rows, tiles, weights.STATS)},
        )  # fmt: skip
        picked = draw.pick_candidates()(made, numbers, words, stats, n=n, groups=rows * tiles, out=(rows, 2, n))
        self.tokens: Tensor = draw.choose()(x, largest, picked, numbers, words, stats, n=n, groups=rows, out=(rows,))

    def _adjust(self, x: Tensor, numbers: Tensor, words: Tensor, tiles: int) -> Tensor:
        most, n = max(self.adjustments, 1), self.size
        if self.adjustments:
            tokens, counts = (
                tensor_input(f"{self.name}_{each}", (self.rows, most), "u32") for each in ("tokens", "counts")
            )
            biases = tensor_input(f"{self.name}_biases", (self.rows, most))
        else:
            tokens = counts = zeros((1,), "u32")
            biases = zeros((1,), "f32")
        mask = tensor_input(f"{self.name}_mask", (self.rows, -(-n // 32)), "u32") if self.masked else words
        kernel = weights.adjust(masked=self.masked)
        return kernel(x, mask, tokens, counts, biases, numbers, words, n=n, most=most, groups=self.rows * tiles,
                      out=(self.rows, n))  # fmt: skip

    def fits(self, states: Sequence[SamplingState | None], *, masked: bool) -> bool:
        """Whether these states can be fed."""
        most = max((state.adjusted for state in states if state is not None), default=0)
        return len(states) <= self.rows and most <= self.adjustments and (self.masked or not masked)

    def feed(
        self, states: Sequence[SamplingState | None], masks: Sequence[Array | None] | None = None
    ) -> dict[str, Array]:
        """Return what the program is fed: one state a row (None: nobody asks), masks as bools or packed words."""
        rows, name, most = self.rows, self.name, self.adjustments
        numbers, words = np.zeros((rows, weights.SETTINGS), np.float32), np.zeros((rows, weights.SETTINGS), np.uint32)
        fed = {f"{name}_numbers": numbers, f"{name}_words": words}
        lists = [np.zeros((rows, most), kind) for kind in (np.uint32, np.uint32, np.float32)]
        if most:
            fed |= dict(zip((f"{name}_tokens", f"{name}_counts", f"{name}_biases"), lists, strict=True))
        for r in range(rows):
            state = states[r] if r < len(states) else None
            if state is None:
                idle(numbers[r], words[r])
                continue
            if state.adjusted > most:
                raise ArgumentError("sample", "more tokens have penalties or biases than there are places",
                                    expected=f"at most {most}", got=state.adjusted,
                                    remedy="Record it with more adjustments")  # fmt: skip
            state.write(numbers[r], words[r])
            state.write_adjusted(lists[0][r], lists[1][r], lists[2][r], self.size)
        if self.masked:
            fed[f"{name}_mask"] = self._masks(masks or ())
        elif masks is not None and any(each is not None for each in masks):
            raise ArgumentError("sample, masks", "the program takes none", expected="None", got="masks",
                                remedy="Record it with masked=True")  # fmt: skip
        return fed

    def _masks(self, masks: Sequence[Array | None]) -> Array:
        wide = -(-self.size // 32)
        found = np.full((self.rows, wide), 0xFFFFFFFF, np.uint32)
        for r, mask in enumerate(masks):
            if mask is None:
                continue
            words = mask if mask.dtype == np.uint32 else _of_size(mask, self.size)
            if words.shape != (wide,):
                raise ShapeError("sample, masks", "not of this vocabulary",
                                 expected=f"{self.size} bools or {wide} words", got=mask.shape,
                                 remedy="Pass Constraint.allowed(state)")  # fmt: skip
            found[r] = words
        return found

    def read(self, tokens: Array, states: Sequence[SamplingState | None]) -> list[int | None]:
        """Return the tokens of rows that are asked for, None of others; NotFinite and ArgumentError where none is."""
        found: list[int | None] = []
        for r, state in enumerate(states):
            found.append(None if state is None else require_token(int(tokens[r]), r))
        return found


def _of_size(mask: Array, size: int) -> Array:
    """Return a mask of bools as words; a shorter one allows nothing behind its end."""
    if mask.dtype != np.bool_ or mask.ndim != 1 or len(mask) > size:
        return mask
    whole_mask = np.zeros(size, bool)
    whole_mask[: len(mask)] = mask
    return pack_mask(whole_mask)


def require_token(token: int, row: int) -> int:
    """Return a token that was read; the error that stands in its place otherwise."""
    if token == draw.HAS_NAN:
        raise NotFinite("sample", f"a logit of row {row} is NaN", expected="numbers", got="NaN",
                        remedy="Look at the model's weights and its prompt")  # fmt: skip
    if token == draw.HAS_INFINITY:
        raise NotFinite("sample", f"a logit of row {row} is infinite", expected="numbers", got="inf",
                        remedy="Look at the model's weights, or lower the bias")  # fmt: skip
    if token == draw.HAS_NOTHING:
        raise ArgumentError("sample", f"no token of row {row} is allowed", expected="one at least", got="none",
                            remedy="Look at the mask: a finished constraint ends the text")  # fmt: skip
    return token


class _Programs:
    """Programs of ``sample``, kept by shape and by what takes part; the one used longest ago is forgotten."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, tuple[TokenChoice, TensorProgram]] = OrderedDict()
        self.lock = Lock()

    def get(self, where: Device, shape: tuple[int, int], adjustments: int, masked: bool, top: int) -> Any:
        """Return the choice and its program."""
        key = (where, shape, adjustments, masked, top)
        found = self._kept.pop(key, None)
        if found is None:
            logits = tensor_input("logits", shape)
            choice = TokenChoice(logits, adjustments=adjustments, masked=masked)
            outputs = [choice.tokens]
            if top >= 0:
                outputs += logprobs_of(logits, choice.tokens, top)
            found = choice, compile(outputs, on=where, name="sample")
        self._kept[key] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


_PROGRAMS = _Programs()


def logprobs_of(logits: Tensor, tokens: Tensor, top: int) -> list[Tensor]:
    """Record the log probabilities of ``tokens``, then the ``top`` largest of each row and their tokens, if any."""
    chances = log_softmax(cast(logits, "f32"))
    rows = logits.shape[0]
    own = reshape(take_along_axis(chances, reshape(cast(tokens, "i64"), (rows, 1)), 1), (rows,))
    return [own, *(topk(chances, min(top, logits.shape[1])) if top else ())]


def sample(
    logits: Any, states: SamplingState | Sequence[SamplingState], *, masks: Sequence[Array | None] | None = None,
    logprobs: int | None = None, on: str | Device | None = None,
) -> Sampled:  # fmt: skip
    """Choose the next token of each row of ``logits``, (rows, vocabulary), a tensor of a device or an array.

    ``states``: one a row; they are not pushed. ``masks``: for each row None or which tokens are allowed, as bools or as
    words of 32 bits. ``logprobs``: with log probabilities, and those of that many most probable tokens. NotFinite for
    logits that are NaN or infinite, ArgumentError where nothing is allowed.

    >>> from loom.models.sampling import SamplingConfig
    >>> greedy = SamplingState(SamplingConfig(temperature=0))
    >>> sample(np.array([[0.5, 2.0, 2.0]], np.float32), greedy).tokens
    [1]
    """
    given = [states] if isinstance(states, SamplingState) else items(states, "sample, states", "SamplingState")
    if not all(isinstance(each, SamplingState) for each in given):
        raise ArgumentError("sample, states", "not states", expected="SamplingState, one a row", got=repr(states)[:200],
                            remedy="Make one of a SamplingConfig and the prompt")  # fmt: skip
    top = -1 if logprobs is None else whole(logprobs, "sample, logprobs", least=0, most=MOST_TOP)
    x = logits if isinstance(logits, Tensor) else np.asarray(logits, np.float32)
    if x.ndim != 2 or x.shape[0] != len(given) or not x.shape[0] or not x.shape[1]:
        raise ShapeError("sample, logits", "not one row for each state", expected=f"({len(given)}, vocabulary)",
                         got=tuple(x.shape), remedy="Pass (rows, vocabulary)")  # fmt: skip
    home = x.device if isinstance(x, Tensor) and x.device is not None else device(on)
    masked = masks is not None and any(each is not None for each in masks)
    places = room(max(state.adjusted for state in given))
    with _PROGRAMS.lock:
        choice, program = _PROGRAMS.get(home, (x.shape[0], x.shape[1]), places, masked, top)
        program.run(logits=x, **choice.feed(given, masks if masked else None))
        tokens, *rest = program.read()
    return _as_sampled(choice.read(tokens, given), rest)


def _as_sampled(tokens: list[Any], rest: Sequence[Array]) -> Sampled:
    if not rest:
        return Sampled(tokens)
    if len(rest) == 1:
        return Sampled(tokens, rest[0].tolist(), [[] for _ in tokens])
    pairs = [
        list(zip(ids.tolist(), values.tolist(), strict=True)) for values, ids in zip(rest[1], rest[2], strict=True)
    ]
    return Sampled(tokens, rest[0].tolist(), pairs)
