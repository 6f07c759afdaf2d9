"""The runtime among processes: Ctrl-C, forks, and the end of the interpreter while something runs."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

Start = Callable[..., "subprocess.Popen[str]"]
Outcome = Callable[..., str]


def interrupted(process: subprocess.Popen[str]) -> tuple[str, str, float]:
    """Send SIGINT when the script says so; return what it printed and how long it took to end."""
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    time.sleep(0.15)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return out, err, time.monotonic() - began


def test_ctrl_c_ends_a_run_and_the_process(start: Start) -> None:
    process = start("program = steps(x, 1_000_000, 100_000)\nprint('running')\nprogram.run()\nprint('not reached')")
    out, err, seconds = interrupted(process)
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert (process.returncode, out) == (-signal.SIGINT, "")
    assert seconds < 5


def test_ctrl_c_stops_a_run_at_a_dispatch_and_leaves_the_chain_usable(start: Start) -> None:
    script = """
    program = steps(x, 100_000, 100_000)
    print("running")
    try:
        program.run()
    except KeyboardInterrupt:
        print("interrupted")
    program.free()
    done = int(x[0])
    time.sleep(0.02)
    print(done > 0, done % 100_000, int(x[0]) == done)
    x[0] = 0
    steps(x, 3, 10).run()
    print(x[0])
    """
    out, err, _ = interrupted(start(script))
    assert (err, out) == ("", "interrupted\nTrue 0 True\n30\n")


def test_ctrl_c_in_a_loop_of_short_runs_leaves_nothing_behind(start: Start) -> None:
    script = """
    program = steps(x, 20, 500_000)
    print("running")
    runs = 0
    try:
        while True:
            program.run()
            runs += 1
    except KeyboardInterrupt:
        pass
    x[0] = 0
    program.run()
    print(x[0])
    """
    out, err, _ = interrupted(start(script))
    assert (err, out) == ("", "10000000\n")


def test_ctrl_c_in_wait_leaves_the_work_running(start: Start) -> None:
    script = """
    submission = steps(x, 200).launch()
    print("running")
    try:
        submission.wait()
    except KeyboardInterrupt:
        print(submission.done)
    submission.wait()
    print(x[0])
    """
    out, err, _ = interrupted(start(script))
    assert (err, out) == ("", "False\n200000000\n")


def test_ctrl_c_on_the_interpreter(start: Start) -> None:
    process = start("program = steps(x, 100, on='interp')\nprint('running')\nprogram.run()")
    _, err, seconds = interrupted(process)
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert seconds < 5


def test_the_process_ends_while_runs_are_under_way(start: Start) -> None:
    process = start("a = steps(x, 1_000_000).launch()\nb = steps(np.zeros(1, np.uint32), 1_000_000).launch()")
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    assert time.monotonic() - began < 20  # both runs together would take hours


def test_an_exception_ends_the_process_while_a_run_is_under_way(start: Start) -> None:
    process = start("with loom.boot(1) as unit:\n    steps(x, 1_000_000).launch()\n    raise SystemExit('enough')")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "enough\n")


FORK = """
import warnings
warnings.simplefilter("ignore")

def in_child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(type(error).__name__, error)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_a_fork_runs_programs_built_before_it_and_new_ones(outcome: Outcome) -> None:
    out = outcome(
        FORK
        + """
old = steps(x, 200, 200_000)  # longer than a caller leads alone
old.run()

def work():
    old.run()
    print(x[0])
    old.launch().wait(30)
    print(x[0])
    y = np.zeros(1, np.uint32)
    steps(y, 3, 7).run()
    print(y[0])

in_child(work)
old.run()
print(x[0])
"""
    )
    assert out == "80000000\n120000000\n21\n80000000\n"


def test_a_fork_is_told_that_a_run_stayed_behind(outcome: Outcome) -> None:
    out = outcome(
        FORK
        + """
unit = loom.boot(1, name="ours")
unit.dispatch(spin, [400_000_000], bind={"x": "registers"})
submission = unit.build().launch()
in_child(submission.wait)
in_child(lambda: unit.read(0, 1))
in_child(lambda: print(unit.shutdown()))
print(unit.read(0, 1)[0])
"""
    )
    text = (
        "StateError [device 'cpu'] the run was under way when this process was forked, and its threads stayed behind. "
        "Wait for runs before a fork, or boot a new unit after it.\n"
    )
    assert out == text + text + "None\n400000000\n"


def test_a_fork_during_runs_of_other_threads_can_compute(outcome: Outcome) -> None:
    out = outcome(
        FORK
        + """
stop = threading.Event()
programs = [steps(np.zeros(1, np.uint32), 50, 1000) for _ in range(2)]
def busy(program):
    while not stop.is_set():
        program.run()
threads = [threading.Thread(target=busy, args=(p,)) for p in programs]
for t in threads: t.start()
time.sleep(0.05)
for _ in range(5):
    in_child(lambda: (steps(x, 4, 5).run(), print(x[0])))
stop.set()
for t in threads: t.join()
"""
    )
    assert out == "20\n" * 5


def test_other_threads_may_hold_runs_when_the_process_ends(outcome: Outcome) -> None:
    out = outcome(
        """
        program = steps(x, 1_000_000)
        threading.Thread(target=program.run, daemon=True).start()
        time.sleep(0.2)
        print("over")
        """
    )
    assert out == "over\n"


COMPILING = """
stop = threading.Event()
def compiling(first):
    while not stop.is_set():
        first += 1
        loom.gpu_sum(np.ones(first, np.float32))
        loom.gpu_map(np.ones(4, np.float32), lambda v, c=float(first): v * c)
threads = [threading.Thread(target=compiling, args=(1000 * 10**k,)) for k in range(2)]
for t in threads: t.start()
time.sleep(0.5)
"""


def test_a_fork_while_other_threads_compile_can_compile(outcome: Outcome) -> None:
    out = outcome(
        FORK
        + COMPILING
        + """
def work(n):
    signal.alarm(20)
    print(loom.gpu_sum(np.ones(5000 + n, np.float32)), loom.gpu_map(np.ones(2), lambda v: v * (n + 0.5)))
for n in range(6):
    in_child(lambda: work(n))
    time.sleep(0.05)
stop.set()
for t in threads: t.join()
"""
    )
    assert out == "".join(f"{5000.0 + n} [{n + 0.5} {n + 0.5}]\n" for n in range(6))


def test_a_pool_of_forks_computes_while_its_parent_compiles(outcome: Outcome) -> None:
    out = outcome(
        FORK
        + COMPILING
        + """
import multiprocessing
def work(n):
    y = np.zeros(1, np.uint32)
    steps(y, 2, n + 1).run()
    return int(y[0]), float(loom.gpu_sum(np.full(100 + n, 2.0)))
with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=2) as pool:
    print(pool.map_async(work, range(8), chunksize=1).get(25))
stop.set()
for t in threads: t.join()
"""
    )
    assert out == f"{[(2 * (n + 1), 2.0 * (100 + n)) for n in range(8)]}\n"
