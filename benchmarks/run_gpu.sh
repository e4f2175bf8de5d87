#!/usr/bin/env bash
# GPU tests, then every row of the speed table, in under eight minutes. Results: $OUT/cuda.json or benchmarks/results/cuda.json
cd "$(dirname "$0")/.." || exit 2
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
gpu_tests=$(grep -rl "mark\.gpu" tests)  # the other files may need packages that are not there
timeout -k 5 100 "${PYTHON:-python3}" -m pytest -m gpu -x $gpu_tests 2>&1 | tail -n 15
exec timeout -k 5 "${BUDGET_S:-370}" "${PYTHON:-python3}" benchmarks/run.py cuda --budget-s 340
