"""Measures of classes and scores against scikit-learn, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import sklearn.calibration
from sklearn import metrics

import loom
from loom.core.errors import ArgumentError, DTypeError, EmptyError, NotFinite, ShapeError, StateError
from loom.nn.measure import (
    accuracy,
    average_precision,
    calibration,
    classification_report,
    confusion_matrix,
    precision_recall_curve,
    report_of,
    roc_auc,
    roc_curve,
    roc_curves,
)

DRAW = np.random.default_rng(3)
TRUE = DRAW.integers(0, 4, 300)
SAID = np.where(DRAW.random(300) < 0.6, TRUE, DRAW.integers(0, 4, 300))
SAID[SAID == 3] = 1  # a class that is never said
CHANCES = np.round(DRAW.dirichlet(np.ones(4), 300) + 0.3 * np.eye(4)[TRUE], 2)  # rounded: ties
CHANCES /= CHANCES.sum(1, keepdims=True)
NAMES = np.array(["elm", "ash", "oak", "fir"])


@pytest.mark.parametrize("kind", [lambda a: a, lambda a: NAMES[a], lambda a: NAMES[a].tolist(), lambda a: a - 2,
                                  lambda a: a.astype("f4"), lambda a: a > 1])  # fmt: skip
def test_reports_are_those_of_scikit_learn(kind: Any) -> None:
    true, said = kind(TRUE), kind(SAID)
    found = classification_report(true, said)
    assert (confusion_matrix(true, said) == metrics.confusion_matrix(true, said)).all()
    assert accuracy(true, said) == found.accuracy == pytest.approx(metrics.accuracy_score(true, said))
    p, r, f, s = metrics.precision_recall_fscore_support(true, said, zero_division=0)
    for ours, theirs in ((found.precision, p), (found.recall, r), (found.f1, f), (found.support, s)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    for average in ("micro", "macro", "weighted"):
        theirs = metrics.precision_recall_fscore_support(true, said, average=average, zero_division=0)[:3]
        ours = getattr(found, average)
        assert (ours.precision, ours.recall, ours.f1) == pytest.approx(theirs)
    json.dumps(found.to_dict(), allow_nan=False)
    assert len(str(found).splitlines()) == 1 + len(found.labels) + 3 + 1


def test_labels_and_names_are_in_the_order_given() -> None:
    found = classification_report(["a", "b"], ["b", "b"], labels=["c", "b", "a"], names=["sea", "bee", "eh"])
    assert found.confusion.tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert found.undefined == ("sea", "eh")
    assert report_of([[1, 0], [1, 2]]).labels == (0, 1)


@pytest.mark.parametrize("scores", [CHANCES[:, 2], np.round(CHANCES[:, 2], 1), CHANCES[:, 2].astype("f4") * -3])
def test_curves_are_those_of_scikit_learn(scores: Any) -> None:
    truths = TRUE == 2
    found = roc_curve(truths, scores)
    fpr, tpr, thresholds = metrics.roc_curve(truths, scores, drop_intermediate=False)
    np.testing.assert_allclose(found.false_positive_rate, fpr)
    np.testing.assert_allclose(found.true_positive_rate, tpr)
    np.testing.assert_array_equal(found.thresholds[1:], thresholds[1:])
    assert found.auc == pytest.approx(metrics.roc_auc_score(truths, scores), rel=1e-14)
    assert roc_auc(TRUE, scores, positive=2) == roc_auc(truths.astype(int), scores[:, None]) == found.auc
    assert average_precision(truths, scores) == pytest.approx(metrics.average_precision_score(truths, scores))
    ours, (p, r, _) = precision_recall_curve(truths, scores), metrics.precision_recall_curve(truths, scores)
    np.testing.assert_allclose(ours.precision[::-1], p[:-1])
    np.testing.assert_allclose(ours.recall[::-1], r[:-1])
    at = found.best()
    gap = found.true_positive_rate - found.false_positive_rate
    assert gap[found.thresholds.tolist().index(at)] == gap.max()


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_one_against_the_rest(average: str) -> None:
    theirs = metrics.roc_auc_score(TRUE, CHANCES, multi_class="ovr", average=average)
    assert roc_auc(TRUE, CHANCES, average=average) == pytest.approx(theirs)
    assert roc_auc(NAMES[TRUE], CHANCES, average=average, labels=NAMES) == pytest.approx(theirs)
    micro = metrics.roc_auc_score(np.eye(4)[TRUE].ravel(), CHANCES.ravel())
    assert roc_auc(TRUE, CHANCES, average="micro") == pytest.approx(micro)
    each = roc_auc(TRUE, CHANCES, average=None)
    assert each == {k: roc_curve(k == TRUE, CHANCES[:, k]).auc for k in range(4)}
    assert set(roc_curves(TRUE[TRUE != 3], CHANCES[TRUE != 3])) == {0, 1, 2}  # nobody is of class 3


def test_calibration_is_that_of_scikit_learn() -> None:
    truths, chance = TRUE > 1, np.round(DRAW.random(300), 2) * 0.98 + 0.011
    sure, said = np.maximum(chance, 1 - chance), chance > 0.5
    right, mean = sklearn.calibration.calibration_curve(said == truths, sure, n_bins=10)
    found = calibration(truths, chance)
    np.testing.assert_allclose(found.accuracy, right)
    np.testing.assert_allclose(found.confidence, mean)
    assert found.counts.sum() == 300
    assert found.brier == pytest.approx(2 * metrics.brier_score_loss(truths, chance))
    assert calibration([0, 1], [[1.0, 0.0], [0.0, 1.0]]).expected_error == 0


def test_what_is_no_measure_is_refused() -> None:
    with pytest.raises(EmptyError):
        accuracy([], [])
    with pytest.raises(ShapeError, match="differ in samples"):
        confusion_matrix([1, 2], [1])
    with pytest.raises(ShapeError, match="argmax"):
        accuracy(np.eye(3), np.eye(3))
    for bad in ([0.5, 1.0], [np.nan, 1], [1, "a"], [None, 1], [1j, 1]):
        with pytest.raises(DTypeError):
            accuracy(bad, [0, 1])
    with pytest.raises(DTypeError, match="several kinds"):
        accuracy([1, 2], ["a", "b"])
    with pytest.raises(ArgumentError, match="not among them"):
        confusion_matrix([0, 5], [0, 1], labels=[0, 1])
    with pytest.raises(ArgumentError, match="twice"):
        confusion_matrix([0, 1], [0, 1], labels=[0, 1, 1])
    with pytest.raises(ArgumentError, match="one class"):
        roc_curve([1, 1], [0.1, 0.2])
    with pytest.raises(ArgumentError, match="positive"):
        roc_curve([1, 2], [0.1, 0.2])
    for value in (np.nan, np.inf):
        with pytest.raises(NotFinite):
            roc_auc([0, 1], [value, 0.5])
    with pytest.raises(ArgumentError, match="not probabilities"):
        calibration([0, 1], [3.0, -1.0])
    with pytest.raises(ArgumentError, match="no probability"):
        calibration([0, 7], [[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(ShapeError):
        report_of([[1, 2]])


def _network(outputs: int, **more: Any) -> loom.Network:
    layers = [{"type": "dense", "output_size": outputs}]
    return loom.Network.from_json({"format": "loom/1", "seed": 1, "input": {"shape": [4]}, "layers": layers, **more})


def test_an_evaluation_knows_its_classes_and_scores() -> None:
    x, y = DRAW.standard_normal((80, 4)), np.arange(80) % 3
    found = _network(3, classes=["a", "b", "c"]).evaluate(x, y)
    chances = found.said
    assert chances is not None
    assert found.report().names == ("a", "b", "c")
    assert found.report().accuracy == found.accuracy
    assert found.auc() == pytest.approx(metrics.roc_auc_score(y, chances, multi_class="ovr"))
    assert list(found.roc()) == ["a", "b", "c"]
    assert found.calibration().counts.sum() == 80
    assert "Model Evaluation Summary" in str(found)
    of_numbers = _network(1).evaluate(x, x[:, :1])
    for what in (of_numbers.report, of_numbers.roc, of_numbers.auc, of_numbers.calibration):
        with pytest.raises(StateError, match="no classes"):
            what()


def test_evaluations_are_kept_while_training() -> None:
    x, y = DRAW.standard_normal((40, 4)), np.arange(40) % 3
    told: dict[str, Any] = {"epochs": 5, "optimizer": "adam", "validation": (x, y), "batch_size": 40}
    watched, plain = _network(3), _network(3)
    history = watched.train(x, y, evaluate_every=2, **told)
    plain.train(x, y, **told)
    assert watched.digest() == plain.digest()
    assert [e["epoch"] for e in history.evaluations] == [2, 4]
    assert [e["accuracy"] for e in history.evaluations] == [history.validation_accuracy[k] for k in (1, 3)]
    last = watched.train(x, y, evaluate_every=5, **(told | {"epochs": 10}), resume=True).evaluations
    assert last[-1] == {"epoch": 10, **watched.evaluate(x, y).brief()}
    with pytest.raises(ArgumentError, match="no effect alone"):
        plain.train(x, y, evaluate_every=1)
    for bad in (0, -1, 1.5, "2"):
        with pytest.raises(ArgumentError, match="evaluate_every"):
            plain.train(x, y, evaluate_every=bad, validation=(x, y))
