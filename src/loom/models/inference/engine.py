"""Continuous batching: requests of any thread share passes over the network, and each gets the tokens it gets alone.

Layer: models. One thread computes, while there are requests. Invariant: a request's tokens depend on its own prompt
and settings alone.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.dtype import DType, dtype_of
from loom.core.errors import ArgumentError, StateError
from loom.core.given import flag
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.kernels.attention.cached import MOST_POSITIONS, PAGE
from loom.models.inference.asked import WHERE as _WHERE
from loom.models.inference.asked import read_config, read_constraint, read_ends, read_tokens, read_until
from loom.models.inference.cache import PageStore
from loom.models.inference.choosing import Chooser, Chosen, TokenState
from loom.models.inference.pages import PagePool
from loom.models.inference.programs import PassPrograms, Shown
from loom.models.inference.request import FinishReason, Request
from loom.models.inference.requirements import inspect_network
from loom.models.inference.schedule import Planner, Sequence, Turn
from loom.models.sampling import SamplingConfig
from loom.models.sampling.choice import MOST_TOP
from loom.schedules.attention.cached import usual_rows

if TYPE_CHECKING:
    from loom.nn.network import Network

__all__ = ["EngineStatistics", "InferenceEngine"]

_CACHE_NBYTES = 1 << 30
"""Memory for keys and values, if none is told: or less, where all sequences at their full length need less."""
_HELD = ("f32", "f16", "bf16")


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """What an engine has done. ``passes`` over ``tokens`` tokens, of prompts and texts; ``reused``: tokens of prompts
    that were found in the cache; ``preempted``: sequences that gave up their pages; ``programs``: compiled."""

    passes: int
    tokens: int
    reused: int
    preempted: int
    programs: int
    running: int
    waiting: int
    pages: int
    pages_used: int


class InferenceEngine:
    """Computes the texts of a network for everybody who asks.

    ``network``: a causal language model: one input (tokens,) of ids, logits for each. ``context_length``: the most
    tokens of a text; ``cache_nbytes``: memory for keys and values; ``held``: their type: "f16" and "bf16" round them,
    so that texts are those of a network that does (not of ``network.forward``). ``sequences``: computed side by side;
    ``prefill_rows``: tokens of prompts in a pass (None: 512, where lanes are threads 2,048), and ``mixed_rows`` while
    others wait for their next token, both at least ``sequences``;
    ``prefix_reuse``: whether beginnings met before are looked up.
    """

    def __init__(
        self, network: Network, *, context_length: int, cache_nbytes: int | None = None, held: Any = "f32",
        sequences: int = 32, prefill_rows: int | None = None, mixed_rows: int = 128, prefix_reuse: bool = True,
    ) -> None:  # fmt: skip
        self.network = network
        self.model = network.model
        self.held = _cache_type(held)
        known = inspect_network(network.spec)
        self.vocabulary_size = known.vocabulary_size
        self.context_length = whole(context_length, f"{_WHERE}, context_length", least=1,
                                    most=min(MOST_POSITIONS, known.positions or MOST_POSITIONS))  # fmt: skip
        self.sequences = whole(sequences, f"{_WHERE}, sequences", least=1, most=1024)
        width = -(-self.context_length // PAGE)
        if prefill_rows is None:
            prefill_rows = usual_rows(self.model.device.caps)
        rows = whole(prefill_rows, f"{_WHERE}, prefill_rows", least=1, most=4096)
        mixed = max(self.sequences, whole(mixed_rows, f"{_WHERE}, mixed_rows", least=1, most=4096))
        pages = _count_pages(cache_nbytes, PAGE * known.kept_features * self.held.nbytes, width, self.sequences)
        self.limit = min(self.context_length, pages * PAGE)
        self._programs = PassPrograms(
            self.model, known, PageStore(self.model.device, pages, self.held), width, self.sequences
        )
        self._chooser = Chooser(self._programs)
        self._planner = Planner(
            PagePool(pages, reuse=flag(prefix_reuse, f"{_WHERE}, prefix_reuse")), max(rows, self.sequences), mixed
        )
        self._waiting: deque[Sequence] = deque()
        self._changed = threading.Condition()
        self._computing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._passes = self._tokens = self._reused = 0
        self._weights = -1
        _engines.add(self)

    # asking

    def submit(
        self, tokens: Iterable[int], config: SamplingConfig | None = None, *, eos: Iterable[int] = (),
        constraint: Any = None, until: Callable[[int], bool] | None = None, top: int = 0,
    ) -> Request:  # fmt: skip
        """Ask for the continuation of ``tokens``; return at once.

        ``eos``: tokens that end the text, none of it; ``until``: is told each token, and true ends the text with it;
        ``constraint``: what the text must be (``loom.models.tokens.grammar``); ``top``: of how many of the likeliest
        tokens the chances are told. It waits while others hold what it needs. ArgumentError for a prompt that is empty,
        longer than the context or than all memory for keys and values, or of unknown tokens.
        """
        prompt = self._read_prompt(tokens)
        most = self.limit - len(prompt)
        config = read_config(config, self.vocabulary_size)
        if config.max_tokens is not None:
            most = min(most, config.max_tokens)
        top = whole(top, f"{_WHERE}, top", least=0, most=min(MOST_TOP, self.vocabulary_size))
        ends, held = read_ends(eos, self.vocabulary_size), read_constraint(constraint, self.vocabulary_size)
        request = Request(prompt, config, eos=ends, constraint=held, until=read_until(until), most=most, top=top)
        if most <= 0:
            self._require_open()
            request.finish(FinishReason.LENGTH)
        else:
            self._enter(request)
        return request

    def _enter(self, request: Request) -> None:
        """Let a request wait for its turn, and see that somebody computes."""
        request.wake_with(self._wake)
        with self._changed:
            self._require_open()
            self._waiting.append(Sequence(request, TokenState(request), list(request.prompt)))
            if self._thread is None or not self._thread.is_alive():  # after a fork it stayed behind
                self._thread = threading.Thread(target=self._serve, name="loom engine", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def logits(self, tokens: Iterable[int]) -> Any:
        """Return the logits of every token of a text, f32 (tokens, vocabulary): those of ``network.forward``."""
        prompt = self._read_prompt(tokens)
        request = Request(prompt, None, scores=True)
        self._enter(request)
        request.result()
        assert request.scores is not None
        found: np.ndarray[Any, Any] = np.concatenate(request.scores)
        return found

    @property
    def statistics(self) -> EngineStatistics:
        """What was done so far, and what is under way."""
        with self._changed:
            planner = self._planner
            return EngineStatistics(
                passes=self._passes, tokens=self._tokens, reused=self._reused, preempted=planner.preempted,
                programs=self._programs.count, running=len(planner.running), waiting=len(self._waiting),
                pages=planner.pool.count, pages_used=planner.pool.used,
            )  # fmt: skip

    def close(self) -> None:
        """End all requests with an error, wait for the pass under way, and free programs; again does nothing."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is threading.current_thread():  # somebody's ``until``: the thread ends after this pass
            return
        if thread is not None:
            thread.join()
        self._fail(self._refusal())
        with self._computing:
            self._chooser.free()
            self._programs.free()

    def __enter__(self) -> InferenceEngine:
        """Return itself; the ``with`` closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _refusal(self) -> StateError:
        return StateError(_WHERE, "the engine was closed", expected="an open one", got="a request",
                          remedy="Make another engine")  # fmt: skip

    def _require_open(self) -> None:
        if self._is_closed:
            raise self._refusal()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _read_prompt(self, tokens: Any) -> list[int]:
        found = read_tokens(tokens, self.vocabulary_size)
        if len(found) > self.limit:
            by = "the context" if self.limit == self.context_length else "the memory for keys and values"
            remedy = "Shorten it" if self.limit == self.context_length else "Shorten it, or raise cache_nbytes"
            raise ArgumentError(_WHERE, f"the prompt is longer than {by}", expected=f"at most {self.limit} tokens",
                                got=len(found), remedy=remedy)  # fmt: skip
        return found

    # computing

    def _serve(self) -> None:
        """Compute until nothing is left to do."""
        while True:
            with self._changed:
                if self._is_closed or not (self._waiting or self._planner.running):
                    self._thread = None
                    break
            try:
                with self._computing:
                    if not self._is_closed:
                        self._step()
            except BaseException as error:  # whoever waits is told
                self._fail(error)
        if self._is_closed:
            self._fail(self._refusal())

    def _step(self) -> None:
        """Compute one pass and give out its tokens."""
        with self._changed:
            self._look_at_weights()
            self._drop_cancelled()
            self._admit()
            turns = self._planner.plan()
            if not turns:
                self._end_first()
                return
        shown = self._compute(turns)
        ended = [turn.is_last for turn in turns]
        with self._changed:
            for turn in turns:
                self._planner.advance(turn)
            self._passes += 1
            self._tokens += sum(turn.count for turn in turns)
        chosen = iter(self._choose(turns, ended, shown))
        at = 0
        for turn, is_last in zip(turns, ended, strict=True):
            request = turn.sequence.request
            if request.scores is not None:
                assert shown.logits is not None
                if turn.sequence.done == turn.count:  # from the start: what was there is of pages that were given up
                    request.scores.clear()
                request.scores.append(shown.logits[at : at + turn.count])
                if is_last:
                    self._end(turn.sequence, FinishReason.STOP)
            elif is_last:
                self._give(turn.sequence, next(chosen))
            at += turn.count if request.scores is not None else int(is_last)

    def _choose(self, turns: list[Turn], ended: list[bool], shown: Shown) -> list[Chosen]:
        """Return the next token of each sequence that has come so far."""
        asking: list[Sequence | None] = []
        for turn, is_last in zip(turns, ended, strict=True):
            scores = turn.sequence.request.scores is not None
            asking += [None] * turn.count if scores else [turn.sequence] * is_last
        if not any(asking):
            return []
        states = [None if s is None else s.state for s in asking]
        tops = [0 if s is None else s.request.top for s in asking]
        with self.model.lock:
            found = self._chooser.choose(shown, sum(turn.count for turn in turns), states, tops)
        return [each for each, s in zip(found, asking, strict=True) if s is not None]

    def _compute(self, turns: list[Turn]) -> Shown:
        tokens: list[int] = []
        places: list[tuple[int, int]] = []
        tables = [turn.sequence.pages for turn in turns]
        shown: list[int] = []
        for n, turn in enumerate(turns):
            sequence = turn.sequence
            tokens += sequence.tokens[sequence.done : sequence.done + turn.count]
            places += [(n, end) for end in range(sequence.done + 1, sequence.done + turn.count + 1)]
            count = turn.count if sequence.request.scores is not None else int(turn.is_last)
            shown += range(len(tokens) - count, len(tokens))
        scores = any(turn.sequence.request.scores is not None for turn in turns)
        with self.model.lock:
            return self._programs.run(tokens, places, tables, shown, with_logits=scores)

    def _give(self, sequence: Sequence, chosen: Chosen) -> None:
        """Give a request its next token, and end it where that is the last."""
        request = sequence.request
        if request.is_cancelled:
            return
        if chosen.error is None and chosen.token in request.eos:
            self._end(sequence, FinishReason.STOP)
            return
        try:
            if chosen.error is not None:
                raise chosen.error
            stops = sequence.state.push(chosen.token)
            stops = (request.until is not None and request.until(chosen.token)) or stops
        except Exception as error:  # of the one who asked, and told to him
            self._end(sequence, None, error)
            return
        sequence.tokens.append(chosen.token)
        request.add(chosen.token, chosen.logprob, chosen.top)
        if stops:
            self._end(sequence, FinishReason.STOP)
        elif len(request.tokens) >= request.most:
            self._end(sequence, FinishReason.LENGTH)

    def _end(self, sequence: Sequence, reason: FinishReason | None, error: BaseException | None = None) -> None:
        with self._changed:
            self._planner.drop(sequence)
        sequence.request.finish(reason, error)

    # around a fork

    def hold_back(self, seconds: float) -> bool:
        """Keep the engine from its next pass, and wait for the one under way; False in the engine's own thread."""
        if self._thread is threading.current_thread():
            return False
        return self._computing.acquire(timeout=seconds)

    def let_go(self, *, is_held: bool, is_child: bool) -> None:
        """Let it go on; in the child without the requests of the parent, where they are answered."""
        if is_held:
            self._computing.release()
        if not is_child:
            return
        self._changed, self._computing, self._thread = threading.Condition(), threading.Lock(), None
        for sequence in (*self._planner.running, *self._waiting):
            sequence.request.renew()
        self._fail(StateError(_WHERE, "the process was forked", expected="a request of this process",
                              got="one of its parent", remedy="Ask again"))  # fmt: skip

    # under the lock

    def _look_at_weights(self) -> None:
        """Read everything again where the weights are others than those that the pages were computed with."""
        if self.model.version % 2:
            raise StateError(_WHERE, "the network is being trained", expected="weights that stay", got="training",
                             remedy="Wait for its end")  # fmt: skip
        if self._weights != self.model.version:
            self._weights = self.model.version
            with self.model.lock:
                self._programs.renew()
            for sequence in self._planner.running:
                self._planner.give_up(sequence)
            self._planner.pool.forget_all()

    def _drop_cancelled(self) -> None:
        for sequence in [s for s in self._planner.running if s.request.is_cancelled]:
            self._planner.drop(sequence)
            sequence.request.finish(FinishReason.CANCELLED)
        for sequence in [s for s in self._waiting if s.request.is_cancelled]:
            self._waiting.remove(sequence)
            sequence.request.finish(FinishReason.CANCELLED)

    def _admit(self) -> None:
        """Let those who wait take part, in the order in which they came."""
        running = self._planner.running
        while self._waiting and len(running) < self.sequences:
            sequence = self._waiting[0]
            if not self._planner.admit(sequence, must=not running):
                return
            self._waiting.popleft()
            sequence.request.begin(reused=sequence.done)
            self._reused += sequence.done

    def _end_first(self) -> None:
        """End the first sequence, for whose next token there is no page, whoever gives up his."""
        if self._planner.running:
            sequence = self._planner.running[0]
            self._planner.drop(sequence)
            sequence.request.finish(FinishReason.LENGTH)

    def _fail(self, error: BaseException) -> None:
        """Tell everybody who waits of an error."""
        with self._changed:
            left = [*self._planner.running, *self._waiting]
            for sequence in list(self._planner.running):
                self._planner.drop(sequence)
            self._planner.pool.forget_all()
            self._waiting.clear()
        for sequence in left:
            sequence.request.finish(None, error)


def _cache_type(held: Any) -> DType:
    found = dtype_of(held, f"{_WHERE}, held")
    if found.name not in _HELD:
        raise ArgumentError(_WHERE, "keys and values cannot be kept in it", expected=" or ".join(_HELD), got=found,
                            remedy="Leave it out")  # fmt: skip
    return found


def _count_pages(cache_nbytes: Any, page_nbytes: int, width: int, sequences: int) -> int:
    """Return how many pages fit, at most those of all sequences at full length (and no fewer than one)."""
    most = width * sequences
    if not page_nbytes:
        return most
    if cache_nbytes is None:
        return max(width, min(most, _CACHE_NBYTES // page_nbytes))
    nbytes = whole(cache_nbytes, f"{_WHERE}, cache_nbytes", least=1)
    if nbytes < page_nbytes:
        raise ArgumentError(_WHERE, "not one page of keys and values fits", expected=f"at least {page_nbytes} bytes",
                            got=nbytes, remedy="Raise cache_nbytes")  # fmt: skip
    return nbytes // page_nbytes


_engines: weakref.WeakSet[InferenceEngine] = weakref.WeakSet()
_held_back: list[tuple[InferenceEngine, bool]] = []
_LONGEST_PASS = 60.0
"""Seconds that a fork waits for the end of a pass."""


def _close_all() -> None:
    for engine in list(_engines):
        engine.close()


def _before_fork() -> None:
    """Let no pass be under way: a child would find locks held for ever, and pages half written."""
    _held_back[:] = [(engine, engine.hold_back(_LONGEST_PASS)) for engine in list(_engines)]


def _after_fork(*, is_child: bool) -> None:
    for engine, is_held in _held_back:
        engine.let_go(is_held=is_held, is_child=is_child)
    _held_back.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=partial(_after_fork, is_child=False),
                        after_in_child=partial(_after_fork, is_child=True))  # fmt: skip
