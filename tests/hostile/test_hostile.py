"""No call with wrong arguments ends in anything but an answer or an error of the house.

Each call is drawn from a seed: a public function, constructor, method or operator, usable arguments where somebody
has said some, and one or more of them replaced by what nobody should pass. They are made in a process of their own,
whose memory is limited, so that a crash, a hang and an absurd allocation are seen.
"""

from __future__ import annotations

import sys

import pytest

from hostile.driver import found
from hostile.sites import LEFT_OUT, sites

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does")


def _told(wrong: list[dict[str, object]]) -> str:
    return "\n".join(f"{w['call']}\n    {w['kind']}: {w['text']} {w['spots']}" for w in wrong)


def test_wrong_arguments_are_answered_or_refused() -> None:
    wrong = found(seed=12, first=0, count=450)
    assert not wrong, _told(wrong)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(101, 105))
def test_ten_thousand_wrong_calls(seed: int) -> None:
    wrong = found(seed, first=0, count=2500)
    assert not wrong, _told(wrong)


def test_everything_public_is_called() -> None:
    """A new public function is fuzzed by itself; what is left out says why."""
    names = {site.name for site in sites()}
    assert len(names) > 550
    assert not names & set(LEFT_OUT)
    assert {"loom.gpu_sort", "loom.tensor.einsum", "loom.flow.vm_write", "Unit.read", "Network.train"} <= names
