"""What may happen to a Ray and to the machine under it; each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BEGIN = """
import os, resource, shutil, signal, subprocess, sys, threading, time
from pathlib import Path
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
sys.path[:0] = {path!r}
folder = Path({folder!r})
import loom
from unit.cluster.test_training import train

def told(work):
    try:
        return work()
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
"""


def printed(tmp_path: Path, script: str) -> list[str]:
    """Return what a script prints that begins with ``=``."""
    path = tmp_path / "script.py"
    path.write_text(BEGIN.format(path=sys.path, folder=str(tmp_path / "kept")) + script)
    out, errors = tmp_path / "out", tmp_path / "errors"  # no pipes: agents of a lost Ray outlive it, and hold them
    with out.open("w") as said, errors.open("w") as failed:
        process = subprocess.Popen([sys.executable, str(path)], stdout=said, stderr=failed, start_new_session=True)
        try:
            assert process.wait(200) == 0, errors.read_text()[-2000:]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return [line[2:] for line in out.read_text().splitlines() if line.startswith("= ")]


def test_a_ray_that_the_user_began_is_used_and_left(tmp_path: Path) -> None:
    found = printed(
        tmp_path,
        """
if __name__ == "__main__":
    import ray
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    with loom.cluster.connect(2, device="cpu") as pool:
        print("=", train(workers=pool) == train(), loom.cluster.map(abs, [-1, 2], workers=pool))
    print("=", ray.is_initialized(), ray.get(ray.put(3)))
    print("=", told(lambda: loom.cluster.connect(3)))
""",
    )
    assert found[:2] == ["True [1, 2]", "True 3"]
    assert found[2].startswith("DeviceError: [loom.cluster.connect] Ray has not what these workers need: expected 3")


def test_a_worker_that_dies_is_no_page_of_ray(tmp_path: Path) -> None:
    found = printed(
        tmp_path,
        """
if __name__ == "__main__":
    with loom.cluster.connect(2, store_nbytes=100 << 20, device="cpu") as pool:
        os.kill(pool.status()[0]["pid"], signal.SIGKILL)
        time.sleep(2)
        print("=", loom.cluster.map(abs, [-1, 2, 3], workers=pool), pool.status()[0]["state"])
        time.sleep(2)
""",
    )
    assert found == ["[1, 2, 3] lost"]
    assert "raylet" not in (tmp_path / "errors").read_text() + (tmp_path / "out").read_text()


def test_a_lost_head_is_told_and_the_checkpoint_goes_on(tmp_path: Path) -> None:
    found = printed(tmp_path, """
from loom.workers import members
members._SECONDS_BETWEEN_LOOKS, members._SECONDS_WITHOUT_HEAD = 1.0, 3.0

def kill():
    while not (folder / "manifest.json").exists():
        time.sleep(0.05)
    rows = subprocess.run(["ps", "-ewwo", "pid,ppid,args"], capture_output=True, text=True).stdout.splitlines()
    (head,) = [int(r.split()[0]) for r in rows if "gcs_server" in r and int(r.split()[1]) == os.getpid()]
    os.kill(head, signal.SIGKILL)

if __name__ == "__main__":
    with loom.cluster.connect(2, store_nbytes=100 << 20, device="cpu") as pool:
        threading.Thread(target=kill, daemon=True).start()
        print("=", told(lambda: train(100000, workers=pool, checkpoint=folder)))
    from loom.nn.train.loop.checkpoints import read_checkpoint
    epochs = read_checkpoint(folder).facts["epoch"] + 1
    print("=", train(epochs, checkpoint=folder, resume=True) == train(epochs))
""")  # fmt: skip
    assert found[0].startswith("DeviceError: [loom.cluster.connect] Ray's head is gone: expected an answer at ")
    assert found[1:] == ["True"]


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    found = printed(
        tmp_path,
        """
if __name__ == "__main__":
    with loom.cluster.connect(2, store_nbytes=100 << 20, device="cpu") as pool:
        train(1, workers=pool, checkpoint=folder)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        print("=", told(lambda: train(3, workers=pool, checkpoint=folder, resume=True)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        print("=", train(3, workers=pool, checkpoint=folder, resume=True) == train(3))
""",
    )
    assert "CheckpointError: [train, checkpoint] cannot write to" in found[0]
    assert "The checkpoint before is still there" in found[0]
    assert found[1:] == ["True"]


def test_a_worker_that_is_interrupted_is_replaced(tmp_path: Path) -> None:
    found = printed(
        tmp_path,
        """
def interrupt(pids, done):
    while not done.wait(0.3):
        os.kill(pids.pop(), signal.SIGINT)
        if not pids:
            return

if __name__ == "__main__":
    with loom.cluster.connect(2, store_nbytes=100 << 20, device="cpu") as pool:
        done = threading.Event()
        pids = [row["pid"] for row in pool.status()]
        threading.Thread(target=interrupt, args=(pids, done), daemon=True).start()
        print("=", train(30, workers=pool) == train(30))
        done.set()
""",
    )
    assert found == ["True"]


def test_ctrl_c_ends_a_map_and_leaves_no_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        BEGIN.format(path=sys.path, folder=str(tmp_path))
        + """
def work(n):
    (folder / "begun").touch()
    time.sleep(100)

if __name__ == "__main__":
    with loom.cluster.connect(2, store_nbytes=100 << 20, device="cpu") as pool:
        loom.cluster.map(work, range(4), workers=pool)
"""
    )
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        while not (tmp_path / "begun").exists():
            assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode in (130, -signal.SIGINT)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    left = subprocess.run(["ps", "-o", "args=", "-g", str(process.pid)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
