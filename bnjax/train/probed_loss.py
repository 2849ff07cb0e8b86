"""The loss that probes see on a training state: which statistics, which batch, which terms."""

from collections.abc import Callable
from typing import TypeAlias

from bnjax import losses
from bnjax.data import Batch, Pipeline
from bnjax.models import Model
from bnjax.train.step import TrainState
from bnjax.types import Loss, Pixels

MakeLoss: TypeAlias = Callable[[TrainState, Batch], Loss]


def make_loss(
    model: Model,
    pipeline: Pipeline,
    *,
    statistics: losses.Statistics = "batch",
    calibration: Pixels | None = None,
    objective: losses.Objective = losses.cross_entropy,
    weight_decay: float = 0.0,
) -> MakeLoss:
    """The probed loss as a function of a training state and its batch.

    Args:
      model: the model that is trained.
      pipeline: gives the standardisation of `calibration`.
      statistics: what BatchNorm normalises with, see `losses.on_batch`.
      calibration: pixels for `statistics="recalibrated"`, a whole number of batches.
      objective: the loss.
      weight_decay: the L2 coefficient that the probed loss contains.

    Returns:
      `make(state, batch) -> loss`, where `loss(params) -> scalar`.
    """

    def make(state: TrainState, batch: Batch) -> Loss:
        images = None
        if statistics == "recalibrated" and calibration is not None:
            images = pipeline.standardise(calibration).reshape(-1, *batch.images.shape)
        return losses.on_batch(
            model,
            state.batch_stats,
            batch,
            statistics,
            centre=state.params,
            calibration=images,
            objective=objective,
            weight_decay=weight_decay,
        )

    return make
