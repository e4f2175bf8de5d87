#!/bin/bash
# Ten minutes of a GPU, well spent: what must be right, then what is open in the speed table, then training to the end.
#   BUDGET_S=560 OUT=results bash scripts/gpu_session.sh [molecules]
# The parts each have a limit, and what they find is under $OUT at once, so that a killed session loses the part in hand
# only. RUNS: where the runs go (they can go on: --resume of scripts/train_rmd17.py). Further molecules train side by side.
set -u
cd "$(dirname "$0")/.."
begin=$(date +%s)
PYTHON=${PYTHON:-python3} OUT=${OUT:-gpu_session} RUNS=${RUNS:-/tmp/rmd17} BUDGET_S=${BUDGET_S:-560}
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
mkdir -p "$OUT"
left() { echo $((BUDGET_S - $(date +%s) + begin)); }
keep() { tar czf "$OUT/rmd17.tgz.new" --exclude=checkpoints -C "$RUNS" . 2>/dev/null && mv "$OUT/rmd17.tgz.new" "$OUT/rmd17.tgz"; }

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
# 1. recorded steps of MD and of training, alone and side by side, against what is not recorded
if timeout -k 5 110 "$PYTHON" -m pytest -p no:cacheprovider -m gpu -q tests/unit/training/test_steps.py \
        tests/unit/training/test_together.py tests/unit/md/test_blocks.py > "$OUT/tests.log" 2>&1; then
    side_by_side=yes
else
    side_by_side=no; echo "GPU tests failed: one molecule at a time"; tail -n 15 "$OUT/tests.log"
fi
# 2. rows without a figure, or with one that a later change should better
timeout -k 5 90 "$PYTHON" benchmarks/run.py cuda --only md-64 train-5 box-10000 --out "$OUT/cuda.json" --budget-s 60
# 3. training to its end: what imports and compilation take is taken off, tests included
molecules=("$@"); [ $# -gt 0 ] || molecules=(aspirin ethanol)
[ $side_by_side = yes ] || molecules=("${molecules[0]}")
(while sleep 30; do keep; done) & keeper=$!
timeout -k 5 "$(left)" "$PYTHON" scripts/train_rmd17.py "${molecules[@]}" --runs "$RUNS" --within "$(($(left) - 25))" \
    --give-up-after 100 2>&1 | tee "$OUT/train.log"
kill $keeper; keep
