"""Text as models read it: tokenizers, chats, streams, stop strings; grammars in ``loom.models.tokens.grammar``.

Layer: models. Invariant: a text that is encoded and decoded is the text, and what users write becomes no control token.
"""

from loom.models.tokens.stream import StopMatcher, StreamDecoder
from loom.models.tokens.tokenizer import Tokenizer

__all__ = ["StopMatcher", "StreamDecoder", "Tokenizer"]
