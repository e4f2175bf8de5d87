#!/bin/bash
# Ten minutes of a GPU for students: frames where the dynamics of the shipped models goes, labelled by these models
# (toolkit distill), then a network of the same size that learns from them, one for each molecule, side by side.
#   BUDGET_S=560 OUT=results bash scripts/gpu_students.sh [aspirin ethanol]
# Everything ends in BUDGET_S; finished models are under $OUT as they come. RUNS: where runs go (they can go on: --resume of
# scripts/train_rmd17.py). TEACHERS_aspirin, TEACHERS_ethanol: the teachers of each; alone one is worth little, see
# docs/training.md.
set -u
cd "$(dirname "$0")/.."
begin=$(date +%s)
PYTHON=${PYTHON:-python3} OUT=${OUT:-gpu_students} RUNS=${RUNS:-/tmp/students} BUDGET_S=${BUDGET_S:-560}
DEVICE=${DEVICE:-cuda} DATA=${DATA:-../shared/data/rmd17}
SAMPLING=${SAMPLING:---trajectories 64 --ps 12.5 --every-fs 40 --timestep-fs 1.0 --copies 3}
TRAINING=${TRAINING:---set batch_size=20}
TEACHERS_aspirin=${TEACHERS_aspirin:-aspirin_accurate aspirin_xtb_dft} TEACHERS_ethanol=${TEACHERS_ethanol:-ethanol}
SAMPLER_aspirin=${SAMPLER_aspirin:-aspirin} SAMPLER_ethanol=${SAMPLER_ethanol:-ethanol_s}
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
mkdir -p "$OUT" "$RUNS"
left() { echo $((BUDGET_S - $(date +%s) + begin)); }
keep() { tar czf "$OUT/students.tgz.new" --exclude=checkpoints -C "$RUNS/models" . 2>/dev/null && mv "$OUT/students.tgz.new" "$OUT/students.tgz"; }

molecules=("$@"); [ $# -gt 0 ] || molecules=(aspirin ethanol)
for molecule in "${molecules[@]}"; do
    teachers=TEACHERS_$molecule sampler=SAMPLER_$molecule
    # shellcheck disable=SC2086
    timeout -k 5 200 "$PYTHON" -m toolkit distill ${!teachers} --sampler "${!sampler}" $SAMPLING --device "$DEVICE" \
        -o "$RUNS/frames/$molecule" > "$OUT/distill_$molecule.log" 2>&1 &
done
wait
echo "frames after $((BUDGET_S - $(left))) s"; tail -n 4 "$OUT"/distill_*.log
(while sleep 30; do keep; done) & keeper=$!
# shellcheck disable=SC2086
timeout -k 5 "$(left)" "$PYTHON" scripts/train_rmd17.py "${molecules[@]}" --frames "$RUNS/frames" --data "$DATA" \
    --runs "$RUNS/models" --set "max_train_s=$(($(left) - 75))" --set validate_every_epochs=1 --set "device=$DEVICE" \
    $TRAINING --give-up-after 100 2>&1 | tee "$OUT/train.log"
kill $keeper 2>/dev/null; keep
