"""A network for WebGPU in a page: its programs over one buffer, kernels in WGSL, what a device has to prove.

Layer: export. All memory of a net is one storage buffer, constants behind the block, so that no limit on buffers is
ever met; the words of a dispatch say where each of its arrays begins. Forms of arithmetic are chosen where the network
is opened: the library is handed over with all of them. Invariant: state lies where the image of every other export has
it, by the same names.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.caps import Caps
from loom.export.c.source import ports_in_order
from loom.export.frozen import FrozenDispatch, FrozenProgram, Image, Region, require_quiet
from loom.export.network import FrozenNetwork
from loom.ir.kernel import Instr, walk
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.probes.probes import PROBES
from loom.runtime.drivers.rows.words import cut_groups, fill_words
from loom.targets.base import Bounds
from loom.targets.wgsl.features import Features, refusal
from loom.targets.wgsl.library.collect import FAMILIES, FIRST, FORMS, called, every_form
from loom.targets.wgsl.lower import Lowered, lower

__all__ = ["gpu_module"]

_CAPS = Caps(
    simd_lanes=8, shared_nbytes=16384, max_workgroup_lanes=256, unified_memory=False, workers=32, cache_nbytes=1 << 20,
    threads=True, short=True,
)  # fmt: skip
"""What every device of WebGPU has."""
_MOST_GROUPS = 65535
_CHECKED = ("long loops", "partial vectors")
"""Probes of control flow; those of arithmetic are the page's own."""
_ASKED = ("mulhi_u32", "idiv_u32", "min_f32", "i32_of_f32", "idiv_u64", "mul_u64")
"""Functions that the page checks beside those of ``FAMILIES``."""


def gpu_module(net: FrozenNetwork) -> str:
    """Return the JavaScript with all that a page needs to compute a network on WebGPU, or the reason why it cannot."""
    reason = _refusal(net)
    if reason is None:
        image = net.image(_CAPS)
        reason = _image_refusal(image)
        if reason is None:
            about = json.dumps(_about(net, image), separators=(",", ":")).encode()
            return f'export const reason = null;\nexport const packed = "{_base64(gzip.compress(about, mtime=0))}";\n'
    return f'export const reason = {json.dumps(reason)};\nexport const packed = "";\n'


def _refusal(net: FrozenNetwork) -> str | None:
    training = net.training
    if training is not None and training.patience is not None:
        return "training with patience is done by WebAssembly"
    if training is not None and training.accumulate > 1:
        return "training that gathers several batches is done by WebAssembly"
    return None


def _image_refusal(image: Image) -> str | None:
    for kernel in image.kernels:
        reason = refusal(kernel.kernel)
        if reason is not None:
            return f"kernel {kernel.name}: {reason}"
        shared = sum((m.size or 0) * m.dtype.lanes * max(4, m.dtype.scalar.nbytes) for m in kernel.kernel.shared)
        if shared > _CAPS.shared_nbytes:
            return f"kernel {kernel.name}: {shared} bytes of shared memory, where 8 and 16 bits take 32"
    if any(d.indirect is not None for program in image.programs for d in program.dispatches):
        return "a dispatch whose groups the device counts"
    return None


def _about(net: FrozenNetwork, image: Image) -> dict[str, Any]:
    lowered = [_lower(kernel) for kernel in image.kernels]
    rows = _GpuRows(image, lowered)
    programs: list[dict[str, Any]] = []
    for program in image.programs:
        kind, _, samples = program.name.partition("_")
        first = len(rows.rows)
        rows.add(program)
        ports = [[p.offset, p.nbytes, p.dtype.name] for p in ports_in_order(program, net)]
        programs.append({
            "kind": kind, "samples": int(samples), "first": first, "count": len(rows.rows) - first, "ports": ports,
        })  # fmt: skip
    found: dict[str, Any] = {
        "nbytes": image.nbytes, "constants": _base64(bytes(image.constants)), "state": image.state_nbytes,
        "tensors": [[t.name, t.offset, t.nbytes] for t in image.tensors.values()],
        "kernels": [[each.own, sorted(called(each.own)), each.words] for each in lowered],
        "rows": rows.rows, "words": _base64(np.array(rows.words, np.uint32).tobytes()), "programs": programs,
        "library": _library(lowered), "families": FAMILIES, "forms": FORMS, "first": FIRST, "checks": _checks(),
        "counts": [len(net.network.spec.inputs), len(net.targets), len(net.outputs)],
    }  # fmt: skip
    training = net.training
    if training is not None:
        found["training"] = {
            "seed": [training.seed & 0xFFFFFFFF, training.seed >> 32], "rates": [float(r) for r in training.rates],
            "samples": training.samples, "batch": training.batch, "shuffle": training.shuffle,
        }  # fmt: skip
    return found


def _lower(kernel: VerifiedKernel) -> Lowered:
    """Return a kernel whose buffers all lie in one binding."""
    bounds = Bounds.TRUSTED if kernel.trusted else Bounds.CHECKED
    made = lower(kernel, bounds, Features(), (0,) * len(kernel.buffers))
    require_quiet(kernel, made.sites)
    return made


def _library(lowered: Sequence[Lowered]) -> dict[str, str]:
    """Return the texts of all functions that are called, and all that those call, whatever the forms are."""
    names = frozenset(name for each in lowered for name in called(each.own))
    return every_form(names | {name for family in FAMILIES.values() for name in family} | {"hide", *_ASKED})


class _GpuRows:
    """Dispatches as rows: kernel, group counts, where its words begin; words of all rows one after the other."""

    def __init__(self, image: Image, lowered: Sequence[Lowered]) -> None:
        self.image = image
        self.lowered = lowered
        self.rows: list[list[int]] = []
        self.words: list[int] = []

    def add(self, program: FrozenProgram) -> None:
        """Write the dispatches of a program, numbered from 0."""
        for number, dispatch in enumerate(program.dispatches):
            self._add(number, dispatch)

    def _add(self, number: int, d: FrozenDispatch) -> None:
        made, kernel = self.lowered[d.kernel], self.image.kernels[d.kernel].kernel
        whole = np.array([d.groups], np.int64)
        parts = cut_groups(whole, np.full(3, _MOST_GROUPS, np.int64))
        groups = whole if parts is None else parts.groups
        starts = np.zeros_like(whole) if parts is None else parts.starts
        words = np.zeros((len(groups), made.words), np.uint32)
        params = np.repeat(np.array([d.params], np.uint64), len(groups), axis=0)
        lengths = [b.elements for b in d.bindings]
        fill_words(words, kernel, made.push, params, lengths, np.full(len(groups), number), whole, starts)
        words[:, made.push.words :] = [self._base(b) for b in d.bindings]
        for row, (x, y, z) in zip(words, groups.tolist(), strict=True):
            if x and y and z:
                self.rows.append([d.kernel, x, y, z, len(self.words)])
                self.words += row.tolist()

    def _base(self, region: Region) -> int:
        return (region.offset + (self.image.nbytes if region.constant else 0)) // 4


def _checks() -> list[dict[str, Any]]:
    """Return probes of control flow: a kernel over one buffer of its inputs and its output, and what it must hold."""
    found: list[dict[str, Any]] = []
    for probe in PROBES:
        if probe.operation not in _CHECKED:
            continue
        kernel = probe.make().verified
        if any(isinstance(s, Instr) and s.op.name == "barrier" for s in walk(kernel.kernel.body)):
            continue  # Tint refuses barriers in loops whose turns are read from memory
        inputs = probe.inputs()
        expected = probe.expected(*inputs)
        made = _lower(kernel)
        lengths = [*(len(a) for a in inputs), len(expected)]
        words = np.zeros((1, made.words), np.uint32)
        groups = np.array([[probe.groups or -(-len(expected) // 64), 1, 1]], np.int64)
        none = np.zeros((1, 0), np.uint64)
        fill_words(words, kernel.kernel, made.push, none, lengths, np.zeros(1, np.int64), groups, groups * 0)
        words[:, made.push.words :] = np.cumsum([0, *lengths[:-1]])
        found.append({
            "about": probe.operation, "own": made.own, "called": sorted(called(made.own)),
            "words": _base64(words.tobytes()), "groups": groups[0].tolist(),
            "given": _base64(b"".join(a.tobytes() for a in inputs)), "expected": _base64(expected.tobytes()),
        })  # fmt: skip
    return found


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
