"""The state that PyTorch is in while it traces a module: modes, what it prints, what it tells wrong, and whose module.

Layer: pytorch. Invariant: afterwards everything is as it was.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.optional import load
from loom.pytorch.elements import array_of

__all__ = ["memory", "modes", "own_copy", "quiet", "states_of_lstms"]

_WHERE = "loom.from_torch"


def own_copy(module: Any) -> Any:
    """Return a copy of a module, which other threads do not call while it is traced; itself where none can be made."""
    try:
        return copy.deepcopy(module)
    except Exception:  # whatever a part of it raises
        return module


def memory(tensors: Any) -> frozenset[int]:
    """Return where the elements of tensors lie."""
    dense = [t for t in tensors if str(t.layout) == "torch.strided" and not t.is_meta]
    return frozenset(t.untyped_storage().data_ptr() for t in dense) - {0}


def _bits(module: Any) -> dict[str, bytes]:
    return {name: array_of(t)[0].tobytes() for name, t in (*module.named_parameters(), *module.named_buffers())}


@contextmanager
def modes(module: Any, *, training: bool) -> Generator[None, None, None]:
    """Have the module in a mode: in training as it is, or all of it; else in eval.

    ArgumentError where its own ``train`` or ``eval`` writes weights: the graphs would be of two sets of them.
    """
    torch: Any = load("torch", _WHERE)

    before: list[tuple[Any, bool]] = [(part, part.training) for part in module.modules()]
    kind: Any = torch.nn.Module
    kinds: set[Any] = {type(part) for part, _ in before}
    own = any(each.train is not kind.train or each.eval is not kind.eval for each in kinds)
    bits = _bits(module) if own else {}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        if not training:
            module.eval()
        elif not module.training:
            module.train()
        if own and bits != _bits(module):
            raise ArgumentError(_WHERE, "the module's own train() or eval() writes its weights", expected="weights that"
                                " are the same in both modes", got=type(module).__name__,
                                remedy="Merge or unmerge them for good, or import a module without")  # fmt: skip
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        if own:
            module.train(before[0][1])
        for part, mode in before:
            part.training = mode


@contextmanager
def states_of_lstms() -> Generator[None, None, None]:
    """Have PyTorch tell the last states of an LSTM as they are: 2.9 to 2.11 put an axis of 1 into each."""
    tables: Any = load("torch._decomp.decompositions", _WHERE)
    plain = tables.one_layer_lstm

    def one_layer(inp: Any, hidden: Any, *rest: Any, **named: Any) -> Any:
        outputs, states = plain(inp, hidden, *rest, **named)
        return outputs, tuple(s.reshape(first.shape) for s, first in zip(states, hidden, strict=True))

    tables.one_layer_lstm = one_layer
    try:
        yield
    finally:
        tables.one_layer_lstm = plain


@contextmanager
def quiet() -> Generator[list[warnings.WarningMessage], None, None]:
    """Keep what PyTorch prints, logs and warns of from the console; what is wrong comes as an error."""
    loggers = [logging.getLogger(n) for n in list(logging.root.manager.loggerDict) if n.split(".")[0] == "torch"]
    handlers = [h for logger in loggers for h in logger.handlers]
    levels = [h.level for h in handlers]
    try:
        with (
            warnings.catch_warnings(record=True) as seen,
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("always")
            for handler in handlers:
                handler.setLevel(logging.CRITICAL)
            yield seen
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)
