#!/bin/sh
# The device suite: bits first, then figures. Runs on a machine with an NVIDIA GPU and a python3 that has numpy,
# llvmlite and cupy. What bench/device/carry.sh has fetched is installed first: the Vulkan loader and its binding.
# Exits 1 if a single bit differs.
#   bench/device/run.sh [--seeds N] [--gpu-only] [--no-bits] [--no-figures]
#   bench/device/run.sh --parts SECONDS [PART ..]     what else is measured on a GPU, within SECONDS (parts.py)
set -eu
cd "$(dirname "$0")/../.."
carried=.venv/carry
site=/tmp/loom-device-site
if [ -d $carried ]; then
    for package in $carried/debs/*.deb; do dpkg -x "$package" /; done
    ldconfig
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target $site $carried/wheels/*.whl
fi
icd=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
if [ -f $icd ] && [ -z "${VK_DRIVER_FILES:-}" ]; then export VK_DRIVER_FILES=$icd; fi
export PYTHONPATH="src:bench/device:.:$site:${PYTHONPATH:-}" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
export LOOM_CACHE_DIR="${TMPDIR:-/tmp}/loom-device-cache"
if [ "${1:-}" = --parts ]; then shift; exec python3 bench/device/parts.py "$@"; fi
exec python3 bench/device/suite.py "$@"
