"""Digits trained by real workers: any number of them, killed at any moment, of two kinds of devices, audited."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets

import loom
from loom.core.errors import DeviceError
from loom.workers import WorkerPool
from loom.workers.worker import DeviceWorker

DOCUMENT = {
    "format": "loom/1", "input": {"shape": [64]}, "seed": 3,
    "layers": [{"type": "dense", "output_size": 48, "activation": "relu"}, {"type": "dense", "output_size": 10}],
}  # fmt: skip
SETTINGS: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 32, "micro_batch": 4}


def train(epochs: int = 2, **told: Any) -> str:
    net = loom.Network.from_json(DOCUMENT, on="cpu")
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    net.train((x[:1437] / 16).astype(np.float32), y[:1437], epochs=epochs, **SETTINGS | told)
    return net.digest()


@pytest.fixture(scope="module")
def alone() -> str:
    return train()


def test_two_workers_have_the_digest_of_one_process(pool: WorkerPool, alone: str) -> None:
    assert train(workers=pool) == alone
    assert len([row for row in pool.status() if row["state"] == "ready"]) == 2


def test_a_worker_killed_while_it_trains_changes_nothing(pool: WorkerPool, alone: str) -> None:
    victim = next(row["pid"] for row in pool.status() if row["state"] == "ready")
    timer = threading.Timer(0.1, os.kill, (victim, signal.SIGKILL))
    timer.start()
    assert train(workers=pool) == alone
    timer.join()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3, 5])
def test_any_number_of_workers(pool: WorkerPool, alone: str, workers: int) -> None:
    while len(pool) < workers:
        pool.add()
    for row in pool.status():
        if row["state"] == "ready" and len(pool) > workers:
            pool.remove(row["worker"])
    assert pool.wait() == workers
    assert train(workers=pool) == alone


@pytest.mark.slow
def test_a_worker_killed_in_each_of_twenty_moments(pool: WorkerPool, alone: str) -> None:
    """Forward, backward, between steps: wherever the signal meets it."""
    dice = random.Random(1)
    for _ in range(20):
        done = threading.Event()

        def kill_one(after: float, done: threading.Event) -> None:
            if not done.wait(after):
                os.kill(dice.choice([r["pid"] for r in pool.status() if r["state"] == "ready"]), signal.SIGKILL)

        killer = threading.Thread(target=kill_one, args=(dice.uniform(0.0, 0.6), done))
        killer.start()
        digest = train(workers=pool)
        done.set()
        killer.join()
        assert digest == alone
    assert sum(row["state"] == "lost" for row in pool.status()) >= 10


@pytest.mark.slow
def test_processors_and_gpus_together(pool: WorkerPool, alone: str) -> None:
    try:
        loom.device("vulkan")
    except DeviceError as error:
        pytest.skip(str(error))
    added = [pool.add("vulkan"), pool.add("vulkan")]
    pool.wait()
    for _ in range(12):  # until those that compile longest have had their share
        assert train(workers=pool) == alone
        rows = [pool.status()[n] for n in added]
        if all(row["calls"] for row in rows):
            break
    assert [(row["state"], row["calls"] > 0) for row in rows] == [("ready", True)] * 2
    for number in added:
        pool.remove(number)


class FlippingWorker(DeviceWorker):
    """Worker 1 flips one bit of the largest gradient of all that it sums up."""

    def __init__(self, number: int, device: str, threads: int) -> None:
        super().__init__(number, device, threads)
        from loom.nn.train.parallel import MicroPrograms

        where: Any = MicroPrograms
        collect = where.collect

        def flip(programs: MicroPrograms, *arguments: Any) -> None:
            collect(programs, *arguments)
            gradient = next(t for name, t in programs.levels[0].items() if name.startswith("grad/"))
            array = gradient.numpy()
            array.reshape(-1).view(np.uint32)[np.abs(array).argmax()] ^= np.uint32(1)
            gradient.assign(array)

        if number == 1:
            where.collect = flip


@pytest.mark.slow
def test_a_flipped_bit_is_found_within_an_epoch(pool: WorkerPool) -> None:
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    wanted = train(1)
    for seed in range(10):
        flipping = WorkerPool(3, audit=0.05, seed=seed, device="cpu", actor=FlippingWorker)
        with flipping:
            with pytest.warns(UserWarning, match=r"worker 1 .* gave a wrong result"):
                assert train(1, workers=flipping) == wanted
            assert [fault.worker for fault in flipping.faults] == [1]
            assert flipping.status()[1]["calls"] <= 45 + 3


class WrongJoins(DeviceWorker):
    """Worker 1 adds wrongly wherever it makes a slice of what all workers of a node take."""

    def __init__(self, number: int, device: str, threads: int) -> None:
        super().__init__(number, device, threads)
        from loom.nn.train.parallel import courses

        join = courses.join

        def wrong(parts: Any, count: int) -> Any:
            found = join(parts, count)
            for sums in found:
                for name, array in sums.arrays.items():
                    if name.startswith("grad/") and array.size and number == 1:
                        array = np.array(array)
                        array.reshape(-1).view(np.uint32)[np.abs(array).argmax()] ^= np.uint32(1 << 12)
                        sums.arrays[name] = array
                        break
            return found

        courses.join = wrong


@pytest.mark.slow
def test_wrong_sums_in_shared_memory_are_found(pool: WorkerPool, alone: str) -> None:
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with WorkerPool(3, audit=0.05, seed=1, device="cpu", actor=WrongJoins) as wrong:
        with pytest.warns(UserWarning, match=r"worker 1 .* gave a wrong result"):
            assert train(workers=wrong) == alone
        assert [fault.worker for fault in wrong.faults] == [1]
        assert wrong.faults[0].call <= 41
        assert train(5, workers=wrong) == train(5)
        assert len(wrong.faults) == 1


DRIVER = """
import sys
sys.path[:0] = {path!r}
from unit.cluster.test_training import train
import loom
if __name__ == "__main__":
    with loom.cluster.connect(2, store_nbytes=300 << 20, device="cpu") as pool:
        print("open", flush=True)
        train(60, workers=pool, checkpoint={folder!r}, resume=True)
"""


@pytest.mark.slow
def test_a_driver_killed_goes_on_with_other_workers(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(path=sys.path, folder=str(folder)))
    driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "open\n"
        while not (folder / "manifest.json").exists():
            assert driver.poll() is None
            time.sleep(0.02)
        time.sleep(0.5)
    finally:
        driver.kill()
        driver.communicate()
    time.sleep(3)
    assert train(60, workers=["cpu"], checkpoint=folder, resume=True) == train(60)
