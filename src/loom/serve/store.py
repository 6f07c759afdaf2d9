"""The receipts that a server keeps: so many, the oldest forgotten first.

Layer: serve. Invariant: a receipt that is found under an id has that id; an answer's id finds the receipts of all its
choices, or none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from loom.models.receipts import Receipt

__all__ = ["ReceiptStore"]


class ReceiptStore:
    """Receipts by their ids, and by the ids of the answers they are of."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._receipts: OrderedDict[str, Receipt] = OrderedDict()
        self._answers: OrderedDict[str, tuple[Receipt, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._receipts)

    def add(self, answer: str, receipts: Sequence[Receipt]) -> None:
        """Keep the receipts of an answer."""
        for receipt in receipts:
            self._receipts[receipt.id] = receipt
            self._receipts.move_to_end(receipt.id)
        self._answers[answer] = tuple(receipts)
        while len(self._receipts) > self._most:
            self._receipts.popitem(last=False)
        while len(self._answers) > self._most:
            self._answers.popitem(last=False)

    def find(self, name: str) -> Receipt | None:
        """Return the receipt of an id, None if it is not kept."""
        return self._receipts.get(name)

    def of_answer(self, name: str) -> tuple[Receipt, ...]:
        """Return the receipts of an answer, none if they are not kept."""
        return self._answers.get(name, ())
