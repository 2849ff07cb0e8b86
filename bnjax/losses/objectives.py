"""What is minimised: the costs of examples, their sum or mean, and what a guess costs."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from bnjax.data import Dataset
from bnjax.errors import UsageError
from bnjax.types import Labels, Logits, Scalar


class Objective(NamedTuple):
    """A training loss: what one example costs, how examples are put together, what a guess costs.

    Attributes:
      each: logits `[batch, num_classes]` and labels to the cost of each example, `[batch]`.
      summed: over the batch, else averaged.
      guess: the mean cost of an example at the best constant guess, units of `each`; needed by
        `chance` only.
    """

    each: Callable[[Logits, Labels], Float[Array, " batch"]]
    summed: bool = False
    guess: Callable[[Dataset], float] | None = None

    def __call__(self, logits: Logits, labels: Labels) -> Scalar:
        """The loss of a batch.

        Args:
          logits: `[batch, num_classes]`.
          labels: as `each` takes them.

        Returns:
          Scalar, units of `each`.
        """
        costs = self.each(logits, labels)
        return costs.sum() if self.summed else costs.mean()


def each_cross_entropy(logits: Logits, labels: Labels) -> Float[Array, " batch"]:
    """Softmax cross-entropy of each example.

    Args:
      logits: `[batch, num_classes]`.
      labels: integer classes `[batch]`.

    Returns:
      `[batch]`, nats, in the dtype of the logits.

    Source: optax, `softmax_cross_entropy_with_integer_labels`.

    Example:
      >>> f"{each_cross_entropy(jnp.zeros((1, 10)), jnp.array([3]))[0]:.4f}"  # ln 10
      '2.3026'
    """
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)


def each_squared_error(logits: Logits, labels: Labels) -> Float[Array, " batch"]:
    """Half the squared distance of each example to its target, or to the one-hot label.

    Args:
      logits: outputs `[batch, num_classes]`.
      labels: targets `[batch, num_classes]`, or integer classes `[batch]`.

    Returns:
      `[batch]`, units of the outputs squared.

    Source: optax, `l2_loss`, summed over the outputs.

    Example:
      >>> each_squared_error(jnp.array([[0.0, 3.0]]), jnp.array([1])).tolist()
      [2.0]
    """
    targets = labels
    if not jnp.issubdtype(labels.dtype, jnp.floating):
        targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return optax.losses.l2_loss(logits, targets).sum(axis=-1)


def each_squared_distance(logits: Logits, labels: Labels) -> Float[Array, " batch"]:
    """The whole squared distance, twice `each_squared_error`.

    Args:
      logits: outputs `[batch, num_classes]`.
      labels: targets `[batch, num_classes]`, or integer classes `[batch]`.

    Returns:
      `[batch]`, units of the outputs squared.

    Source: the published losses of Santurkar et al. 2018, Fig. 3 and 5b, which have no factor ½.

    Example:
      >>> each_squared_distance(jnp.array([[0.0, 3.0]]), jnp.array([[0.0, 1.0]])).tolist()
      [4.0]
    """
    return 2 * each_squared_error(logits, labels)


def guess_classes(dataset: Dataset) -> float:
    """Cross-entropy of the best constant guess among balanced classes, ln C.

    Args:
      dataset: gives C, the number of classes.

    Returns:
      Nats.

    Raises:
      UsageError: the labels are targets.

    Source: Gibbs' inequality: no constant guess costs less than the entropy of the labels.

    Example:
      >>> from bnjax.data import load
      >>> round(guess_classes(load("digits")), 4)
      2.3026
    """
    if dataset.is_regression:
        raise UsageError(
            f"cross-entropy needs classes, and {dataset.name} has targets: use squared_error"
        )
    return math.log(dataset.num_classes)


def guess_half_square(dataset: Dataset) -> float:
    """Half the squared distance to the mean: ½ Σ Var of targets, ½ (1 − 1/C) of C balanced classes.

    Args:
      dataset: gives the number of classes, or the training targets.

    Returns:
      Units of the outputs squared.

    Source: elementary: the mean minimises the squared distance, and the variances of a one-hot
    label sum to 1 − 1/C.

    Example:
      >>> from bnjax.data import load
      >>> guess_half_square(load("digits"))
      0.45
    """
    if dataset.is_regression:
        return float(0.5 * jnp.sum(jnp.var(dataset.train.labels, axis=0)))
    return 0.5 * (1 - 1 / dataset.num_classes)


def guess_square(dataset: Dataset) -> float:
    """The whole squared distance to the mean, twice `guess_half_square`.

    Args:
      dataset: gives the number of classes, or the training targets.

    Returns:
      Units of the outputs squared.

    Source: as of `guess_half_square`.

    Example:
      >>> from bnjax.data import load
      >>> guess_square(load("digits"))
      0.9
    """
    return 2 * guess_half_square(dataset)


# Squared error keeps its curvature where cross-entropy flattens out, so it can show the edge of
# stability on data that a network fits (Cohen et al. 2021, 2103.00065). Whole and summed over the
# batch it is the loss of the deep linear network of Santurkar et al. 2018 (`data.make_gaussian`).
cross_entropy = Objective(each_cross_entropy, guess=guess_classes)
squared_error = Objective(each_squared_error, guess=guess_half_square)
summed_squared_error = Objective(each_squared_distance, summed=True, guess=guess_square)
OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": cross_entropy,
    "squared_error": squared_error,
    "summed_squared_error": summed_squared_error,
}


def accuracy(logits: Logits, labels: Labels) -> Scalar:
    """Share of examples whose largest logit is the label's; NaN where labels are no classes.

    Args:
      logits: `[batch, num_classes]`.
      labels: integer classes `[batch]`, or targets `[batch, num_classes]`.

    Returns:
      Scalar in [0, 1], in the dtype of the logits.

    Example:
      >>> float(accuracy(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0])))
      0.5
    """
    if jnp.issubdtype(labels.dtype, jnp.floating):
        return jnp.full((), jnp.nan, logits.dtype)
    return jnp.mean(correct(logits, labels), dtype=logits.dtype)


def correct(logits: Logits, labels: Int[Array, " batch"]) -> Bool[Array, " batch"]:
    """Whether the largest logit is the label's, for each example.

    Args:
      logits: `[batch, num_classes]`.
      labels: integer classes `[batch]`.

    Returns:
      Booleans `[batch]`.

    Example:
      >>> correct(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0])).tolist()
      [True, False]
    """
    return jnp.argmax(logits, axis=-1).astype(labels.dtype) == labels


def chance(objective: Objective, dataset: Dataset) -> float:
    """The loss of the best constant guess: ln C for C balanced classes, ½ Σ Var for targets.

    Args:
      objective: the loss.
      dataset: gives the number of classes, or the training targets.

    Returns:
      The loss of a batch that is the whole split, where losses are summed; nats for cross-entropy.

    Raises:
      UsageError: the objective has no `guess`, or one that the labels do not go with.

    Example:
      >>> from bnjax.data import load
      >>> round(chance(cross_entropy, load("digits")), 4)
      2.3026
    """
    if objective.guess is None:
        raise UsageError(
            "this objective does not say what a guess costs: give Objective(…, guess=), e.g. "
            "guess=bnjax.losses.guess_classes for a cross-entropy"
        )
    each = float(objective.guess(dataset))
    return each * dataset.train.labels.shape[0] if objective.summed else each
