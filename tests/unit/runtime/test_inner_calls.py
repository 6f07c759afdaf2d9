"""Calls of Loom in the middle of calls of Loom, by the same thread: finalizers, handlers of signals, what is printed.

Each runs in a process of its own, which a hang would end by the limit of ``outcome``. Oracles: how often each array was
written, counted beside the call, and Python's own arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

Outcome = Callable[..., str]

KERNELS = """
import gc, random

gc.collect()

@loom.kernel
def bump(x: loom.InOut[loom.f32], n: loom.f32):
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] + n

@loom.kernel
def say(x: loom.InOut[loom.f32]):
    i = loom.global_id()
    if i == 0:
        print(x[i])
    if i < len(x):
        x[i] = x[i] + 1.0
"""

GENERATOR = (
    KERNELS
    + """
how, seed, seconds = DRAWN
DOCUMENT = {
    "format": "loom/1",
    "input": {"shape": [4]},
    "layers": [{"type": "dense", "output_size": 5, "activation": "tanh"}, {"type": "dense", "output_size": 3}],
}

def double(v):
    return v * 2.0

class State:
    def __init__(self):
        self.memory = {n: np.zeros(n, np.float32) for n in (7, 5000, 70_000)}
        self.calls = dict.fromkeys(self.memory, 0)
        self.tensor, self.writes = loom.array(np.zeros(16, np.float32)), 0
        self.bound, self.runs = np.zeros(33, np.float32), 0
        chain = loom.Chain()
        chain.dispatch(bump, [self.bound], [1.0])
        self.program = chain.build()
        self.ones = np.ones(3000, np.float32)
        self.network = loom.Network.from_json(DOCUMENT)
        self.input = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
        self.wanted = np.asarray(self.network.predict(self.input))

    def do(self, kind, draw):
        if kind == "call":
            n = draw.choice(list(self.memory))
            bump(self.memory[n], 1.0)
            self.calls[n] += 1
        elif kind == "sum":
            assert loom.gpu_sum(self.ones) == 3000.0
        elif kind == "map":
            assert (loom.gpu_map(self.ones, double) == 2.0).all()
        elif kind == "item":
            assert (loom.array(np.arange(5, dtype=np.float32)) * 3.0)[2].item() == 6.0
        elif kind == "run":
            self.program.run()
            self.runs += 1
        elif kind == "write":
            bump(self.tensor, 1.0)
            self.writes += 1
        elif kind == "network":
            assert (np.asarray(self.network.predict(self.input)) == self.wanted).all()

    def check(self):
        for n, memory in self.memory.items():
            assert (memory == self.calls[n]).all(), (n, memory[0], self.calls[n])
        assert (np.asarray(self.tensor) == self.writes).all(), (self.tensor, self.writes)
        assert (self.bound == self.runs).all(), (self.bound[0], self.runs)

KINDS = ["call", "sum", "map", "item", "run", "write", "network"]
outer, inner = State(), State()
ours, theirs = random.Random(seed), random.Random(seed + 1)
for kind in KINDS:  # all that these need is loaded
    for state in (outer, inner):
        state.do(kind, ours)
depth, count, failed = 0, 0, []
in_place = os.environ["LOOM_DEVICE"] == "cpu"  # elsewhere arrays are copied there and back: what comes between is lost
deepest, states = (1, [outer, inner]) if in_place else (0, [inner])

def within():
    global depth, count
    if depth > deepest:
        return
    depth += 1
    try:
        theirs.choice(states).do(theirs.choice(KINDS), theirs)
        count += 1
    except BaseException as error:
        failed.append(error)
    finally:
        depth -= 1

class Resource:
    def __init__(self):
        self.me = self

    def __del__(self):
        within()

if how == "finalizers":
    gc.set_threshold(20, 2, 2)
else:
    signal.signal(signal.SIGALRM, lambda *_: within())
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0013)
until = time.monotonic() + seconds
while time.monotonic() < until and not failed:
    if how == "finalizers":
        Resource()
    outer.do(ours.choice(KINDS), ours)
signal.setitimer(signal.ITIMER_REAL, 0)
gc.disable()
depth = 9
if failed:
    raise failed[0]
outer.check()
inner.check()
assert count > 5, count
print("whole", flush=True)
os._exit(0)
"""
)


@pytest.mark.parametrize("native", ["0", "1"])
@pytest.mark.parametrize("how", ["finalizers", "signals"])
@pytest.mark.parametrize("device", ["cpu", "vulkan"])
def test_calls_in_the_middle_of_calls_drawn(outcome: Outcome, device: str, how: str, native: str) -> None:
    for seed in (1, 2):
        script = GENERATOR.replace("DRAWN", repr((how, seed, 3)))
        assert outcome(script, LOOM_NATIVE=native, LOOM_DEVICE=device) == "whole\n"


@pytest.mark.parametrize("native", ["0", "1"])
def test_a_finalizer_calls_the_kernel_that_is_called(outcome: Outcome, native: str) -> None:
    out = outcome(
        KERNELS
        + """
x, y, made, ended = np.zeros(100_000, np.float32), np.zeros(100_000, np.float32), 0, 0

class Resource:
    def __init__(self):
        self.me = self

    def __del__(self):
        global ended
        ended += 1
        bump(y, 1.0)

for _ in range(3):
    bump(x, 1.0)
while made < 4000:
    Resource()
    bump(x, 1.0)
    made += 1
gc.disable()
assert (x == made + 3).all() and (y == ended).all() and ended > 1000
print("whole", flush=True)
os._exit(0)
""",
        LOOM_NATIVE=native,
    )
    assert out == "whole\n"


@pytest.mark.parametrize("native", ["0", "1"])
def test_what_a_kernel_prints_to_calls_it(outcome: Outcome, native: str) -> None:
    out = outcome(
        KERNELS
        + """
x, y, told, out = np.zeros(9, np.float32), np.full(9, 40, np.float32), [], sys.stdout

class Teller:
    busy = False

    def write(self, text):
        told.append(text.strip())
        if not self.busy:
            self.busy = True
            say(y)
            self.busy = False

    def flush(self):
        pass

for _ in range(4):
    sys.stdout = Teller()
    say(x)
    sys.stdout = out
assert (x == 4).all() and (y > 40).all()
print([each for each in told if each.startswith(("0", "1", "2", "3"))])
""",
        LOOM_NATIVE=native,
    )
    assert out == "['0.0', '1.0', '2.0', '3.0']\n"


def test_who_prints_has_no_lock_that_another_thread_needs(outcome: Outcome) -> None:
    out = outcome(
        KERNELS
        + """
x, y, over, out = np.zeros(9, np.float32), np.zeros(9, np.float32), threading.Event(), sys.stdout
chain = loom.Chain()
chain.dispatch(say, [x])
program = chain.build()

class Teller:
    def write(self, text):
        if text.strip():
            other = threading.Thread(target=lambda: (program.timeline.in_flight, over.set()))
            other.start()
            told.append(over.wait(10))

    def flush(self):
        pass

told = []
sys.stdout = Teller()
program.run()
sys.stdout = out
print(told)
"""
    )
    assert out == "[True]\n"


def test_a_call_in_the_middle_of_the_first_call_is_refused(outcome: Outcome) -> None:
    out = outcome(
        KERNELS
        + """
import importlib.abc

class Within(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "loom.runtime.calls.interface":
            for call in (lambda: bump(np.zeros(4, np.float32), 1.0), lambda: getattr(loom, "gpu_sum")):
                try:
                    call()
                except loom.LoomError as error:
                    print(error)
                except AttributeError as error:
                    raise SystemExit(f"Python's own words: {error}")
                else:
                    print("fine")

sys.meta_path.insert(0, Within())
x = np.zeros(4, np.float32)
bump(x, 1.0)
print(x[0])
"""
    )
    first, _, last = out.splitlines()
    assert first == (
        "[kernel 'bump'] it is called in the middle of loading what it needs, by a finalizer or a handler of signals: "
        "expected calls that come later, got half of loom.runtime.calls.launch. Call it once before anything that may "
        "call it at any moment is set up."
    )
    assert last == "1.0"
