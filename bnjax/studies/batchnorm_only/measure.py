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
from bnjax.types import Params, PRNGKey, Scalar

__all__ = ["after", "axes", "build_model", "check_options", "decays", "keep", "select"]

EDGES = np.linspace(-2.0, 2.0, 81)  # of histograms; the outer bins hold all beyond
CENTRES = tuple(((EDGES[1:] + EDGES[:-1]) / 2).tolist())
THRESHOLDS = (0.0, 0.001, SWITCHED_OFF, 0.03, 0.1, 0.3)  # the first leaves the network as it is
CLAMPED_IMAGES = 2000  # of the test set, on which accuracies with small γ at 0 are compared
IMAGES = 500  # of the test set, on which zeros are counted


class Features(NamedTuple):
    """Before the first step and after the last, with running statistics.

    Accuracies with γ clamped and without it are on the same test images; `train_accuracy` is of as
    many training images as the test set has, without augmentation. Outputs are those of all ReLUs.
    """

    scales: Annotated[Float[Array, " bin"], Field("Distribution of γ", "share")]
    small: Annotated[
        Float[Array, " threshold"], Field("Share of |γ| below a threshold", bounded=True)
    ]
    clamped_accuracy: Annotated[
        Float[Array, " threshold"],
        Field("Test accuracy with γ below a threshold set to 0", bounded=True),
    ]
    zeros: Annotated[Scalar, Field("Share of zeros among the outputs of ReLUs", bounded=True)]
    train_accuracy: Annotated[
        Scalar, Field("Accuracy on training images, before and after", bounded=True)
    ]
    test_accuracy: Annotated[Scalar, Field("Test accuracy, before and after", bounded=True)]


Measure: TypeAlias = Callable[[TrainState, bool], Features]


def after(arm: Arm) -> Mapping[str, Sweep]:
    """γ, sparsity and accuracies before and after training."""
    return {"ends": make_features_sweep(arm.model, arm.dataset, arm.objective, arm.key("init"))}


def axes(options: Any) -> Mapping[str, Any]:
    """Both ends of training, centres of the bins of γ, and thresholds."""
    return {"end": ("before", "after"), "bin": CENTRES, "threshold": THRESHOLDS}


def make_features_sweep(
    model: Model, dataset: Dataset, objective: Objective, key: PRNGKey
) -> Sweep:
    """The features before the first step, which are drawn again from the seed, and after the last.

    Args:
      model: a `bnjax.models.resnet` with BatchNorm.
      dataset: the one that is trained on.
      objective: the training loss.
      key: of the initialisation.

    Returns:
      Two rows of `Features`; accuracies with small γ at 0 are NaN in the first.

    Source: Frankle et al. 2020 (2003.00152), §5.
    """
    measure = make_features(model, dataset, objective)
    images = jnp.zeros((1, *dataset.train.pixels.shape[1:]), jnp.float32)

    def begin(state: TrainState, measured: Measured) -> MeasureRow:
        del measured
        start = state._replace(**model.init(key, images))
        return lambda row: measure(state if row else start, bool(row))

    state = TrainState(jnp.int32(0), **model.shapes(images.shape[1:]), opt_state=())
    return Sweep(2, jax.eval_shape(lambda state: measure(state, True), state), begin, "end")


def make_features(model: Model, dataset: Dataset, objective: Objective) -> Measure:
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
    images = standardise_pixels(
        test.pixels[:IMAGES], dataset.mean, dataset.std, jnp.dtype(jnp.float32)
    )
    count = jax.jit(lambda params, batch_stats: zero_share(model, params, batch_stats, images))
    inspect = jax.jit(inspect_scales)

    def measure(state: TrainState, clamped: bool) -> Features:
        def accuracy(params: Params, split: Split) -> Scalar:
            return evaluate(params, state.batch_stats, split).accuracy

        without = [accuracy(clamp(state.params, t), compared) for t in THRESHOLDS if clamped]
        scales, small = inspect(state.params)
        return Features(
            scales=scales,
            small=small,
            clamped_accuracy=jnp.stack(without) if without else jnp.full_like(small, jnp.nan),
            zeros=count(state.params, state.batch_stats),
            train_accuracy=accuracy(state.params, fitted),
            test_accuracy=accuracy(state.params, test),
        )

    return measure


def is_scale(name: str) -> bool:
    """Whether a parameter is a γ, by its name."""
    return name.endswith("norm/scale")


def inspect_scales(
    params: Params,
) -> tuple[Float[Array, " num_bins"], Float[Array, " num_thresholds"]]:
    """Shares of all γ between the `EDGES`, and shares whose |γ| is below each of `THRESHOLDS`.

    Example:
      >>> counts, small = inspect_scales({"conv1": {"norm": {"scale": jnp.array([0.0, 1.0])}}})
      >>> float(counts.sum()), float(small[-1])
      (1.0, 0.5)
    """
    leaves = jax.tree.leaves(trees.partition(params, is_scale)[0])
    scales = jnp.concatenate([leaf.ravel() for leaf in leaves])
    edges, limits = (jnp.asarray(values, scales.dtype) for values in (EDGES, THRESHOLDS))
    bins = jnp.searchsorted(edges[1:-1], scales, side="right")
    counts = jnp.zeros(len(EDGES) - 1, scales.dtype).at[bins].add(1)
    small = jnp.mean(jnp.abs(scales)[None] < limits[:, None], axis=1, dtype=scales.dtype)
    return counts / scales.size, small


def clamp(params: Params, threshold: float) -> Params:
    """Parameters with every |γ| below a threshold set to 0."""
    scales, rest = trees.partition(params, is_scale)
    clamped = jax.tree.map(lambda x: jnp.where(jnp.abs(x) < threshold, 0, x), scales)
    return trees.combine(clamped, rest)
