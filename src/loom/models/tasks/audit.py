"""``audit``: computes again what a receipt claims, on any device, and says whether the bits agree.

Layer: models. Invariant: it says that they agree only where every claim was computed again and is the same; what could
not be computed again is named, as what differs is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.core.numerics import NUMERICS_VERSION
from loom.core.version import __version__
from loom.models.receipts import Receipt, canonical_json, embedding_receipt
from loom.models.tasks.claims import task_of_receipt
from loom.models.tasks.port import ServedModel, TextTask
from loom.models.tasks.writer import TextWriter

__all__ = ["Audit", "audit"]

_CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found: ``differences``, none where all bits agree; ``device``, where it was computed again."""

    receipt: Receipt
    found: Receipt | None
    device: str
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether everything that was claimed came out again, to the bit."""
        return not self.differences

    @property
    def notes(self) -> tuple[str, ...]:
        """What the claims leave open, so that it agrees whatever it is."""
        cut = self.receipt.claims["output"].get("finish_reason") == _CANCELLED
        return ("cancelled: any beginning of the text would agree",) if cut else ()

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain data."""
        return {
            "same": self.same,
            "receipt": self.receipt.id,
            "found": None if self.found is None else self.found.id,
            "device": self.device,
            "differences": list(self.differences),
            "notes": list(self.notes),
        }


def audit(receipt: Receipt, model: ServedModel, prompt: Sequence[Any] | None = None) -> Audit:
    """Compute a receipt's claims again with a model, and compare.

    ``prompt``: its tokens (of vectors, those of each text), where the receipt does not disclose them. ArgumentError
    where they are missing, or are not those that the receipt claims.
    """
    receipt.check()
    given = receipt.disclosed.get("prompt") if prompt is None else prompt
    if given is None:
        raise ArgumentError(
            "loom.models.tasks.audit",
            "the receipt does not disclose its prompt",
            expected="the prompt",
            got="its digest alone",
            remedy="Pass its tokens, in Python: loom.models.tasks.audit.audit(receipt, model, prompt)",
        )
    Receipt(receipt.claims, {"prompt": given}).check()
    differences = list(_other_model(receipt.claims, model))
    if differences:
        return Audit(receipt, None, model.device, tuple(differences))
    if receipt.claims["kind"] == "embedding":
        found = embedding_receipt(model.identity, given, model.embed(given))
    else:
        found = _rewrite(receipt, model, task_of_receipt(receipt, given))
    differences = list(_differences(receipt, found))
    if differences and (told := receipt.about.get("loom")) != __version__:
        differences.append(f"the receipt is of Loom {told}, this is {__version__}")
    return Audit(receipt, found, model.device, tuple(differences))


def _other_model(claims: Mapping[str, Any], model: ServedModel) -> Iterator[str]:
    """Yield what says that this is not the model, or not the arithmetic, that the receipt is of."""
    if claims.get("numerics") != NUMERICS_VERSION:
        yield f"numerics: {claims.get('numerics')} claimed, {NUMERICS_VERSION} here"
    mine = model.identity.claims()
    for name, told in claims["model"].items():
        if mine.get(name) != told:
            yield f"{name.replace('_', ' ')}: {_brief(told)} claimed, {_brief(mine.get(name))} here"


def _rewrite(receipt: Receipt, model: ServedModel, task: TextTask) -> Receipt:
    """Return the receipt of the task's text, written anew: of one that was cancelled, as far as it came."""
    output, writer = receipt.claims["output"], TextWriter(model, task)
    try:
        for _ in islice(writer, output["count"] if output["finish_reason"] == _CANCELLED else None):
            pass
    finally:
        writer.flush()
    return writer.receipt()


def _differences(receipt: Receipt, found: Receipt) -> Iterator[str]:
    """Yield what differs between two receipts of one task: the first token, the first number, what else there is."""
    told = False
    for what, name in (("token", "output"), ("the number of token", "logprobs"), ("the vector of text", "vectors")):
        claimed, mine = receipt.disclosed.get(name), found.disclosed.get(name)
        if claimed is None or mine is None:
            continue
        at = next((n for n, (a, b) in enumerate(zip(claimed, mine, strict=False)) if a != b), None)
        if at is not None:
            told = True
            yield f"{what} {at}: {_value(name, claimed[at])} claimed, {_value(name, mine[at])} here"
        elif len(claimed) != len(mine):
            told = True
            yield f"{name}: {len(claimed)} claimed, {len(mine)} here"
    for part in ("prompt", "settings", "output"):
        for name in receipt.claims[part]:
            a, b = receipt.claims[part][name], found.claims[part].get(name)
            follows = told and name in ("sha256", "logprobs", "text", "count")
            if not follows and canonical_json(a) != canonical_json(b):
                told = True
                told_by = str if isinstance(a, str) and isinstance(b, str) else _json
                yield f"{part}, {name}: {_brief(told_by(a))} claimed, {_brief(told_by(b))} here"
    if not told and receipt.id != found.id:
        yield f"claims: {_brief(receipt.id)} claimed, {_brief(found.id)} here"


def _value(name: str, value: Any) -> str:
    if name == "logprobs":
        return f"{value} ({struct.unpack('>f', bytes.fromhex(value))[0]:.9g})"
    return _brief(value)


def _json(value: object) -> str:
    """Return a value so that a text is told from a number."""
    return canonical_json(value).decode()


def _brief(value: Any) -> str:
    found = str(value)
    return found[:16] if len(found) == 64 else found[:60]
