"""The loss that probes see on a training state: which statistics, which batch, which terms."""

from collections.abc import Callable
from typing import TypeAlias

from bnjax import losses
from bnjax.data import Batch, Pipeline
from bnjax.models import Model
from bnjax.train.gradient import TrainState
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

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> from bnjax.data import make_pipeline
      >>> from bnjax.data.dataset import from_arrays
      >>> from bnjax.models import mlp, norms
      >>> pixels, labels = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1), np.arange(8) % 2
      >>> dataset = from_arrays("eight", 2, (pixels, labels), (pixels, labels))
      >>> pipeline = make_pipeline(dataset, batch_size=4)
      >>> model = mlp(norm=norms.none(), num_classes=2, width=0.02, initializer="zeros")
      >>> batch = Batch(jnp.ones((4, 1, 1, 1)), jnp.array([0, 1, 0, 1]))
      >>> state = TrainState(0, **model.init(jax.random.key(0), batch.images), opt_state=())
      >>> loss = make_loss(model, pipeline)(state, batch)
      >>> round(float(loss(state.params)), 4)  # ln 2
      0.6931
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
