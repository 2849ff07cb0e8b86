"""What a network does with its features: γ, which of them it switches off, and what that costs."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bnjax.arithmetic import trees
from bnjax.data import Dataset, Split
from bnjax.data.batches import standardise_pixels
from bnjax.fields import Field
from bnjax.frame.arm import Arm
from bnjax.losses import Objective
from bnjax.models import Model
from bnjax.models.resnet import zero_share
from bnjax.studies.batchnorm_only import SWITCHED_OFF
from bnjax.studies.batchnorm_only.trained_network import (
    build_model,
    check_options,
    decays,
    keep,
    select,
)
from bnjax.train import Sweep, TrainState
from bnjax.train.evaluation import make_evaluate
from bnjax.train.loop import Measured, MeasureRow
from bnjax.types import Params, PyTree, Scalar

__all__ = ["after", "axes", "build_model", "check_options", "decays", "keep", "select"]

EDGES = np.linspace(-2.0, 2.0, 81)  # of histograms; the outer bins hold all beyond
CENTRES = tuple(((EDGES[1:] + EDGES[:-1]) / 2).tolist())
THRESHOLDS = (0.0, 0.001, SWITCHED_OFF, 0.03, 0.1, 0.3)  # the first leaves the network as it is
CLAMPED_IMAGES = 2000  # of the test set, on which accuracies with small γ at 0 are compared
IMAGES = 500  # of the test set, on which zeros are counted
PerThreshold: TypeAlias = Float[Array, " threshold"]


class Features(NamedTuple):
    """Before the first step and after the last, with running statistics.

    Accuracies with γ clamped and without it are on the same test images; `train_accuracy` is of as
    many training images as the test set has, without augmentation. Outputs are those of all ReLUs.
    """

    scales: Annotated[Float[Array, " bin"], Field("Distribution of γ", "share")]
    small: Annotated[PerThreshold, Field("Share of |γ| below a threshold", bounded=True)]
    clamped_accuracy: Annotated[
        PerThreshold, Field("Test accuracy with γ below a threshold set to 0", bounded=True)
    ]
    zeros: Annotated[Scalar, Field("Share of zeros among the outputs of ReLUs", bounded=True)]
    train_accuracy: Annotated[
        Scalar, Field("Accuracy on training images, before and after", bounded=True)
    ]
    test_accuracy: Annotated[Scalar, Field("Test accuracy, before and after", bounded=True)]


def after(arm: Arm) -> Mapping[str, Sweep]:
    """The features before the first step, which are drawn again from the seed, and after the last.

    Accuracies with small γ at 0 are NaN in the first.
    """
    model, measure = arm.model, make_features(arm.model, arm.dataset, arm.objective)
    images = jnp.zeros((1, *arm.dataset.train.pixels.shape[1:]), jnp.float32)

    def begin(state: TrainState, measured: Measured) -> MeasureRow:
        del measured
        start = state._replace(**model.init(arm.key("init"), images))
        return lambda row: measure(state if row else start, bool(row))

    state = TrainState(jnp.int32(0), **model.shapes(images.shape[1:]), opt_state=())
    shapes = jax.eval_shape(lambda state: measure(state, True), state)
    return {"ends": Sweep(2, shapes, begin, "end")}


def axes(options: Any) -> Mapping[str, Any]:
    """Both ends of training, centres of the bins of γ, and thresholds."""
    return {"end": ("before", "after"), "bin": CENTRES, "threshold": THRESHOLDS}


def make_features(
    model: Model, dataset: Dataset, objective: Objective
) -> Callable[[TrainState, bool], Features]:
    """Compile the measurement of a model's features for the states of one training run.

    Args:
      model: a `bnjax.models.resnet` with BatchNorm.
      dataset: the one that is trained on.
      objective: the training loss.

    Returns:
      `measure(state, clamped) -> Features`. Without `clamped` the accuracies with γ set to 0 are
      NaN. Running statistics stay as they are where γ is clamped.

    Source: Frankle et al. 2020 (2003.00152), §5.
    """
    evaluate = make_evaluate(model, dataset, objective=objective)
    train, test = dataset.train, dataset.test
    fitted = Split(*(array[: len(test.labels)] for array in train))
    compared = Split(*(array[:CLAMPED_IMAGES] for array in test))
    pixels, float32 = test.pixels[:IMAGES], jnp.dtype(jnp.float32)
    images = standardise_pixels(pixels, dataset.mean, dataset.std, float32)
    count = jax.jit(lambda params, batch_stats: zero_share(model, params, batch_stats, images))
    inspect = jax.jit(inspect_scales)

    def measure(state: TrainState, clamped: bool) -> Features:
        def accuracy(params: Params, split: Split) -> Scalar:
            return evaluate(params, state.batch_stats, split).accuracy

        scales, small = inspect(state.params)
        without = jnp.full_like(small, jnp.nan)
        if clamped:
            without = jnp.stack([accuracy(clamp(state.params, t), compared) for t in THRESHOLDS])
        return Features(
            scales,
            small,
            clamped_accuracy=without,
            zeros=count(state.params, state.batch_stats),
            train_accuracy=accuracy(state.params, fitted),
            test_accuracy=accuracy(state.params, test),
        )

    return measure


def scales_of(params: Params) -> tuple[PyTree, PyTree]:
    """All γ, and all else."""
    return trees.partition(params, lambda name: name.endswith("norm/scale"))


def inspect_scales(params: Params) -> tuple[Float[Array, " bin"], PerThreshold]:
    """Shares of all γ between the `EDGES`, and shares whose |γ| is below each of `THRESHOLDS`.

    Example:
      >>> counts, small = inspect_scales({"conv1": {"norm": {"scale": jnp.array([0.0, 1.0])}}})
      >>> float(counts.sum()), float(small[-1])
      (1.0, 0.5)
    """
    scales = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(scales_of(params)[0])])
    edges, limits = (jnp.asarray(values, scales.dtype) for values in (EDGES, THRESHOLDS))
    bins = jnp.searchsorted(edges[1:-1], scales, side="right")
    counts = jnp.zeros(len(EDGES) - 1, scales.dtype).at[bins].add(1)
    small = jnp.mean(jnp.abs(scales)[None] < limits[:, None], axis=1, dtype=scales.dtype)
    return counts / scales.size, small


def clamp(params: Params, threshold: float) -> Params:
    """Parameters with every |γ| below a threshold set to 0."""
    scales, rest = scales_of(params)
    clamped = jax.tree.map(lambda x: jnp.where(jnp.abs(x) < threshold, 0, x), scales)
    return trees.combine(clamped, rest)
