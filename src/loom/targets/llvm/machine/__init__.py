"""The machines LLVM generates code for, and the calls that optimise and emit.

Layer: targets. A ``Machine`` is everything the generated code depends on besides the kernel, so it is
part of every cache key. Invariant: no fast-math flag and no contraction is ever enabled here.
"""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

from loom.core.caps import Caps
from loom.core.errors import ArgumentError, near_matches
from loom.core.late.dataclass import dataclass
from loom.targets.base import compiler_fingerprint
from loom.targets.llvm.machine.shared_library import binding, host_processor, llvm_version

__all__ = [
    "PLACED_ELEMENTS", "PLACED_NBYTES", "DotUnits", "Machine", "cpu_caps", "data_layout", "emit", "host_machine",
    "llvm_fingerprint", "machine", "machine_names",
]  # fmt: skip


PLACED_NBYTES = 16
PLACED_ELEMENTS = 1 << 31


@dataclass(frozen=True, slots=True)
class DotUnits:
    """Units of a machine: ``family`` (x86, aarch64, wasm, ptx, amd or none), and its units' 32-bit lanes, 0 for none.

    ``mixed``: bytes without sign by bytes with one; ``signed``: both with a sign; ``pairs``: halves of 16 bits. x86 has
    each unit for 4 lanes too, and every width between.
    """

    family: str = ""
    mixed: int = 0
    signed: int = 0
    pairs: int = 0

    @property
    def best(self) -> str:
        """Return the operation on bytes that is one instruction, "" if none is."""
        return "dot4_i8" if self.signed or self.family == "ptx" else "dot4_u8i8" if self.mixed else ""


@dataclass(frozen=True, slots=True)
class Machine:
    """One code generation target.

    ``simd_lanes`` counts 32-bit lanes of its vector registers (1: scalar code); ``threads`` means each
    lane is a hardware thread (a GPU); ``native_rounding`` that floor, ceil, rint and trunc are instructions,
    ``native_extremes`` that LLVM has min and max by IEEE 754-2019 for it; ``widest`` bounds the lanes that
    may be joined in one vector (LLVM 22 fails on wider masks for wasm); ``has_heap`` that code may call a C library
    of 64 bits for memory; ``hidden`` that functions are seen by what they are linked with, and not outside; ``small``
    that code is made short before it is made fast; ``cut`` that a dispatch of threads may be one part of a larger one,
    whose counts and where the part's groups start are handed over; ``tiles`` that products of tiles of bytes are taken
    by tensor cores; ``wide`` that products of 64 rows are, and words fetched by a unit that copies; ``placed`` that
    whoever launches gives buffers that begin at multiples of ``PLACED_NBYTES`` and have fewer than ``PLACED_ELEMENTS``,
    which makes wide accesses and indexes of 32 bits possible; ``dependents`` that a kernel may be begun before those it
    depends on are over, so that it waits for them itself, and when those that depend on it may be begun: once all its
    groups have "waited", or have "begun" ("" for no such thing); ``optimised`` that LLVM makes the code fast: else it
    computes what is known, and does the rest as it is written, there in a twentieth of the time; ``stoppable`` that a
    kernel ends early when its log says so.
    """

    name: str
    triple: str
    cpu: str
    features: str
    simd_lanes: int
    threads: bool = False
    native_rounding: bool = True
    native_extremes: bool = True
    widest: int = 64
    has_heap: bool = True
    hidden: bool = False
    small: bool = False
    cut: bool = False
    tiles: bool = False
    placed: bool = False
    wide: bool = False
    dependents: str = ""
    optimised: bool = True
    stoppable: bool = False

    @property
    def stack_space(self) -> int:
        """Return the number of the address space in which a function's stack lies."""
        return 5 if self.triple.startswith("amdgcn") else 0

    @property
    def fused(self) -> bool:
        """Tell whether it has a fused multiply-add of f32."""
        if self.triple.startswith("x86_64"):
            return self.cpu in ("x86-64-v3", "x86-64-v4") or "+fma" in self.features.split(",")
        return self.threads or self.triple.startswith(("aarch64", "arm64"))

    @property
    def dots(self) -> DotUnits:
        """Return the units for dot products of packed small integers."""
        has = {f[1:] for f in self.features.split(",") if f.startswith("+")}
        if self.triple.startswith("nvptx"):
            return DotUnits("ptx")
        if self.triple.startswith("amdgcn"):  # from the third RDNA on with or without a sign, before it of halves too
            newer = int(self.cpu[3:-2]) >= 11
            return DotUnits("amd", mixed=int(newer), signed=1, pairs=int(not newer))
        if self.triple.startswith(("x86_64", "i686")):
            vnni = 16 if {"avx512vnni", "avx512vl"} <= has else 8 if "avxvnni" in has else 0
            level = {"x86-64-v4": 16, "x86-64-v3": 8}.get(self.cpu, 4)
            pairs = 16 if "avx512bw" in has else 8 if "avx2" in has else level
            return DotUnits("x86", mixed=min(vnni, self.simd_lanes), pairs=min(pairs, self.simd_lanes))
        if self.triple.startswith(("aarch64", "arm64")):
            signed = 4 if "dotprod" in has else 0
            return DotUnits("aarch64", mixed=4 if "i8mm" in has else 0, signed=signed)
        return DotUnits("wasm", pairs=4) if "simd128" in has else DotUnits()

    @property
    def exact_choices(self) -> bool:
        """Tell whether LLVM keeps ``x < 0.0 ? x : 0.0`` as it is.

        LLVM 22 makes it a minimum for AArch64 and PTX, which is -0.0 for x = -0.0.
        """
        return self.triple.startswith("x86_64")

    @property
    def fence_register(self) -> str:
        """Return the kind of register that a value passes through so that LLVM loses sight of it, "" for no such way.

        LLVM 22 stops at some of its own fences in code for AMDGPU: it takes them for what all lanes share.
        """
        return "v" if self.triple.startswith("amdgcn") else ""


_AMD_CHIPS = ("gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1100", "gfx1201")
"""MI200, MI300, MI350; RX 6800, RX 7900, RX 9070: a code object is for one chip."""
_CROSS = {
    "aarch64": Machine("aarch64", "aarch64-unknown-linux-musl", "generic", "+neon", 4),
    # VFP only: NEON on ARMv7 flushes subnormals
    "armv7": Machine(
        "armv7", "armv7-unknown-linux-musleabihf", "generic", "+vfp3,-neon,-neonfp", 1,
        native_rounding=False, native_extremes=False, has_heap=False,
    ),
    "wasm32": Machine(
        "wasm32", "wasm32-unknown-unknown", "generic", "+simd128,+nontrapping-fptoint,+sign-ext", 4, widest=16,
        has_heap=False,
    ),
    "ptx": Machine("ptx", "nvptx64-nvidia-cuda", "sm_80", "+ptx80", 1, threads=True, has_heap=False),
    # LLVM 22 stops with a failed assertion where it makes vectors of some private arrays
    **{
        chip: Machine(chip, "amdgcn-amd-amdhsa", chip, "-promote-alloca", 1, threads=True, has_heap=False)
        for chip in _AMD_CHIPS
    },
    "x86-64": Machine("x86-64", "x86_64-unknown-linux-gnu", "x86-64", "", 4, native_rounding=False),
    "x86-64-v3": Machine("x86-64-v3", "x86_64-unknown-linux-gnu", "x86-64-v3", "", 8),
    "x86-64-v4": Machine("x86-64-v4", "x86_64-unknown-linux-gnu", "x86-64-v4", "-prefer-256-bit", 16),
}  # fmt: skip


def machine_names() -> list[str]:
    """Return the names ``machine`` knows."""
    return ["host", *_CROSS]


def machine(name: str) -> Machine:
    """Return a machine by name; ArgumentError with near matches if there is none."""
    if name == "host":
        return host_machine()
    if name not in _CROSS:
        raise ArgumentError("machine", f"no machine is called {name!r}", remedy=near_matches(name, machine_names()))
    return _CROSS[name]


@cache
def host_machine(simd_lanes: int | None = None, *, optimised: bool = True) -> Machine:
    """Return this computer; ``simd_lanes`` forces a vector width (speed changes, bits do not)."""
    triple, name, features = host_processor()
    lanes = simd_lanes or _native_lanes(features)
    native_rounding = platform.machine() not in ("x86_64", "AMD64") or bool(features.get("sse4.1"))
    return Machine(
        "host", triple, name, ",".join(f"{'+' if features[f] else '-'}{f}" for f in sorted(features)), lanes,
        native_rounding=native_rounding, optimised=optimised, stoppable=True,
    )  # fmt: skip


def _native_lanes(features: dict[str, bool]) -> int:
    if platform.machine() in ("x86_64", "AMD64"):
        return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
    return 4


def cpu_caps(where: Machine, workers: int, cache_nbytes: int) -> Caps:
    """Return what schedules may know of a CPU with so many workers, each with a cache of so many bytes."""
    return Caps(
        simd_lanes=where.simd_lanes, shared_nbytes=65536, max_workgroup_lanes=1024, unified_memory=True,
        workers=workers, cache_nbytes=cache_nbytes, dots=where.dots.best,
        fused=where.fused,
    )  # fmt: skip


def emit(module: str, target: Machine, kind: str, *, vectorise_loops: bool = True) -> bytes:
    """Optimise LLVM assembly and return it as ``kind``: object, asm (PTX included) or llvm.

    ``vectorise_loops`` lets LLVM turn loops into vectors of its own, beside those of lanes.
    """
    llvm = binding()
    parsed = llvm.parse_assembly(module)
    parsed.verify()
    generator = _target_machine(target)
    options = llvm.create_pipeline_tuning_options(speed_level=2 if target.small else 3)
    options.loop_unrolling = not target.small
    options.loop_vectorization = vectorise_loops and not target.small
    builder = llvm.create_pass_builder(generator, options)
    if target.optimised:
        passes = builder.getModulePassManager()
    else:  # LLVM is four times as long at making code for each lane, of masks too that are known
        passes = llvm.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        passes.add_instruction_combine_pass()
    passes.run(parsed, builder)
    if kind == "object":
        return generator.emit_object(parsed)
    if kind == "asm":
        return generator.emit_assembly(parsed).encode()
    if kind == "llvm":
        return str(parsed).encode()
    raise ArgumentError(
        "emit", "no such kind of output", expected="object, asm or llvm", got=kind, remedy="Use one of them"
    )


@cache
def _target_machine(target: Machine) -> Any:
    level = 0 if not target.optimised else 2 if target.small else 3
    return binding().Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=level, reloc="pic",
        codemodel="default" if target.threads else "small",
    )  # fmt: skip


def data_layout(target: Machine) -> str:
    """Return how a machine lays out data, where that is not LLVM's usual way."""
    return str(_target_machine(target).target_data) if target.stack_space else ""


@cache
def llvm_fingerprint() -> str:
    """Return a text that changes when the code generator does: Loom's compiler, llvmlite, or the LLVM that is in it.

    One version of llvmlite may be built with several of LLVM.
    """
    import llvmlite

    return f"{compiler_fingerprint()} llvmlite {llvmlite.__version__} LLVM {llvm_version()}"
