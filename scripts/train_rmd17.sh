#!/bin/bash
# Trains configs/rmd17_h200.yaml on the eight rMD17 molecules, in slices of under ten minutes that go on where the last
# stopped: call it again after any interruption. UNMEASURED: see the header of the recipe.
#   bash scripts/train_rmd17.sh                                          until all are done
#   SLICES=1 MOLECULES="aspirin ethanol" bash scripts/train_rmd17.sh     one slice only; exits 3 when there is more to do
# RUNS: where the runs go; further arguments go to `toolkit train`, the same ones each time.
set -uo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-.venv/bin/python}
RUNS=${RUNS:-runs/rmd17}
MOLECULES=${MOLECULES:-aspirin ethanol benzene malonaldehyde naphthalene salicylic toluene uracil}
SLICE_S=${SLICE_S:-570}
slices=${SLICES:-0}

source_of() { # file of a molecule's training or test frames: the shared copy where there is one, else the catalogue
    local file=../shared/data/rmd17/rmd17_$1_$2_01.npz
    if [ -f "$file" ]; then echo "$file"; elif [ "$2" = train ]; then echo "catalog:rmd17_$1"; else echo "catalog:rmd17_$1_test"; fi
}

for molecule in $MOLECULES; do
    run=$RUNS/$molecule
    until [ -f "$run/result.json" ] && grep -q '"state": "finished"' "$run/status.json"; do
        resume=()
        if [ -f "$run/status.json" ]; then resume=(--resume); fi
        timeout -k 5 "$SLICE_S" "$PYTHON" -m toolkit train configs/rmd17_h200.yaml -o "$run" "${resume[@]}" \
            --set "data.train=$(source_of "$molecule" train)" --set "data.test=$(source_of "$molecule" test)" "$@"
        code=$?
        case $code in
            0 | 124 | 130 | 137) ;; # done; the slice is over, or it was interrupted after saving; killed: the last checkpoint counts
            *) echo "training of $molecule failed with exit code $code" >&2; exit "$code" ;;
        esac
        if [ "$code" = 130 ]; then exit 130; fi
        slices=$((slices - 1))
        if [ "$slices" = 0 ]; then break 2; fi
    done
done

for molecule in $MOLECULES; do
    grep -q '"state": "finished"' "$RUNS/$molecule/status.json" 2>/dev/null || { echo "not finished: $molecule" >&2; exit 3; }
done
echo "all finished: $MOLECULES"
