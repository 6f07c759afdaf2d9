"""Calls with hostile values: which, drawn from a seed, and a process that makes them and tells what came out.

``python -m hostile.calls SEED FIRST COUNT`` prints ``@INDEX`` before each call and a line of JSON for each exception
that is not of the house. The process limits its own memory; one that dies or hangs is seen by who started it.
"""

from __future__ import annotations

import faulthandler
import inspect
import json
import random
import re
import resource
import sys
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from hostile.lists import is_listed
from hostile.samples import sample, shut
from hostile.sites import Site, sites
from hostile.values import FAMILIES, TORCH

SECONDS = 25
"""A call that takes longer hangs."""

MOST_FRAMES = 3
"""Of Loom's own, in the traceback of an error."""
_MEMORY_NBYTES = 6 << 30


def usual_arguments(site: Site) -> dict[str, tuple[str, Any]]:
    """Return usable values of the parameters that must be given, and of those that are open."""
    found = {}
    for name, parameter in site.signature.parameters.items():
        needed = parameter.default is parameter.empty or ("dispatch" in site.name and name in ("params", "groups"))
        if needed and name not in ("self", "cls") and (usual := sample(site.name, name)) is not None:
            found[name] = ("usual", usual)
    return found


def _hostile(rng: random.Random, torch: bool) -> tuple[str, Callable[[], Any]]:
    family = TORCH if torch and rng.random() < 0.08 else rng.choice(FAMILIES)
    name = rng.choice(sorted(family))
    return name, family[name]


def drawn(
    seed: int, index: int, all_sites: list[Site], *, torch: bool = True
) -> tuple[Site, dict[str, tuple[str, Any]]]:
    """Return what call ``index`` of a seed is: the site, and parameter -> (how it reads, how it is made)."""
    rng = random.Random(seed * 1_000_003 + index)
    order = list(range(len(all_sites)))
    random.Random(seed).shuffle(order)
    site = all_sites[order[index % len(order)]]
    names = [n for n, p in site.signature.parameters.items() if n not in ("self", "cls")]
    chosen: dict[str, tuple[str, Any]] = {}
    wrong = set(rng.sample(names, min(len(names), rng.choice((0, 1, 1, 1, 1, 1, 1, 2, 2, 9)))))
    for name in names:
        parameter = site.signature.parameters[name]
        is_open = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        required = parameter.default is parameter.empty and not is_open
        usual = sample(site.name, name)
        if name in wrong or (required and usual is None):
            chosen[name] = _hostile(rng, torch)
        elif usual is not None and (required or is_open or site.name.endswith(".dispatch") or rng.random() < 0.15):
            chosen[name] = ("usual", usual)
    return site, chosen


def made_call(site: Site, chosen: dict[str, tuple[str, Any]]) -> Any:
    """Make one call; what it returns is looked at, and closed where it can be."""
    args, options = [], {}
    skipped = False
    for name, parameter in site.signature.parameters.items():
        if name not in chosen:
            skipped = skipped or parameter.kind is not parameter.KEYWORD_ONLY
            continue
        value = chosen[name][1]()
        if parameter.kind is parameter.VAR_POSITIONAL:
            if not skipped:
                args.extend(value if chosen[name][0] == "usual" and isinstance(value, tuple) else [value])
        elif parameter.kind is parameter.VAR_KEYWORD:
            options["option"] = value
        elif parameter.kind is parameter.POSITIONAL_ONLY or (
            parameter.kind is parameter.POSITIONAL_OR_KEYWORD and not skipped
        ):
            args.append(value)
        else:
            options[name] = value
    result = site.get()(*args, **options)
    _looked_at(result)
    return result


def _looked_at(result: Any) -> None:
    repr(result)
    if isinstance(result, Future):
        result.result(10)
    elif inspect.ismethod(getattr(result, "wait", None)) and "what" not in inspect.signature(result.wait).parameters:
        result.wait()
    elif hasattr(result, "__enter__"):
        with result:
            pass
    elif (
        hasattr(result, "evaluate")
        and hasattr(result, "contract") is False
        and getattr(result, "size", 1 << 20) < 1 << 20
    ):
        result.evaluate()
    for closing in ("shutdown", "close", "free"):
        if inspect.ismethod(getattr(result, closing, None)):
            getattr(result, closing)()
            return


def judged(site: Site, chosen: dict[str, tuple[str, Any]]) -> dict[str, Any] | None:
    """Make one call and return what is wrong about how it ended, or None."""
    from loom import LoomError

    try:
        made_call(site, chosen)
        shut()
    except LoomError as error:
        if not str(error).startswith("["):
            return {"kind": "text", "text": str(error)}
        own = [f.name for f in traceback.extract_tb(error.__traceback__) if "/src/loom/" in f.filename]
        if len(own) > MOST_FRAMES:
            return {"kind": "traceback", "text": str(error)[:200], "spots": own, "own": True}
        if not is_listed(site.name, site.get(), error):
            return {"kind": f"no {type(error).__name__} under Raises", "text": str(error)[:200]}
    except Exception as error:
        if type(error).__module__.startswith("torch") or "meta" in str(error)[:60]:
            return None
        if re.search(r"takes .*arguments? but|missing .* required", str(error)):  # a function that was passed
            return None
        frames = traceback.extract_tb(error.__traceback__)
        spots = [f"{f.filename.rpartition('/src/')[2]}:{f.lineno}" for f in frames if "/hostile/" not in f.filename]
        return {
            "kind": type(error).__name__,
            "text": str(error)[:200],
            "spots": spots[-6:],
            "own": any("/loom/" in f.filename for f in frames),
        }
    finally:
        with suppress(Exception):
            shut()
    return None


def main(seed: int, first: int, count: int) -> None:
    """Make ``count`` calls of a seed, telling of each."""
    import loom.tensor  # noqa: F401 - all that is loaded before memory is limited

    try:
        import torch  # noqa: F401

        has_torch = True
    except ImportError:
        has_torch = False
    found = sites()
    resource.setrlimit(resource.RLIMIT_AS, (_used() + _MEMORY_NBYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", category=RuntimeWarning)
    out = sys.stdout
    for index in range(first, first + count):
        site, chosen = drawn(seed, index, found, torch=has_torch)
        shown = f"{site.name}({', '.join(f'{name}={text}' for name, (text, _) in chosen.items())})"
        print(f"@{index} {shown.encode('ascii', 'backslashreplace').decode()}", file=out, flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        wrong = judged(site, chosen)
        faulthandler.cancel_dump_traceback_later()
        if wrong is not None:
            print(json.dumps({"index": index, "call": shown, **wrong}), file=out, flush=True)
    print("done", file=out, flush=True)


def _used() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:4]))
