#!/bin/sh
# The device suite: bits first, then figures. Runs on a machine with an NVIDIA GPU and a python3 that has
# numpy, llvmlite and cupy; needs nothing installed. Exits 1 if a single bit differs.
#   bench/device/run.sh [--seeds N] [--quick] [--gpu-only]
set -eu
cd "$(dirname "$0")/../.."
export PYTHONPATH="src:tests:${PYTHONPATH:-}" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
export LOOM_CACHE_DIR="${TMPDIR:-/tmp}/loom-device-cache"
exec python3 bench/device/suite.py "$@"
