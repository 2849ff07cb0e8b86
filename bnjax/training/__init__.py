"""Explicit state, the step, the loop, evaluation; touches no file and prints nothing."""

from bnjax.training.evaluation import Evaluation, make_evaluate
from bnjax.training.gradient import Gradient, TrainState
from bnjax.training.loop import Probe, Progress, run
from bnjax.training.schedule import every
from bnjax.training.step import Metrics, Program, init_state, make_program
from bnjax.training.sweep import Sweep

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
