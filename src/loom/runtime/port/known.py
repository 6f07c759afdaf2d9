"""What earlier processes learnt of the library's kernels, so that a warm start translates none of them.

Layer: runtime. Recording and running a compiled kernel take its interface and a few facts; they are kept beside the
compiled code, under the digest of everything the kernel is made of. Invariant: a kernel recalled tells what it would
tell translated, and is translated as soon as anything else is asked.
"""

from __future__ import annotations

import hashlib
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from loom.core.dtype import lookup
from loom.core.numerics import Guarantee
from loom.ir.frontend.capture import digest_of
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Access, Kernel, Memory, Param, Space
from loom.ir.verified import VerifiedKernel
from loom.runtime.port.cache import ArtifactCache, cache_folder
from loom.targets.base import Artifact, compiler_fingerprint, hash_sources

if TYPE_CHECKING:
    from loom.ir.passes.uniformity import Uniformity

__all__ = ["KnownKernel", "recall"]

_LIBRARY = "loom.kernels."
_KIND = "known apart"
_met: WeakKeyDictionary[KernelFunction, VerifiedKernel] = WeakKeyDictionary()


class KnownKernel(VerifiedKernel):
    """A verified kernel of which the facts are at hand and the body is not yet."""

    def __init__(self, function: KernelFunction, facts: dict[str, Any]) -> None:
        buffers = tuple(_buffer(*each) for each in facts["buffers"])
        reads: frozenset[Memory] = frozenset(buffers[int(i)] for i in facts["reads"])
        writes: frozenset[Memory] = frozenset(buffers[int(i)] for i in facts["writes"])
        self.__dict__.update(
            function=function, name=facts["name"], hash=facts["hash"], buffers=buffers,
            params=tuple(Param(n, lookup(t), extent=e and (e[0], e[1])) for n, t, e in facts["params"]),
            workgroup=tuple(facts["workgroup"]), trusted=facts["trusted"], is_vouched=facts["trusted"],
            guarantee=Guarantee[facts["guarantee"]],
            reads=reads, writes=writes, is_loose=False, aparts=(), most_lanes=1 << 32,
            index_params=frozenset[Param](), has_barrier=facts["has_barrier"], talks=facts["talks"],
            statements=facts["statements"], is_apart=facts["is_apart"],
        )  # fmt: skip

    @cached_property
    def kernel(self) -> Kernel:  # type: ignore[override]
        """The kernel, translated now; its buffers are other objects than ``buffers``."""
        return self.__dict__["function"].verified.kernel

    @cached_property
    def uniformity(self) -> Uniformity:  # type: ignore[override]
        """What differs from lane to lane."""
        return self.__dict__["function"].verified.uniformity


def _buffer(name: str, dtype: str, access: str, ndim: int, record: str, data: str | None) -> Memory:
    held = None if data is None else bytes.fromhex(data)
    return Memory(name, lookup(dtype), Space.BUFFER, None, Access(access), ndim, record, held)


def recall(function: KernelFunction) -> VerifiedKernel:
    """Return a kernel as verified: a kernel of the library from what is known of it, where that is kept."""
    found = _met.get(function)  # also if it was translated since: its hash is known
    if found is not None:
        return found
    if not (function.fn.__module__ or "").startswith(_LIBRARY) or "verified" in function.__dict__:
        return function.verified
    found = _met[function] = _recall(function)
    return found


def _recall(function: KernelFunction) -> VerifiedKernel:
    digest = digest_of(function)
    if digest is None:
        return function.verified
    cache_of = _cache(cache_folder())
    key = hashlib.sha256(f"known {digest} {_fingerprint()}".encode()).hexdigest()
    kept = cache_of.load(key)
    if kept is not None and kept.kind == _KIND:
        return KnownKernel(function, kept.facts)
    verified = function.verified
    if verified.is_loose or verified.aparts:  # which is not kept
        return verified
    cache_of.store(key, Artifact(_KIND, b"", verified.name, facts=facts_of(verified)))
    return verified


def facts_of(verified: VerifiedKernel) -> dict[str, Any]:
    """Return what is kept of a kernel."""
    buffers = verified.buffers
    return {
        "name": verified.name,
        "hash": verified.hash,
        "buffers": [
            (m.name, m.dtype.name, m.access.value, m.ndim, m.record, None if m.data is None else m.data.hex())
            for m in buffers
        ],
        "params": [(p.name, p.dtype.name, p.extent) for p in verified.params],
        "workgroup": verified.workgroup,
        "trusted": verified.trusted,
        "guarantee": verified.guarantee.name,
        "reads": [i for i, m in enumerate(buffers) if m in verified.reads],
        "writes": [i for i, m in enumerate(buffers) if m in verified.writes],
        "has_barrier": verified.has_barrier,
        "talks": verified.talks,
        "statements": verified.statements,
        "is_apart": verified.trusted or verified.is_apart,  # which nobody asks of what is trusted
    }


@cache
def _cache(folder: Path) -> ArtifactCache:
    return ArtifactCache(folder)


@cache
def _fingerprint() -> str:
    """Return a hash of what gives kernels their meaning: the compiler, and the types it computes with."""
    return compiler_fingerprint() + hash_sources("core")
