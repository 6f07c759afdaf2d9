"""What a module may not have to be imported: hooks, derivatives of its own, parameters that overlap.

Layer: pytorch. Invariant: what would be lost when a module is traced is refused by its name, never left out in silence.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

from loom.core.errors import ArgumentError, DTypeError
from loom.pytorch.torchtypes import torch, trees

__all__ = ["check_module", "custom_functions", "refuse_packed", "short"]

_WHERE = "loom.from_torch"
_HOOKS = {
    "_forward_hooks": "a forward hook", "_forward_pre_hooks": "a hook before forward",
    "_backward_hooks": "a backward hook", "_backward_pre_hooks": "a hook before backward",
}  # fmt: skip


def short(error: BaseException) -> str:
    """Return what is told first of an error of PyTorch's, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"


def check_module(module: Any) -> None:
    """Refuse what is no module, and modules with hooks, lazy or quantised weights, or parameters that overlap."""
    if not isinstance(module, torch.nn.Module):
        raise DTypeError(_WHERE, "not a module", expected="a torch.nn.Module", got=type(module).__name__,
                         remedy="Pass the module; of a state_dict make it first, and load that")  # fmt: skip
    if isinstance(module, torch.jit.ScriptModule):
        raise ArgumentError(_WHERE, "a compiled TorchScript module", expected="the module it was made of",
                            got=type(module).__name__, remedy="Import that")  # fmt: skip
    for name, part in module.named_modules():
        place = repr(name) if name else "the module"
        for table, what in _HOOKS.items():
            if getattr(part, table, None):
                raise ArgumentError(_WHERE, f"{place} has {what}, which no graph keeps", expected="no hooks", got=what,
                                    remedy="Remove it (handle.remove()), or write it into forward; of weight norms "
                                    "take torch.nn.utils.parametrizations")  # fmt: skip
    for name, p in module.named_parameters():
        if isinstance(p, torch.nn.parameter.UninitializedParameter):
            raise ArgumentError(_WHERE, f"{name!r} has no shape yet", expected="a module that was run once",
                                got="a lazy module", remedy="Call it with the example first")  # fmt: skip
        if getattr(p, "_backward_hooks", None) or getattr(p, "_post_accumulate_grad_hooks", None):
            raise ArgumentError(_WHERE, f"{name!r} has a hook on its gradient, which no graph keeps",
                                expected="no hooks", got="a hook", remedy="Remove it")  # fmt: skip
    _refuse_overlaps(dict(module.named_parameters()))


def _refuse_overlaps(parameters: dict[str, Any]) -> None:
    """Refuse parameters that are not one object and share memory: each step would move both."""
    spans: dict[int, list[tuple[int, int, str]]] = {}
    for name, p in parameters.items():
        if not p.numel() or p.is_meta:
            continue
        first = p.storage_offset() * p.element_size()
        reach = sum((n - 1) * s for n, s in zip(p.shape, p.stride(), strict=True)) + 1
        spans.setdefault(p.untyped_storage().data_ptr(), []).append((first, first + reach * p.element_size(), name))
    for held in spans.values():
        held.sort()
        for (_, end, one), (start, _, other) in pairwise(held):
            if start < end:
                raise ArgumentError(_WHERE, f"{one!r} and {other!r} share memory but are two parameters",
                                    expected="one parameter under two names", got="two",
                                    remedy="Tie them: module.a.weight = module.b.weight")  # fmt: skip


def custom_functions(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """Return the names of the ``torch.autograd.Function`` that a call of a module applies: graphs lose their slopes.

    The module is called once, on copies of its buffers. Nothing is told of one that cannot be called.
    """
    buffers = {name: b.detach().clone() for name, b in module.named_buffers()}
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            made = torch.func.functional_call(module, buffers, args, kwargs)
    except Exception:  # torch.export tells what is wrong
        return []
    left = [t.grad_fn for t in trees.tree_leaves(made) if isinstance(t, torch.Tensor) and t.grad_fn is not None]
    seen: set[Any] = set()
    found: dict[str, None] = {}
    while left:
        node = left.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            kind: Any = getattr(node, "_forward_cls", None) or cast("Any", type(node))
            found[kind.__name__] = None
        left += [n for n, _ in node.next_functions if n is not None]
    return list(found)


def refuse_packed(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse packed sequences, given or made in a call: how long a step's batch is depends on elements."""
    kind = torch.nn.utils.rnn.PackedSequence

    def is_packed(x: Any) -> bool:
        return isinstance(x, kind)

    found = any(map(is_packed, trees.tree_leaves((args, kwargs), is_leaf=is_packed)))
    seen: set[str] = set()

    class Noting(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.add(str(func))
            return func(*args, **(kwargs or {}))

    if not found:
        buffers = {name: b.detach().clone() for name, b in module.named_buffers()}
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad(), Noting():
                torch.func.functional_call(module, buffers, args, kwargs)
        except Exception:  # torch.export has told what is wrong
            return
    if found or any("_pack_padded_sequence" in name for name in seen):
        raise ArgumentError(_WHERE, "packed sequences, whose lengths depend on elements", expected="padded tensors",
                            got=type(module).__name__,
                            remedy="Give the layer padded tensors (the states of a sequence do not depend on what "
                            "follows it) and take or mask its outputs by lengths")  # fmt: skip
