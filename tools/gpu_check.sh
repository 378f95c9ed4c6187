#!/bin/bash
# What only a GPU can show, in one go, each part under its own limit and none in the way of the next:
# the CUDA tests, the benchmark, and the published ACDC schedule of BCP against its goal of 4 minutes
# (the goal counts loading and validation every 200 steps).
#
#   bash tools/gpu_check.sh OUT [FOLDER]     FOLDER: ACDC as h5; without it the phantom, trained
#                                            at the same size, but with 12 small validation volumes
#   DEVICE=cpu PRESET=toy BENCH=--quick RECORD= bash tools/gpu_check.sh OUT     a rehearsal
set -uo pipefail
out=${1:?OUT: a folder for logs and numbers}
data=(--source phantom)
[ $# -gt 1 ] && data=(--source acdc --root "$(realpath "$2")")
mkdir -p "$out" && out=$(cd "$out" && pwd) && cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3} device=${DEVICE:-cuda} failed=0

part() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    timeout "$limit" "$@" >"$out/$name.log" 2>&1
    local rc=$?
    [ $rc = 0 ] || failed=1
    echo "== $name: exit $rc (124: over its $limit s) after $((SECONDS - start)) s"
    tail -n 60 "$out/$name.log" | cut -c1-200
}

part tests 150 "$python" -m pytest -q tests/test_cuda.py
part bench 150 "$python" -m benchmarks --device "$device" "${data[@]}" ${BENCH-} --json "$out/bench.json"
part bcp 270 "$python" -m buarl train --device "$device" "${data[@]}" --preset "${PRESET:-paper}" \
    --labeled 7 ${RECORD---record} --validate 200 --out "$out/bcp"
part doctor 30 "$python" -m buarl doctor
exit $failed
