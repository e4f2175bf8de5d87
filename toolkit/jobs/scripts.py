"""What a page asked for as a Python script that needs nothing but the package and gives the same numbers."""

from __future__ import annotations

from pprint import pformat

from toolkit.config import StrictModel, TrainConfig, shortest
from toolkit.jobs.compare_config import CompareRequest
from toolkit.jobs.requests import EvaluateRequest

_TRAIN = '''"""A training run as set up on the Train page."""

import toolkit
from toolkit.config import parse_config

config = parse_config(toolkit.TrainConfig, {config})
run_dir = toolkit.train(config)  # a new folder under runs/; its model/ is what toolkit.load takes
print((run_dir / "result.json").read_text())
'''
_EVALUATE = '''"""Errors of a potential on labelled frames, as on the Evaluate page."""

import json

import toolkit
from toolkit.analysis.parity import element_errors, frame_errors, worst_frames
from toolkit.config import parse_config
from toolkit.jobs.evaluation import evaluate_frames, labelled_frames

data = parse_config(toolkit.DataConfig, {data})
potential = toolkit.load({model!r}, device={device!r}, dtype={dtype!r})
errors, parity = evaluate_frames(potential, labelled_frames(data, {part!r}))
print(json.dumps(errors, indent=2))

table = frame_errors(parity)  # one row a frame
print("worst frames:", worst_frames(table, "largest_force_error_meV_per_A", 10))
for row in element_errors(parity):
    print(row)
'''
_COMPARISON = '''"""Models side by side on the same frames, as on the Compare models page."""

import json

from toolkit.config import parse_config
from toolkit.jobs.compare import compare
from toolkit.jobs.compare_config import CompareRequest

request = parse_config(CompareRequest, {request})
summary = compare(request, "comparison")  # a folder for compare.json and report.html; called again, it goes on
for label, row in summary["models"].items():
    print(label, json.dumps(row, indent=2, ensure_ascii=False))
for pair in summary["pairs"]:
    print(pair)
'''


def training_script(config: TrainConfig) -> str:
    """Train with this configuration. Values are written as Python literals, so that nothing in them is executed."""
    return _TRAIN.format(config=_literal(config))


def evaluation_script(request: EvaluateRequest) -> str:
    """Evaluate a model as this request does."""
    return _EVALUATE.format(data=_literal(request.data), model=request.model, part=request.part, device=request.device,
                            dtype=request.dtype)


def comparison_script(request: CompareRequest) -> str:
    """Compare models as this request does."""
    return _COMPARISON.format(request=_literal(request))


def _literal(config: StrictModel) -> str:
    return pformat(shortest(config), sort_dicts=False, width=110)
