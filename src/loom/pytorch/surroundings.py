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
from typing import Any, TypeVar

from loom.core.errors import ArgumentError
from loom.core.optional import load
from loom.pytorch.torchtypes import array_of, torch

__all__ = ["memory", "modes", "own_copy", "quiet", "states_of_lstms"]

_WHERE = "loom.from_torch"
_Module = TypeVar("_Module")


def own_copy(module: _Module) -> _Module:
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
    before = [(part, part.training) for part in module.modules()]
    plain = torch.nn.Module
    own = any(p.__class__.train is not plain.train or p.__class__.eval is not plain.eval for p, _ in before)
    bits = _bits(module) if own else {}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        if not training:
            module.eval()
        elif not module.training:
            module.train()
        if own and bits != _bits(module):
            raise ArgumentError(
                _WHERE,
                "the module's own train() or eval() writes its weights",
                expected="weights that are the same in both modes",
                got=type(module).__name__,
                remedy="Merge or unmerge them for good, or import a module without",
            )
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
    tables = load("torch._decomp.decompositions", _WHERE)
    plain = tables.one_layer_lstm

    def one_layer(inp: object, hidden: Any, *rest: object, **named: object) -> object:
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
