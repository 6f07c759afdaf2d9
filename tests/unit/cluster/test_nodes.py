"""Several Ray nodes on this machine, one of which is killed; and Ctrl-C. Each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

NODES = """
import os, sys, threading
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
sys.path[:0] = {path!r}
from ray.cluster_utils import Cluster
import loom
from unit.cluster.test_training import train

if __name__ == "__main__":
    alone = train(8)
    cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 2, "object_store_memory": 100 << 20}})
    node = cluster.add_node(num_cpus=2, object_store_memory=100 << 20)
    try:
        with loom.cluster.connect(4, address=cluster.address, device="cpu") as pool:
            workers = loom.cluster.status()["workers"]
            print("nodes", len(set(w["node"] for w in workers)))
            print("same", train(8, workers=pool) == alone)
            timer = threading.Timer(0.4, lambda: cluster.remove_node(node, allow_graceful=False))
            timer.start()
            print("same without one", train(8, workers=pool) == alone)
            timer.join()
    finally:
        cluster.shutdown()
"""


@pytest.mark.slow
def test_a_node_killed_changes_no_bit(tmp_path: Path) -> None:
    script = tmp_path / "nodes.py"
    script.write_text(NODES.format(path=sys.path))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=200, check=False)
    told = [line for line in done.stdout.splitlines() if line.startswith(("nodes", "same"))]
    assert told == ["nodes 2", "same True", "same without one True"], done.stderr[-2000:]


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_no_process(tmp_path: Path) -> None:
    """As a terminal does it: the signal meets every process of the group."""
    layers = [{"type": "dense", "output_size": 10}]
    (tmp_path / "net.json").write_text(json.dumps({"format": "loom/1", "input": {"shape": [64]}, "layers": layers}))
    words = ["train", "net.json", "--data", "digits", "--micro-batch", "8", "--epochs", "100000", "--workers", "2",
             "--checkpoint", "kept"]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "loom", *words], cwd=tmp_path, start_new_session=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        end = time.monotonic() + 100
        while not (tmp_path / "kept/manifest.json").exists() and time.monotonic() < end:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, told) == (130, "interrupted; resume with --checkpoint kept\n")
    left = subprocess.run(
        ["ps", "-o", "pid=,args=", "-g", str(process.pid)], capture_output=True, text=True, check=False
    )
    assert left.stdout == ""
