"""Strings that tokenizers get wrong: every plane of Unicode, marks, controls, long runs, special tokens written out."""

from __future__ import annotations

import random

AWKWARD = [
    "",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t\t",
    "a" * 500,
    " " * 100,
    "\n" * 50,
    "0" * 64,
    "1234567890123",
    "a\u0300\u0301e\u0323",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u0645\u0631\u062d\u0628\u0627 123\u0664\u0665",
    "\x00\x01\x02",
    "\x7f\x80\x9f\xa0\xad",
    "\ufeffBOM",
    "\u200b\u200c\u200d\u2060",
    "\u2028\u2029\u0085",
    "\ufb01\u2460\xbd\xb2",
    "\u65e5\u672c\u8a9e\u3001\u6f22\u5b57\u3002",
    "\ud55c\uad6d\uc5b4",
    "\u0e44\u0e17\u0e22",
    "\u0928\u092e\u0938\u094d\u0924\u0947",
    "don't DON'T I'll we've 'S 'T",
    "  leading and trailing  ",
    "a  b   c    d",
    "x=1;\n\tif(y){\n\t\tz();\n\t}\n",
    "<|im_start|>user\nhi<|im_end|>",
    "</s><s>[INST]",
    "<|endoftext|>",
    "[CLS] [SEP]",
    "\u2581\u2581a\u2581b",
    "\u0120hello \u010a",
    "\U0010ffff\U000e0001\U0001d400",
    "\ufffd\ufffe\uffff",
    "a\u00a0b\u3000c\u2003d",
    "\u0130\u0131\u017f\u212a",
    "\uff21\uff22\uff23\uff11",
    "e\u0301 \xe9",
    "```python\nprint('x')```",
    "!!!???...---___",
    "1.5e-10 0x1F 1,000,000",
    "\r\r\n\n\r",
    "a\n b\n  c\n   d",
]
_PLANES = [(0x20, 0x7E)] * 6 + [
    (0xA0, 0x24F),
    (0x300, 0x36F),
    (0x370, 0x5FF),
    (0x600, 0x6FF),
    (0x900, 0xDFF),
    (0xE00, 0x1FFF),
    (0x2000, 0x2BFF),
    (0x3000, 0x30FF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xE000, 0xFAFF),
    (0xFE00, 0xFFFF),
    (0x10000, 0x10FFF),
    (0x1D400, 0x1D7FF),
    (0x1F300, 0x1FAFF),
    (0x20000, 0x2A6DF),
    (0xE0100, 0xE01EF),
    (0xF0000, 0x10FFFF),
]
_WORDS = [
    "the",
    "Hello",
    " world",
    "don't",
    "  ",
    "\n",
    "123",
    "4567",
    "\U0001f642",
    "\xe9",
    "e\u0301",
    "<|im_end|>",
    "\u2581",
    "'re",
    "'RE",
    "\t",
    " ...",
    "\u65e5\u672c",
    "12\u0663",
    "unbelievable",
]


def drawn(count: int, seed: int = 1) -> list[str]:
    """Return awkward strings and drawn ones."""
    draw = random.Random(seed)
    found = list(AWKWARD)
    while len(found) < count:
        if draw.random() < 0.4:
            found.append("".join(draw.choice(_WORDS) for _ in range(draw.randrange(1, 12))))
        else:
            letters = (chr(draw.randint(*draw.choice(_PLANES))) for _ in range(draw.randrange(1, 24)))
            found.append("".join(each if draw.random() < 0.8 else draw.choice(" \n1a") for each in letters))
    return found[:count]
