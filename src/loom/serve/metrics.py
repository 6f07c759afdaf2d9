"""What a server counts, in the text form that Prometheus reads.

Layer: serve. Belongs to one event loop. Invariant: a counter never falls, and the buckets of a histogram hold those of
the smaller ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import field

from loom.core.late.dataclass import dataclass

__all__ = ["ServerMetrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

_HELP = {
    "loom_requests_total": ("counter", "Requests answered, by endpoint and status."),
    "loom_tokens_total": ("counter", "Tokens read (kind=prompt) and written (kind=completion)."),
    "loom_cancelled_total": ("counter", "Requests whose clients went away."),
    "loom_request_seconds": ("histogram", "From a request's head to the end of its answer."),
    "loom_first_token_seconds": ("histogram", "From a request's head to its first token."),
    "loom_queue_seconds": ("histogram", "Time that requests waited for a place."),
    "loom_sequences_running": ("gauge", "Texts that are being written."),
    "loom_sequences_waiting": ("gauge", "Texts that wait for a place."),
    "loom_receipts_kept": ("gauge", "Receipts that can be asked for."),
    "loom_engine": ("gauge", "What a model's engine counts, by model and what."),
}

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(_SECONDS) + 1))
    total: float = 0.0


class ServerMetrics:
    """Counters and histograms by name and labels; gauges are told when they are read."""

    def __init__(self) -> None:
        self._counters: defaultdict[tuple[str, Labels], float] = defaultdict(float)
        self._histograms: defaultdict[tuple[str, Labels], _Histogram] = defaultdict(_Histogram)

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._counters[name, tuple(labels.items())] += by

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a time to a histogram."""
        found = self._histograms[name, tuple(labels.items())]
        found.counts[bisect_left(_SECONDS, seconds)] += 1
        found.total += seconds

    def text(self, gauges: Iterable[tuple[str, Mapping[str, str], float]]) -> str:
        """Return everything, as Prometheus reads it."""
        lines: defaultdict[str, list[str]] = defaultdict(list)
        for (name, labels), value in self._counters.items():
            lines[name].append(f"{name}{_labels(labels)} {_value(value)}")
        for name, labels, value in gauges:
            lines[name].append(f"{name}{_labels(tuple(labels.items()))} {_value(value)}")
        for (name, labels), found in self._histograms.items():
            lines[name] += _buckets(name, labels, found)
        told: list[str] = []
        for name, (kind, meaning) in _HELP.items():
            told += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", *lines[name]]
        return "\n".join(told) + "\n"


def _buckets(name: str, labels: Labels, found: _Histogram) -> Iterable[str]:
    below = 0
    for edge, count in zip((*map(_value, _SECONDS), "+Inf"), found.counts, strict=True):
        below += count
        yield f"{name}_bucket{_labels((*labels, ('le', edge)))} {below}"
    yield f"{name}_sum{_labels(labels)} {_value(found.total)}"
    yield f"{name}_count{_labels(labels)} {below}"


def _labels(labels: Labels) -> str:
    told = ",".join(f'{name}="{_escape(value)}"' for name, value in labels)
    return f"{{{told}}}" if told else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _value(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
