"""Explicit state, the step, the loop, evaluation; touches no file and prints nothing."""

from bnjax.train.evaluation import Evaluation, make_evaluate
from bnjax.train.gradient import Gradient, TrainState
from bnjax.train.loop import Probe, Progress, every, run
from bnjax.train.step import Metrics, Program, init_state, make_program
from bnjax.train.sweep import Sweep

__all__ = [
    "Evaluation",
    "Gradient",
    "Metrics",
    "Probe",
    "Program",
    "Progress",
    "Sweep",
    "TrainState",
    "every",
    "init_state",
    "make_evaluate",
    "make_program",
    "run",
]
