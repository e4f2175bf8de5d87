#!/bin/bash
# Full stability records on a GPU: 64 replicas x 100 ps at 500 and 300 K of the shipped models, two at a time, so that one
# compiles while the other computes. Each record is on its card as soon as it is complete, and under $OUT.
#   BUDGET_S=560 OUT=records bash scripts/gpu_stability.sh [ethanol aspirin_accurate ...]
# A simulation that was cut off goes on where RUNS is still there. PS, TEMPERATURES, DEVICE: to try it out.
set -u
cd "$(dirname "$0")/.."
begin=$(date +%s)
export PYTHON=${PYTHON:-python3} OUT=${OUT:-records} RUNS=${RUNS:-/tmp/stability} DATA=${DATA:-../shared/data/rmd17}
export PS=${PS:-100} TEMPERATURES=${TEMPERATURES:-500,300} DEVICE=${DEVICE:-cuda} OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
export END=$((begin + ${BUDGET_S:-560}))
mkdir -p "$OUT" "$RUNS"

record() {
    left=$((END - $(date +%s)))
    [ $left -gt 20 ] || { echo "no time left for $1"; return; }
    frames=$DATA/rmd17_${1%%_*}_test_01.npz
    resume=(); [ -e "$RUNS/$1/status.json" ] && resume=(--resume)
    timeout -k 10 $((left - 10)) "$PYTHON" -m toolkit stability "$1" "$frames" --data "$frames" \
        --reference-temperature-K 500 --temperatures-K "$TEMPERATURES" --replicas 64 --ps "$PS" --timestep-fs 1.0 \
        --device "$DEVICE" -o "$RUNS/$1" "${resume[@]}" --record > "$OUT/$1.log" 2>&1
    code=$?
    echo "$1: exit $code, $(($(date +%s) - END + ${BUDGET_S:-560})) s from the beginning"; tail -n 3 "$OUT/$1.log"
    [ $code -ne 0 ] || tar czf "$OUT/$1.tgz" -C trained_models "$1/stability.json" "$1/CARD.md"
}
export -f record
models=("$@"); [ $# -gt 0 ] || models=(ethanol aspirin_accurate ethanol_m aspirin aspirin_xtb_dft)
printf '%s\n' "${models[@]}" | xargs -P 2 -I{} bash -c 'record {}'
