#!/bin/bash
# Full stability records: 64 replicas x 100 ps at 500 and 300 K of the shipped models, two at a time, so that on a GPU one
# compiles while the other computes. Each record is on its card as soon as it is complete, and under $OUT.
#   BUDGET_S=560 OUT=records bash scripts/stability_records.sh [ethanol aspirin_accurate ...]
# A simulation that was cut off goes on where RUNS is still there. PS, TEMPERATURES, DEVICE: to try it out.
# On a CPU a small model can make the steps of 1 fs in between, which takes a quarter of the time; one temperature a core:
#   DEVICE=cpu INNER_STEPS=6 BUDGET_S=9000 TEMPERATURES=500 bash scripts/stability_records.sh ethanol aspirin_accurate
set -u
cd "$(dirname "$0")/.."
begin=$(date +%s)
export PYTHON=${PYTHON:-python3} OUT=${OUT:-records} RUNS=${RUNS:-/tmp/stability} DATA=${DATA:-../shared/data/rmd17}
export PS=${PS:-100} TEMPERATURES=${TEMPERATURES:-500,300} DEVICE=${DEVICE:-cuda} INNER_STEPS=${INNER_STEPS:-1}
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 END=$((begin + ${BUDGET_S:-560}))
mkdir -p "$OUT" "$RUNS"

record() {
    left=$((END - $(date +%s)))
    [ $left -gt 20 ] || { echo "no time left for $1"; return; }
    frames=$DATA/rmd17_${1%%_*}_test_01.npz
    run=$RUNS/$1.$TEMPERATURES
    resume=(); [ -e "$run/status.json" ] && resume=(--resume)
    inner=(); [ "$INNER_STEPS" = 1 ] || case $1 in  # the smallest model of the same molecule
        ethanol*) inner=(--inner-model ethanol_s --inner-steps "$INNER_STEPS");;
        aspirin*) inner=(--inner-model aspirin --inner-steps "$INNER_STEPS");;
    esac
    timeout -k 10 $((left - 10)) "$PYTHON" -m toolkit stability "$1" "$frames" --data "$frames" \
        --reference-temperature-K 500 --temperatures-K "$TEMPERATURES" --replicas 64 --ps "$PS" \
        --timestep-fs "$INNER_STEPS" "${inner[@]}" --save-every-fs 48 --device "$DEVICE" -o "$run" "${resume[@]}" --record \
        > "$OUT/$1.log" 2>&1
    code=$?
    echo "$1: exit $code, $(($(date +%s) - END + ${BUDGET_S:-560})) s from the beginning"; tail -n 3 "$OUT/$1.log"
    [ $code -ne 0 ] || tar czf "$OUT/$1.tgz" -C trained_models "$1/stability.json" "$1/CARD.md"
}
export -f record
models=("$@"); [ $# -gt 0 ] || models=(ethanol aspirin_accurate ethanol_m aspirin aspirin_xtb_dft)
printf '%s\n' "${models[@]}" | xargs -P 2 -I{} bash -c 'record {}'
