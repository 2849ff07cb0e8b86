"""Explicit state, the step, the loop, evaluation; touches no file and prints nothing."""

from bnjax.train.evaluation import Evaluation, make_evaluate
from bnjax.train.loop import Measurement, Progress, Sweep, every, run
from bnjax.train.step import Gradient, Metrics, Program, TrainState, init_state, make_program

__all__ = [
    "Evaluation",
    "Gradient",
    "Measurement",
    "Metrics",
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
