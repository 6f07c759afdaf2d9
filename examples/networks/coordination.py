"""Four agents of different kinds, each in its cell of a grid, on one task: right only if all four are."""

from loom.nn.adapt import CostModel, document, make_learner, run_trial, stream
from loom.nn.spec import parse
from loom.nn.tween import TweenMode
from loom.nn.weights.model import Model

# Every 50 ms one of four patterns is shown: agent k answers its number plus k, after the change its number less k
seen = stream("classes", seed=1, total_ms=2000, agents=4, changes=1)
first = Model(parse(document("agents", seed=1))).weights()
found = {}
for mode, rate in ((TweenMode.NORMAL, 0.1), (TweenMode.STEP, 0.03)):
    learner = make_learner("agents", mode, "f32", rate, "cpu")
    learner.start(first)
    costs = CostModel().of("agents", mode, batch=learner.block, parts=learner.parts)
    found[mode] = trial = run_trial(learner, seen, costs)
    print(f"{mode.value:6} all right {trial.accuracy:4.1f}%, each {trial.each:4.1f}%, score {trial.score:.2f}")
    print(f"       it answers in {trial.availability:.0%} of the time, {trial.throughput:.0f} times a second")

blocked, step = found[TweenMode.NORMAL], found[TweenMode.STEP]
assert step.availability == 1.0 > blocked.availability
assert step.accuracy > blocked.accuracy
assert step.each > 40 > step.accuracy  # four that are right one by one are seldom right together
assert step.score > 4 * blocked.score
