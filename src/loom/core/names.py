"""What a module says of a name it does not have.

Layer: core. Invariant: the error is an AttributeError, as Python's own, so that ``hasattr`` and
imports of submodules go on.
"""

from __future__ import annotations

from collections.abc import Iterable

from loom.core.errors import near_matches

__all__ = ["missing_name"]


def missing_name(module: str, name: str, known: Iterable[str], elsewhere: str = "") -> AttributeError:
    """Return the error for ``module.name``, with the names it could have been; ``elsewhere`` says where it is instead.

    >>> missing_name("loom.stats", "var", ["mean", "variance"]).args[0]
    "module 'loom.stats' has no attribute 'var'. Did you mean 'variance'?"
    """
    text = f"module {module!r} has no attribute {name!r}"
    if name.startswith("_"):  # no public name begins so, and tools ask for many: pytest for `_mock_name` in each module
        return AttributeError(text)
    names = list(known)
    longer = sorted(n for n in names if len(name) > 2 and n.startswith(name))  # as "var" of "variance"
    if elsewhere:
        near = elsewhere
    elif longer:
        near = "Did you mean " + " or ".join(map(repr, longer[:3])) + "?"
    else:
        near = near_matches(name, names)
    return AttributeError(f"{text}. {near}")
