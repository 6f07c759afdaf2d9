#!/bin/sh
# Fetches what bench/device/run.sh needs on a machine that reaches no registry: the Vulkan loader with what NVIDIA's
# driver links against, and wheels of the Vulkan binding, the command line and the demo's data for its python3 (3.12, x86-64).
#   bench/device/carry.sh [FOLDER]      default .venv/carry, which git ignores
set -eu
folder=$(realpath -m "${1:-$(dirname "$0")/../../.venv/carry}")
mkdir -p "$folder/debs" "$folder/wheels" "$folder/lists/partial"
amd64="-oAPT::Architecture=amd64 -oAPT::Architectures=amd64 -oDir::State::Lists=$folder/lists"
apt-get -q $amd64 update
(cd "$folder/debs" && apt-get -q $amd64 download libvulkan1 libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2)
rm -r "$folder/lists"
platforms=""
for glibc in 2_28 2_17; do platforms="$platforms --platform manylinux_${glibc}_x86_64"; done
python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    $platforms --platform manylinux2014_x86_64 -d "$folder/wheels" \
    cffi pycparser vulkan==1.3.275 typer rich platformdirs pydantic pydantic-core annotated-types annotated-doc \
    typing-inspection typing_extensions shellingham scikit-learn joblib threadpoolctl wgpu==0.32.0 sniffio rendercanvas \
    "cuda-bindings>=12.8,<14" cuda-pathfinder
du -sh "$folder"
