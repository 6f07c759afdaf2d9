"""``loom.verify``: runs the proof on a device and records what came out.

Layer: proof. An attestation is kept on disk, by device, code and settings, so that a start-up check costs a
file read. Invariant: it says ``exact`` only if every digest equals the golden one.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from loom.core import options
from loom.core.errors import ArgumentError, LoomError
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.core.version import __version__
from loom.proof.cases import LAYERS, Case, cases_of
from loom.proof.golden import SPEC, golden
from loom.proof.running import digest_of, digest_of_texts
from loom.runtime.plans.library import calls_begun
from loom.runtime.port.cache import cache_folder
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.storage.atomic import replace_file

__all__ = ["Attestation", "verify"]


@dataclass(frozen=True)
class Attestation:
    """What a device computed. ``layers`` maps a layer's number to its digest, ``root`` joins them.

    ``vectors`` is the digest of all inputs; ``differing`` names the cases whose digest is not the golden one,
    with what was wrong; ``seconds`` is how long the proof took. ``recorded``: when it was computed (UTC), of a
    record read from disk; None of one that was just computed.
    """

    spec: str
    profile: str
    device: str
    driver: str
    compiler: str
    version: str
    vectors: str
    layers: dict[str, str]
    root: str
    cases: int
    differing: tuple[str, ...]
    seconds: float
    recorded: str | None = None

    @property
    def exact(self) -> bool:
        """True when every digest equals the golden one."""
        return not self.differing

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return {**asdict(self), "differing": list(self.differing), "exact": self.exact}


def verify(
    on: str | Device | None = None,
    *,
    layers: int | Iterable[int] = tuple(LAYERS),
    fresh: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Attestation:
    """Prove a device: run the cases of ``layers`` (1 to 4) and compare every digest with the golden one.

    An attestation of the same device, code, settings and versions (Python's and numpy's among them) that was exact is
    returned from disk unless ``fresh``; it says when it was ``recorded``.

    Args:
        on: Device, or its name; None: the default device.
        layers: Numbers from 1 to 4 of the cases to run.
        fresh: Whether cases are run though an exact attestation is kept.
        progress: Function of the name of each case, called before it runs; None: none.

    Returns:
        Attestation; ``exact``: all digests are the golden ones.

    Raises:
        ArgumentError: There is no such layer.
        DTypeError: Not a device.
        DeviceError: There is no such device.

    >>> verify("cpu", layers=[1]).exact
    True
    """
    wanted = [whole(layers, "loom.verify, layers")] if not isinstance(layers, Iterable) else sorted(set(layers))
    if not wanted or not set(wanted) <= set(LAYERS):
        raise ArgumentError(
            "loom.verify, layers", "no such layer", expected=f"some of {', '.join(map(str, LAYERS))}", got=wanted,
            remedy="Leave layers away to run them all",
        )  # fmt: skip
    where = device(on)
    path = _path(where, wanted)
    if not fresh and (kept := _load(path)) is not None:
        return kept
    made = _run(where, wanted, progress or (lambda _name: None))
    if made.exact:
        _store(path, made)
    return made


def _run(where: Device, layers: list[int], progress: Callable[[str], None]) -> Attestation:
    begun = time.perf_counter()
    digests: dict[str, str] = {}
    wrong: list[str] = []
    fast = calls_begun()
    vectors: list[str] = []
    count = 0
    for layer in layers:
        lines: list[str] = []
        for case in cases_of(layer):
            progress(case.name)
            inputs = case.inputs()
            found, fault = _judge(case, where, inputs)
            lines.append(f"{case.name} {found}")
            vectors.append(digest_of(inputs))
            wrong += [f"{case.name}: {fault}"] if fault else []
            count += 1
        digests[str(layer)] = digest_of_texts(lines)
        if digests[str(layer)] != golden().layers.get(str(layer)) and not wrong:
            wrong.append(f"layer {layer}: other cases than the golden ones")
    if calls_begun() != fast:
        wrong.append("guarantee='fast' or order='any' was asked for meanwhile: no bit of them is vouched for")
    about = where.describe()
    return Attestation(
        spec=SPEC,
        profile="exact",
        device=about.name,
        driver=f"{about.kind}: {about.description}",
        compiler=_compiler(),
        version=__version__,
        vectors=digest_of_texts(vectors),
        layers=digests,
        root=digest_of_texts([SPEC, *(f"{k} {v}" for k, v in digests.items())]),
        cases=count,
        differing=tuple(wrong),
        seconds=round(time.perf_counter() - begun, 3),
    )


def _judge(case: Case, where: Device, inputs: Any) -> tuple[str, str | None]:
    """Return the digest of a case, and what is wrong with it, None if nothing; an error has no digest."""
    try:
        results = case.compute(where, *inputs)
    except LoomError as error:
        return "", str(error)
    found = digest_of(results)
    if case.expected is not None:
        off = [int(bits) for bits in results[0] if int(bits) != case.expected]
        if off:
            return found, f"expected {case.expected:#x}, got {off[0]:#x} ({len(off)} of {results[0].size} lanes)"
    wanted = golden().cases.get(case.name)
    if wanted is None:
        return found, "no golden digest"
    return found, None if found == wanted else f"expected digest {wanted[:16]}, got {found[:16]}"


def _compiler() -> str:
    import llvmlite
    import llvmlite.binding as llvm

    return f"llvmlite {llvmlite.__version__}, LLVM {'.'.join(map(str, llvm.llvm_version_info))}"


# what is kept


@cache
def _code() -> str:
    """Return the digest of all of Loom's own code: any change asks for a new proof."""
    folder = Path(__file__).parents[1]
    total = hashlib.sha256()
    for path in sorted((*folder.rglob("*.py"), *folder.rglob("*.json"), *folder.rglob("*.ll"))):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def _path(where: Device, layers: list[int]) -> Path:
    about = where.describe()
    settings = [*options.compile_settings(), platform.platform(), platform.python_version(), np.__version__]
    key = json.dumps([SPEC, _code(), asdict(about), layers, settings, _compiler()], default=str, sort_keys=True)
    return cache_folder() / f"attestation-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _load(path: Path) -> Attestation | None:
    """Return the attestation kept; a missing or broken file costs a proof, nothing else."""
    try:
        fields = json.loads(path.read_text())
        fields.pop("exact")
        given: dict[str, Any] = {**fields, "differing": tuple(fields["differing"])}
        found = Attestation(**given)
        return found if found.recorded else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _store(path: Path, made: Attestation) -> None:
    try:
        now = datetime.now(timezone.utc).isoformat(sep=" ", timespec="seconds")
        replace_file(path, json.dumps({**made.to_json(), "recorded": now}, indent=2).encode())
    except OSError:
        return
