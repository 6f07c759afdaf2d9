"""Constraints: which tokens may come next, so that a finished text is what a regex or a JSON schema says.

Layer: models, over the package llguidance (extra ``models``), which holds grammars as automata over bytes, and masks of
tokens by a trie of the vocabulary. What it would ignore, or hold only nearly, is refused here by its keyword's name
(``schemas``). Invariant: a text that ended is valid, and it can end only where it is.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, StateError
from loom.core.given import flag, one_of, text
from loom.core.optional import load
from loom.models.tokens.schemas import check_schema
from loom.models.tokens.tokenizer import Tokenizer

__all__ = ["Constraint", "GrammarState", "json", "json_schema", "regex"]

_SPACES = r"[ \t\r\n]{1,20}"
"""What may stand between the parts of JSON: a model that writes spaces without end would never finish."""
_ESCAPES = '"\\bfnrt'
"""With these every string has one spelling, so that no key can be written in a way that hides it from its schema."""


_LIMITS = {
    "max_items_in_row": 50_000, "initial_lexer_fuel": 20_000_000, "step_lexer_fuel": 4_000_000,
    "step_max_items": 1_000_000, "verbose_errors": False,
}  # fmt: skip
"""Of llguidance's work: twenty times its own, so that what ``schemas`` admits can be held."""


class GrammarState:
    """Where a text stands within a constraint; made by ``Constraint.start`` and ``advance``, never changed."""

    __slots__ = ("_mask", "ended", "matcher")

    def __init__(self, matcher: Any, ended: bool) -> None:
        self.matcher, self.ended = matcher, ended
        self._mask: Any = None

    def mask(self) -> bytes:
        """Return which tokens may come, as bits."""
        if self._mask is None:
            self._mask = self.matcher.compute_bitmask()
            _refuse_faults(self.matcher)
        found: bytes = self._mask
        return found


class Constraint:
    """A grammar over a tokenizer's tokens; made by ``regex``, ``json`` and ``json_schema``.

    States are values: several texts, and several ways on from one state, share a constraint, in any number of threads.
    ``tokenizer`` is whose tokens it knows, ``size`` how many there are.
    """

    def __init__(self, tokenizer: Tokenizer, grammar: str, where: str) -> None:
        package, known = _of_tokenizer(tokenizer)
        self.tokenizer, self.size = tokenizer, tokenizer.size
        self._ends = tokenizer.eos
        matcher = package.LLMatcher(known, grammar, log_level=0, limits=package.LLParserLimits(**_LIMITS))
        if matcher.is_error():
            raise ArgumentError(where, f"it cannot be held ({' '.join(matcher.get_error().split())[:300]})",
                                expected="a grammar", remedy="Leave out what is named")  # fmt: skip
        self._first = GrammarState(matcher, False)
        if not self._begins():
            raise ArgumentError(where, "no text can be so", expected="a grammar that has a text",
                                remedy="Look for a $ref back to itself, or bounds that exclude each other")  # fmt: skip

    def _begins(self) -> bool:
        try:
            return bool(self.allowed(self._first).any())
        except StateError:
            return False

    def start(self) -> GrammarState:
        """Return the state before the first token."""
        return self._first

    def allowed(self, state: GrammarState) -> Array:
        """Return for each token whether it may come next: bools, as many as the tokenizer has tokens.

        Tokens that end a text may come where the text may end, and nothing else behind them.
        """
        if state.ended:
            found = np.zeros(self.size, bool)
            found[list(self._ends)] = True
            return found
        bits = np.unpackbits(np.frombuffer(state.mask(), np.uint8), bitorder="little")
        return bits[: self.size].astype(bool)

    def words(self, state: GrammarState, size: int) -> Array:
        """Return ``allowed`` as words of 32 bits, the first token lowest, for a vocabulary of ``size``."""
        from loom.models.sampling import pack_mask

        if state.ended:
            return pack_mask(np.concatenate([self.allowed(state), np.zeros(max(size - self.size, 0), bool)])[:size])
        wide = -(-size // 32)
        found = np.zeros(wide, np.uint32)
        given = np.frombuffer(state.mask(), "<u4")[:wide]
        found[: len(given)] = given
        return found

    def advance(self, state: GrammarState, id: int) -> GrammarState:  # noqa: A002 - the field's word
        """Return the state behind a token; ArgumentError for one that is not allowed."""
        if state.ended or (id in self._ends and not state.matcher.is_accepting()):
            raise self._not_allowed(id)
        if id in self._ends:
            return GrammarState(state.matcher, True)
        matcher = state.matcher.deep_copy()
        if not 0 <= id < self.size:
            raise self._not_allowed(id)
        if not matcher.consume_token(int(id)):
            if self.allowed(state)[id]:
                _refuse_faults(matcher)
            raise self._not_allowed(id)
        return GrammarState(matcher, False)

    def is_final(self, state: GrammarState) -> bool:
        """Whether the text may end here."""
        return state.ended or bool(state.matcher.is_accepting())

    def is_complete(self, state: GrammarState) -> bool:
        """Whether the text must end here: nothing can follow."""
        return state.ended or bool(state.matcher.is_accepting() and state.matcher.is_stopped())

    @staticmethod
    def _not_allowed(token: int) -> ArgumentError:
        return ArgumentError("Constraint.advance, id", "the token is not allowed here",
                             expected="one that allowed() names",
                             got=token, remedy="Choose by the mask")  # fmt: skip


def _refuse_faults(matcher: Any) -> None:
    if matcher.is_error():
        raise StateError("Constraint", f"the grammar cannot go on ({' '.join(matcher.get_error().split())[:300]})",
                         remedy="Simplify the schema")  # fmt: skip


class _Words:
    """A tokenizer as llguidance asks for it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        special = tokenizer.special | tokenizer.eos
        self.tokens = [b"" if n in special else piece for n, piece in enumerate(tokenizer.pieces.middle)]
        self.special_token_ids = sorted(special)
        self.eos_token_id, self.bos_token_id = min(tokenizer.eos), tokenizer.bos
        self._encode = tokenizer.encode

    def __call__(self, given: str | bytes) -> list[int]:
        return self._encode(given if isinstance(given, str) else given.decode("utf-8", "replace"), special=False)


_KNOWN: WeakKeyDictionary[Tokenizer, Any] = WeakKeyDictionary()
_LOCK = Lock()


def _of_tokenizer(tokenizer: Tokenizer) -> Any:
    """Return the package, and what it keeps of a tokenizer."""
    llguidance: Any = load("llguidance", "loom.models.tokens.grammar")
    if not isinstance(tokenizer, Tokenizer) or not tokenizer.eos:
        raise ArgumentError("grammar, tokenizer", "not one whose texts end", expected="a Tokenizer with eos tokens",
                            got=type(tokenizer).__name__,
                            remedy="Take the tokenizer of a model that generates")  # fmt: skip
    with _LOCK:
        if tokenizer not in _KNOWN:
            words = llguidance.TokenizerWrapper(_Words(tokenizer))
            _KNOWN[tokenizer] = llguidance.LLTokenizer(words, n_vocab=tokenizer.size, eos_token=sorted(tokenizer.eos))
        return llguidance, _KNOWN[tokenizer]


def regex(pattern: str, tokenizer: Tokenizer) -> Constraint:
    """Return the constraint of texts that a pattern matches from beginning to end.

    The syntax is Rust's (RE2's, without look-around and back references). ArgumentError for what is none.
    """
    package, _ = _of_tokenizer(tokenizer)
    return Constraint(
        tokenizer, package.LLMatcher.grammar_from_regex(text(pattern, "regex, pattern")), "regex, pattern"
    )


def json(tokenizer: Tokenizer, root: str = "any", *, whitespace: bool = True) -> Constraint:
    """Return the constraint of JSON texts: any value, or ``root="object"`` an object, or ``"array"`` an array."""
    kind = one_of(root, "json, root", ("any", "object", "array"))
    return json_schema({} if kind == "any" else {"type": kind}, tokenizer, whitespace=whitespace)


def json_schema(schema: Mapping[str, Any] | bool | str, tokenizer: Tokenizer, *, whitespace: bool = True) -> Constraint:
    """Return the constraint of JSON texts that are valid by a JSON Schema (draft 2020-12; a dict, or its text).

    Held are type, enum, const, anyOf, allOf, oneOf where at most one can hold, local $ref; minLength, maxLength,
    pattern, format (date, time, date-time, email, hostname, ipv4, ipv6, uuid, uri, duration); minimum, maximum, both
    exclusive ones, multipleOf of whole numbers; properties, required, additionalProperties, patternProperties,
    maxProperties, and minProperties as far as required ones meet it; items, prefixItems, minItems, maxItems.
    Any other keyword is refused by its name (ArgumentError), but for those that only describe; so are more than 3,000
    properties that are not required. Properties come in the schema's order, those it does not name last; strings are
    escaped in one way alone. ``whitespace``: up to 20 spaces may stand between parts, or none.
    """
    where = "json_schema, schema"
    if isinstance(schema, str):
        try:
            schema = json_module.loads(schema)
        except (ValueError, RecursionError) as error:
            raise ArgumentError(
                where, f"not JSON ({str(error)[:200]})", expected="a JSON Schema", remedy="Correct it"
            ) from None
    checked = check_schema(schema, where)
    package, _ = _of_tokenizer(tokenizer)
    free = flag(whitespace, "json_schema, whitespace")
    spaces: dict[str, Any] = {"whitespace_pattern": _SPACES} if free else {"whitespace_flexible": False}
    options = {"json_allowed_escapes": _ESCAPES, **spaces}
    held = package.LLMatcher.grammar_from_json_schema(json_module.dumps(checked), overrides=options)
    return Constraint(tokenizer, held, where)
