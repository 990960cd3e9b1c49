#!/usr/bin/env bash
# Builds, tests and times the Vulkan operator: benches/gpu.sh [DEVICE [SIDE…]]
#
# DEVICE is `auto`, the first GPU, or an index or a part of a name as in `dia subtract --backend vulkan:DEVICE`; `llvmpipe` is the software
# device. SIDE is the size of a field: 512 1024 2048 4096 where none is given. The tests run on the first device of the listing.
#
# The programs are left in target/gpu: a machine without Rust runs those that lie there. PROFILE=dev is faster to build and slower to run.
set -euo pipefail
cd "$(dirname "$0")/.."

device="${1:-auto}"
sides=("${@:2}")
programs=target/gpu

if command -v cargo >/dev/null; then
    mkdir -p "$programs"
    rm -f "$programs"/*
    cargo=(--profile "${PROFILE:-release}" --locked)
    cargo test "${cargo[@]}" -p dia-vulkan --lib --tests --no-run 2>&1 | tee /dev/stderr |
        sed -n 's/^ *Executable .*(\(.*\))$/\1/p' |
        while read -r test; do cp "$test" "$programs/test-$(basename "${test%-*}")"; done
    cargo build "${cargo[@]}" -p dia-benches --bin gpu --message-format=json-render-diagnostics |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | xargs -I{} cp {} "$programs/gpu"
    { git describe --always --dirty; rustc --version; } >"$programs/versions"
fi

cat "$programs/versions"
if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,memory.total --format=csv || true
fi

for test in "$programs"/test-*; do
    printf '\n== %s\n' "$(basename "$test")"
    DIA_REQUIRE_VULKAN=1 "$test" --quiet
done

printf '\n== times\n'
"$programs/gpu" "$device" "${sides[@]}"

printf '\n== yardstick\n'
if python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    python3 benches/conv2d.py "${sides[@]}"
else
    echo "PyTorch with a GPU is not here: not measured"
fi
