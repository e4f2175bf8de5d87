"""Every row of the speed table in one command, on a GPU in under eight minutes:

    python benchmarks/run.py cuda            # or cpu; --out FILE, --budget-s 450, --only train-5 …

First the backends are checked against the reference in float64, then each row is measured in its own process under
`timeout`, so that a hang or a crash loses that row alone. A row that took too long says where it was. What is known is in
the result file after every row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Part:
    """A row: words after `toolkit bench`, its time limit, and the number that it is about, with the target on an H200."""

    name: str
    words: str
    limit_s: float
    key: str
    target: float | None = None


PARTS = {
    "cuda": (
        Part("check", "check", 120, "passed"),
        Part("md-1", "md --steps 20000", 60, "steps_per_s", 2_500),
        Part("md-64", "md --replicas 64 --steps 2000", 90, "replica_steps_per_s", 30_000),
        Part("train-5", "train --batch 5", 60, "frames_per_s", 1_000),
        Part("train-50", "train --batch 50", 60, "frames_per_s", 5_000),
        Part("infer-1", "infer --batch 1", 40, "ms"),
        Part("infer-64", "infer --batch 64", 40, "frames_per_s"),
        Part("box-10000", "infer --atoms 10000", 60, "atom_steps_per_s", 400_000),
        Part("growth", "growth --limit-s 60", 90, "boxes"),
        Part("train-50-reference", "train --batch 50 --backend reference", 60, "frames_per_s"),
        Part("infer-64-reference", "infer --batch 64 --backend reference", 40, "frames_per_s"),
    ),
    "cpu": (
        Part("check", "check", 120, "passed"),
        Part("infer-1", "infer --batch 1", 60, "ms"),
        Part("infer-64", "infer --batch 64", 120, "frames_per_s"),
        Part("infer-1-reference", "infer --batch 1 --backend reference", 60, "ms"),
        Part("train-5", "train --batch 5", 60, "frames_per_s"),
        Part("train-50", "train --batch 50", 120, "frames_per_s"),
        Part("train-5-reference", "train --batch 5 --backend reference", 60, "frames_per_s"),
        Part("md-1", "md --steps 100", 90, "steps_per_s"),
        Part("md-64", "md --replicas 64 --steps 5", 150, "replica_steps_per_s"),
        Part("box-10000", "infer --atoms 10000", 240, "atom_steps_per_s"),
        Part("growth", "growth --limit-s 240 --seconds 0", 400, "boxes"),
    ),
}


def main() -> int:
    """Measure, print and store; 1 when a part failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", choices=sorted(PARTS))
    parser.add_argument("--out", type=Path, help="default: $OUT/DEVICE.json, else benchmarks/results/DEVICE.json")
    parser.add_argument("--budget-s", type=float, default=450.0, help="no part is begun after this time")
    parser.add_argument("--only", nargs="*", help="names of parts")
    chosen = parser.parse_args()
    out = chosen.out or Path(os.environ.get("OUT", RESULTS)) / f"{chosen.device}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(out.read_text()) if out.exists() else {}
    begin, failed = time.monotonic(), False
    for part in PARTS[chosen.device]:
        if chosen.only and part.name not in chosen.only:
            continue
        if time.monotonic() - begin > chosen.budget_s:
            print(f"{part.name:20s} left out: {chosen.budget_s:.0f} s are over", flush=True)
            continue
        row, trouble = _measure(part, chosen.device)
        failed = failed or row is None
        if row is not None:
            results[part.name] = row
            out.write_text(json.dumps(results, indent=1) + "\n")
        print(_line(part, row, trouble), flush=True)
    print(f"{time.monotonic() - begin:.0f} s; {out}")
    return int(failed)


def _measure(part: Part, device: str) -> tuple[dict | None, str]:
    """The row, or None and the last words of the process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "row.json"
        command = ["timeout", "-s", "ABRT", "-k", "5", str(part.limit_s), sys.executable, "-m", "toolkit", "bench",
                   *part.words.split(), "--device", device, "--json", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONFAULTHANDLER": "1"})
        last_words = (done.stderr or done.stdout).partition("Extension modules:")[0].strip()[-6000:]
        trouble = "" if done.returncode == 0 else f"exit {done.returncode}: {last_words}"
        if done.stderr and "Warning" in done.stderr:
            trouble += "\n" + done.stderr.strip()[-600:]
        return (json.loads(path.read_text()) if path.exists() else None), trouble


def _line(part: Part, row: dict | None, trouble: str) -> str:
    if row is None:
        return f"{part.name:20s} FAILED {trouble}"
    if part.key == "boxes":
        shown = ", ".join(f"{box['num_atoms']}: {box['ms']:.1f} ms" for box in row["boxes"])
    elif part.key == "passed":
        shown = f"{row['passed']}; worst {row['worst']}"
    else:
        first = row.get("first_step_s", row.get("first_result_s"))
        shown = (f"{row[part.key]:,.1f} {part.key}, {row['backend']}, first after {first:.1f} s, "
                 f"{row['peak_memory_GB']:.2f} GB")
    target = "" if part.target is None else f"   target {part.target:,.0f}: {'met' if row[part.key] >= part.target else 'MISSED'}"
    return f"{part.name:20s} {shown}{target}" + (f"\n{trouble}" if trouble else "")


if __name__ == "__main__":
    sys.exit(main())
