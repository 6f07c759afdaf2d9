"""What a Vulkan device can do, as far as it changes the code written for it.

Layer: targets. A driver asks the device, and its self-test decides between what the device says and what it
does. Invariant: features choose how an operation is computed, never which bits it gives.
"""

from __future__ import annotations

from loom.core.late.dataclass import dataclass
from loom.ir.verify import MAX_PRIVATE_NBYTES

__all__ = ["Features", "Matrices"]


@dataclass(frozen=True)
class Matrices:
    """Cooperative matrices of bytes: ``rows`` by ``depth``, times ``depth`` by ``columns``, of so many lanes each."""

    rows: int
    columns: int
    depth: int
    subgroup: int


@dataclass(frozen=True)
class Features:
    """How kernels are written for a device; the defaults suit one that does all it should.

    ``modes``: float controls to declare, such as ("DenormPreserve", 32). ``types``: scalar types beyond 32 bits.
    ``int64_atomics``: 64-bit atomics on buffers. ``push_nbytes``: the most a dispatch may push. ``most_groups``:
    the most groups of one dispatch along x, y and z. ``no_fast_math``: widths of floats for which the module forbids
    every liberty at once (SPV_KHR_float_controls2), in place of NoContraction and SignedZeroInfNanPreserve.

    The others tell what is right as it is, and is put right by integers if not. ``exact_division``,
    ``exact_roots``: f32 only. ``exact_rounding``: floor, ceil, trunc, rint. ``exact_conversions``,
    ``exact_wide_conversions``: from integers of 32 and of 64 bits to floats. ``exact_order``: signed comparison of
    64-bit integers. ``uncontracted``: NoContraction is obeyed, so that a product need not be hidden from the sum.
    ``exact_literals``: arithmetic with floats that the compiler knows, which need not be hidden from it.
    ``whole_vectors``: workgroups are filled up to a multiple of this many lanes by lanes that only look on.
    ``whole_loops``: a loop ends when its condition says so, however many turns it takes. ``dots``: four products of
    packed bytes are one operation (SPV_KHR_integer_dot_product), else they are taken apart. ``matrices``: tiles of
    bytes are multiplied by cooperative matrices (SPV_KHR_cooperative_matrix), else by dot products.
    ``private_nbytes``: the most bytes of private arrays a lane may have; a kernel's largest beyond it lie in a heap.
    """

    modes: tuple[tuple[str, int], ...] = (
        ("RoundingModeRTE", 32), ("SignedZeroInfNanPreserve", 32), ("DenormPreserve", 32),
    )  # fmt: skip
    types: tuple[str, ...] = ("i8", "i16", "i64", "f64")
    int64_atomics: bool = True
    no_fast_math: tuple[int, ...] = ()
    push_nbytes: int = 128
    most_groups: tuple[int, int, int] = (65535, 65535, 65535)
    exact_division: bool = True
    exact_roots: bool = True
    exact_rounding: bool = True
    exact_conversions: bool = True
    exact_wide_conversions: bool = True
    exact_order: bool = True
    uncontracted: bool = True
    exact_literals: bool = True
    whole_vectors: int = 1
    whole_loops: bool = True
    dots: bool = False
    matrices: Matrices | None = None
    private_nbytes: int = MAX_PRIVATE_NBYTES
