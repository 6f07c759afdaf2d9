"""Names that an export may not have: a type and files are called so, in C and in C++.

Layer: export. Invariant: what is accepted can be the name of a type in every header that is written.

Source: the keywords of ISO C17 and C++20.
"""

from __future__ import annotations

from loom.core.errors import ArgumentError

__all__ = ["TAKEN", "is_taken", "require_identifier"]

_KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await
co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do
double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace
new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires restrict
return short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try
typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
_OTHERS = """
main std NULL size_t int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t loom_json
"""
"""What the headers, the example and the file beside them call something."""
TAKEN = frozenset((_KEYWORDS + _OTHERS).split())


def is_taken(name: str) -> bool:
    """Tell whether C or C++, or a file of the export, has a name already."""
    return name in TAKEN


def require_identifier(name: str) -> None:
    """ArgumentError for a name that C functions cannot begin with."""
    if not (name.isascii() and name.isidentifier()) or is_taken(name):
        raise ArgumentError("loom.export, name", "functions cannot be called so",
                            expected="letters, digits and _, no word of C or C++",
                            got=repr(name), remedy="Choose another name")  # fmt: skip
