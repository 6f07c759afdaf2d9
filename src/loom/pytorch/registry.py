"""ATen operators by name, and what a function that records one is given.

Layer: pytorch. Invariant: every argument that differs from its default is read by the function that records the
operator, or the node is refused; what it gives has the dtype and the lengths that PyTorch says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from loom.core.dtype import DType, lookup
from loom.importers.operatorcalls import OperatorCall
from loom.importers.operatorrows import Operator, operators
from loom.importers.recordings import NodeRecording
from loom.pytorch.graph import AtenNode, TypeName
from loom.tensor.arrays.tensor import Tensor

__all__ = ["OPERATORS", "Made", "OpCall", "find", "operator"]

Made = Any
"""A tensor, several, or whole numbers."""

_WITHOUT_EFFECT = frozenset(
    ("layout", "device", "pin_memory", "memory_format", "non_blocking", "copy", "requires_grad", "generator",
    "cudnn_enabled",
     "cudnn_enable", "sparse", "deterministic", "benchmark", "allow_tf32", "implicit",
     "is_coalesced")
)  # fmt: skip
"""Arguments that change no number here: where tensors lie, and which library computes."""


OPERATORS: dict[str, Operator[OpCall]] = {}
"""By name, with an overload ("aten.max.dim") or for all of them ("aten.relu")."""


def operator(*names: str, ignores: Sequence[str] = ()) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    """Enter the function that records the operators of these names (``aten`` left out)."""
    return operators(OPERATORS, [n if n.startswith("prims.") else f"aten.{n}" for n in names], ignores=ignores)


def find(op: str) -> Operator[OpCall] | None:
    """Return what records an operator, by its overload or for all of them; None if there is none."""
    return OPERATORS.get(op) or OPERATORS.get(op.rpartition(".")[0])


class OpCall(OperatorCall):
    """A node that is recorded, with its arguments by name: tensors, whole numbers, dtypes."""

    remedy = "Write it otherwise in the module, or register a decomposition of it"

    def __init__(self, node: AtenNode, arguments: Mapping[str, Any], scope: NodeRecording) -> None:
        name = node.op.removeprefix("aten.")
        super().__init__(scope, name, set(node.told) - _WITHOUT_EFFECT)
        self.node, self.base, self._arguments = node, name.split(".")[0], arguments

    @property
    def where(self) -> str:
        """How errors name the node."""
        return f"from_torch, {self.node.op} {self.node.name!r}"

    def value(self, name: str, default: Any = None) -> Any:
        """Return an argument as it is: a tensor, a number, None."""
        self.unread.discard(name)
        return self._arguments.get(name, default)

    def has(self, name: str) -> bool:
        """Return whether there is such an argument, and it is not None."""
        return self._arguments.get(name) is not None

    def tensor(self, name: str = "self") -> Tensor:
        """Return an argument as a tensor; numbers become tensors of no axis."""
        found = self.value(name)
        if isinstance(found, Tensor):
            return found
        if isinstance(found, (bool, int, float)):
            dtype = "bool" if isinstance(found, bool) else "i64" if isinstance(found, int) else "f32"
            return self.array(found, dtype)
        raise self.refusal(f"{name!r} is no tensor", expected="a tensor", got=type(found).__name__)

    def maybe(self, name: str) -> Tensor | None:
        """Return an argument as a tensor, None if it is left out."""
        return self.tensor(name) if self.has(name) else self.value(name)

    def input(self, i: int, optional: bool) -> Tensor | None:
        """Return an argument by its place in the operator's schema as a tensor; None if it may be left out, and is."""
        name = next(iter(self._arguments)) if not i else tuple(self._arguments)[i]
        return self.maybe(name) if optional else self.tensor(name)

    def tensors(self, name: str = "tensors") -> list[Tensor]:
        """Return a list of tensors."""
        return [cast("Tensor", t) for t in self.value(name)]

    def integer(self, name: str, default: Any = None) -> int:
        """Return a whole number."""
        found = self.value(name, default)
        if isinstance(found, Tensor):
            found = self.number_of(found, name)
        return int(found)

    def real(self, name: str, default: Any = None) -> float:
        """Return a number."""
        found = self.value(name, default)
        return float(self.number_of(found, name) if isinstance(found, Tensor) else found)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a truth."""
        return bool(self.value(name, default))

    def integers(self, name: str, default: Any = None) -> list[int]:
        """Return whole numbers."""
        found = self.value(name, default)
        return [int(found)] if isinstance(found, int) else [int(n) for n in found or ()]

    def each(self, name: str, count: int, default: Any = None) -> list[int]:
        """Return a whole number for each of ``count`` axes; one stands for all, none for the default's."""
        found = self.integers(name) or list(default or ())
        return found * count if len(found) == 1 else found

    def dtype(self, name: str = "dtype") -> DType | None:
        """Return a dtype, None if it is left out."""
        found = self.value(name)
        return lookup(found.name) if isinstance(found, TypeName) else None

    def number_of(self, value: Tensor, name: str) -> Any:
        """Return the number that a tensor holds, if it is the same in all runs."""
        from loom.tensor.record.graph import ancestors

        if any(n.op.is_fed or n.op.is_written for n in ancestors([value])):
            raise self.refusal(f"{name!r} is computed of what is fed", expected="a number",
                               got=value.recipe())  # fmt: skip
        return value.item()

    def axis(self, name: str = "dim", rank: int = 0, default: Any = None) -> int:
        """Return an axis counted from the first."""
        found = self.integer(name, default)
        return found + max(rank, 1) if found < 0 else found

    def axes(self, name: str, rank: int) -> tuple[int, ...] | None:
        """Return axes counted from the first; None for all: none told, or an empty list."""
        found = self.value(name)
        if found is None or found == []:
            return None
        return tuple(a + rank if a < 0 else a for a in ([found] if isinstance(found, int) else found))

    @property
    def out(self) -> DType:
        """The dtype that PyTorch gives the first result, which an argument ``dtype`` may have asked for."""
        self.unread.discard("dtype")
        made = self.node.made[0]
        assert made is not None
        return lookup(made[0])
