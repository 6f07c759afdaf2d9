"""``search``: many networks are generated, trained a little, and the better ones trained on: successive halving.

Layer: nn. Invariant: the ranking depends on space, samples, seed and settings alone, never on the device or on time.

Source: K. Jamieson and A. Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization" (2016).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, NotFinite, ShapeError
from loom.core.given import is_list, is_tuple
from loom.core.late.dataclass import dataclass
from loom.core.numbers import real, whole
from loom.nn.network import Network
from loom.nn.structure.generating import generate, parameters_of
from loom.nn.structure.space import ArchitectureSpace
from loom.nn.train.datasets import divide
from loom.runtime.port.device import Device

__all__ = ["ArchitectureRanking", "Candidate", "rounds_of", "search", "space_for"]

_WHERE = "loom.nn.structure.search"


@dataclass(frozen=True)
class Candidate:
    """A network that was generated: number ``number`` of the search, with starting weights of its document's seed.

    ``epochs``: how long it was trained; ``loss`` and ``accuracy`` (of classes, else None): of the samples held out;
    ``failed``: why its training ended early, or "".
    """

    number: int
    document: dict[str, Any]
    parameters: int
    epochs: int = 0
    loss: float = float("inf")
    accuracy: float | None = None
    failed: str = ""

    @property
    def layers(self) -> str:
        """Its layers' types, one after another."""
        return " ".join(str(each["type"]) for each in self.document["layers"])

    def to_dict(self) -> dict[str, Any]:
        """Return its fields as JSON takes them; the loss of one that failed is None."""
        loss = self.loss if np.isfinite(self.loss) else None
        return {
            "number": self.number, "parameters": self.parameters, "epochs": self.epochs, "loss": loss,
            "accuracy": self.accuracy, "failed": self.failed, "document": self.document,
        }  # fmt: skip


@dataclass(frozen=True)
class ArchitectureRanking:
    """``ranking``: all candidates, best first; ``best``: the first of them as it was trained; ``rounds``: how many were
    trained in each, and up to which epoch."""

    ranking: tuple[Candidate, ...]
    best: Network
    rounds: tuple[tuple[int, int], ...]
    score: str = field(default="loss")

    def to_dict(self) -> dict[str, Any]:
        """Return ranking, rounds and the best one's digest as JSON takes them."""
        return {
            "score": self.score, "rounds": [list(each) for each in self.rounds],
            "ranking": [each.to_dict() for each in self.ranking], "sha256": self.best.digest(),
        }  # fmt: skip


def space_for(x: Any, y: Any, **constraints: Any) -> ArchitectureSpace:
    """Return the space of networks for samples and targets.

    Args:
        x: Samples (n, *shape).
        y: Classes (n,), integers, or numbers (n, *shape).
        **constraints: Constraints of ``ArchitectureSpace``.

    Raises:
        ArgumentError: A constraint is unusable.
        ShapeError: Not samples and their targets; numbers without the output's axis.
    """
    inputs, targets = np.asarray(x), np.asarray(y)
    if inputs.ndim < 2 or not targets.ndim or not len(inputs) or len(targets) != len(inputs):
        raise ShapeError(f"{_WHERE}, x", "not samples and their targets", expected="(n, *shape) and (n, ...)",
                         got=f"{inputs.shape} and {targets.shape}", remedy="The first axis counts samples")  # fmt: skip
    if targets.dtype.kind in "iub" and targets.ndim == 1:
        shape: Any = (max(int(targets.max()) + 1, 2),)
    elif targets.ndim == 1:
        raise ShapeError(f"{_WHERE}, y", "numbers without the output's axis", expected="(n, 1)", got=targets.shape,
                         remedy="numpy.expand_dims(y, -1)")  # fmt: skip
    else:
        shape = targets.shape[1:]
    return ArchitectureSpace(inputs.shape[1:], shape, **constraints)


def rounds_of(candidates: int, budget: int, reduction: int) -> tuple[tuple[int, int], ...]:
    """Return for each round how many networks are trained, and up to which epoch.

    Each round has the same share of the ``budget`` (epochs of one network), and as many networks as the round before
    divided by ``reduction``, until one is left. ArgumentError if a round has less than one epoch.

    >>> rounds_of(9, 27, 3)
    ((9, 1), (3, 4), (1, 13))
    """
    sizes = [candidates]
    while sizes[-1] > 1:
        sizes.append(max(sizes[-1] // reduction, 1))
    share = budget // len(sizes)
    if share < candidates:
        raise ArgumentError(f"{_WHERE}, budget", "too few epochs for each network to be trained once",
                            expected=f"at least {candidates * len(sizes)} (epochs of one network, in all)", got=budget,
                            remedy="Allow more, or fewer candidates")  # fmt: skip
    made: list[tuple[int, int]] = []
    epochs = 0
    for size in sizes:
        epochs += share // size
        made.append((size, epochs))
    return tuple(made)


def search(
    x: Any,
    y: Any,
    space: ArchitectureSpace | None = None,
    *,
    candidates: int = 9,
    budget: int | None = None,
    reduction: int = 3,
    seed: int = 0,
    hold_out: float | None = None,
    validation: tuple[Any, Any] | None = None,
    on: str | Device | None = None,
    report: Callable[[int, Candidate], None] | None = None,
    **settings: Any,
) -> ArchitectureRanking:
    """Generate networks, train them with samples, and rank them by what they say of samples held out.

    trained for a few epochs; the best of them, one in ``reduction``, are trained on, and so forth until one is left:
    ``budget`` epochs of one network in all (None: four times what is least). Ranked by accuracy (classes) and loss;
    those trained longer first.

    The same arguments give the same ranking and weights on every device. A network whose training diverges is last.

    Args:
        x: Samples (n, *shape).
        y: Classes (n,), integers, or numbers (n, *shape).
        space: Space of networks; None: that of ``space_for(x, y)``.
        candidates: Networks that are generated.
        budget: Epochs of one network in all; None: four times the least.
        reduction: One in so many is trained on.
        seed: Seed of networks and of the samples held out.
        hold_out: Share of samples that are held out; None: 0.25.
        validation: Pair of samples and targets in their place; None: none.
        on: Device, or its name; None: the default device.
        report: Function of each round's number and candidate; None: none.
        **settings: Settings of ``Network.train``; else adam with rate 0.003.

    Returns:
        Ranking, with the best network as it was trained.

    Raises:
        ArgumentError: A number is out of range; ``report`` is no function; a setting is unknown, unusable or its own;
            the budget is too small.
        DTypeError: Not numbers, or not of the kind needed.
        ShapeError: Not samples and their targets.
        NotFinite: The data is not finite; the training of every network diverged.
    """
    candidates = whole(candidates, f"{_WHERE}, candidates", least=1, most=10_000)
    reduction = whole(reduction, f"{_WHERE}, reduction", least=2, most=10_000)
    seed = whole(seed, f"{_WHERE}, seed", least=0, most=(1 << 32) - 1)
    _require_free(settings)
    if report is not None and not callable(report):
        raise ArgumentError(f"{_WHERE}, report", "not a function", expected="f(round, candidate)",
                            got=repr(report)[:100], remedy="Leave it out")  # fmt: skip
    space = space_for(x, y) if space is None else space
    least = candidates * len(rounds_of(candidates, candidates * 64, reduction))
    budget = 4 * least if budget is None else whole(budget, f"{_WHERE}, budget", least=1)
    rounds = rounds_of(candidates, budget, reduction)
    kept, held_out = _split(x, y, hold_out, validation, seed)
    told = {"optimizer": "adam", "learning_rate": 0.003, "progress": False, "seed": seed, **settings}
    documents = [generate(space, seed, number) for number in range(candidates)]
    running = [Candidate(i, document, parameters_of(document)) for i, document in enumerate(documents)]
    networks = {0: Network.from_json(documents[0], on=on)}
    _require_samples(networks[0], kept, held_out, told)
    ranking: list[Candidate] = []
    for number, (size, epochs) in enumerate(rounds):
        for dropped in running[size:]:
            networks.pop(dropped.number, None)
        ranking = running[size:] + ranking
        running = [_train(c, networks, kept, held_out, epochs, on, told) for c in running[:size]]
        for each in running:
            if report is not None:
                report(number, each)
        running.sort(key=_place)
    ranking = running + ranking
    if ranking[0].failed:
        raise NotFinite(_WHERE, "the training of every network that was left diverged", expected="finite losses",
                        got=ranking[0].failed, remedy="Lower the learning rate, or scale the samples")  # fmt: skip
    score = "loss" if ranking[0].accuracy is None else "accuracy"
    return ArchitectureRanking(tuple(ranking), networks[ranking[0].number], rounds, score)


def _require_free(settings: Mapping[str, Any]) -> None:
    """See that no setting says how long a network is trained."""
    for name in ("epochs", "resume", "checkpoint", "patience"):
        if name in settings:
            raise ArgumentError(f"{_WHERE}, {name}", "the search says how long each network is trained",
                                expected="budget=", got=f"{name}={settings[name]!r}"[:100],
                                remedy="Leave it out")  # fmt: skip


def _require_samples(network: Network, kept: Any, held_out: Any, told: Mapping[str, Any]) -> None:
    """See that samples can be trained and ranked with: an error of theirs is none of a network's training."""
    loss = {} if told.get("loss") is None else {"loss": told["loss"]}
    for x, y in (kept, held_out):
        network.read_training(x, y, _WHERE, settings=loss)


def _split(x: Any, y: Any, share: Any, validation: Any, seed: int) -> tuple[Any, tuple[Any, Any]]:
    if validation is not None:
        if share is not None:
            raise ArgumentError(f"{_WHERE}, hold_out", "has no effect beside validation", expected="one of the two",
                                got=f"hold_out={share!r}"[:100], remedy="Leave one out")  # fmt: skip
        if not (is_tuple(validation) or is_list(validation)) or len(validation) != 2:
            raise ArgumentError(f"{_WHERE}, validation", "not samples and their targets", expected="a pair (x, y)",
                                got=type(validation).__name__, remedy="Pass (x, y)")  # fmt: skip
        return (x, y), (validation[0], validation[1])
    inputs, targets = np.asarray(x), np.asarray(y)
    if len(inputs) != len(targets) or not inputs.ndim:
        raise ShapeError(f"{_WHERE}, y", "not one target for each sample", expected=len(inputs), got=targets.shape,
                         remedy="The first axis counts samples")  # fmt: skip
    share = 0.25 if share is None else real(share, f"{_WHERE}, hold_out", least=0, most=0.999)
    kept, held_out = divide(inputs, targets, share, seed)
    if held_out is None:
        raise ArgumentError(f"{_WHERE}, hold_out", "nothing is held out to rank by", expected="one sample at least",
                            got=f"{share} of {len(inputs)}",
                            remedy="Pass more samples, a larger share, or validation=(x, y)")  # fmt: skip
    return kept, held_out


def _train(
    candidate: Candidate, networks: dict[int, Network], kept: tuple[Array, Array], held_out: tuple[Any, Any],
    epochs: int, on: str | Device | None, told: dict[str, Any],
) -> Candidate:  # fmt: skip
    """Return the candidate after training up to an epoch, its network under its number."""
    if candidate.failed:
        return candidate
    network = networks.get(candidate.number)
    if network is None:
        network = networks[candidate.number] = Network.from_json(candidate.document, on=on)
    try:
        network.train(*kept, epochs=epochs, resume=candidate.epochs > 0, **told)
        found = network.evaluate(*held_out, loss=told.get("loss"))
    except NotFinite as error:  # samples are finite: what was learned is not
        return replace(candidate, failed=str(error), loss=float("inf"), accuracy=None)
    if not np.isfinite(found.loss):
        return replace(candidate, epochs=epochs, failed="the loss of what is held out is not finite")
    return replace(candidate, epochs=epochs, loss=float(found.loss), accuracy=found.accuracy)


def _place(candidate: Candidate) -> tuple[Any, ...]:
    right = 0.0 if candidate.accuracy is None else candidate.accuracy
    return bool(candidate.failed), -right, candidate.loss, candidate.parameters, candidate.number
