"""From a model and a batch to `loss(params) -> scalar`, the only thing probes know."""

from bnjax.losses.batch_loss import Statistics, l2_penalty, on_batch, pooled_statistics
from bnjax.losses.objectives import (
    OBJECTIVES,
    Objective,
    accuracy,
    chance,
    correct,
    cross_entropy,
    each_cross_entropy,
    each_squared_distance,
    each_squared_error,
    guess_classes,
    guess_half_square,
    guess_square,
    squared_error,
    summed_squared_error,
)

__all__ = [
    "OBJECTIVES",
    "Objective",
    "Statistics",
    "accuracy",
    "chance",
    "correct",
    "cross_entropy",
    "each_cross_entropy",
    "each_squared_distance",
    "each_squared_error",
    "guess_classes",
    "guess_half_square",
    "guess_square",
    "l2_penalty",
    "on_batch",
    "pooled_statistics",
    "squared_error",
    "summed_squared_error",
]
