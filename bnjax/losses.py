"""From a model and a batch to `loss(params) -> scalar`, the only thing that probes know.

The statistics that BatchNorm normalises with are an explicit choice here: a landscape depends on
them (Ghorbani et al. 2019 measure another Hessian under running statistics).
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Shaped

from bnjax import fields
from bnjax.arithmetic import trees
from bnjax.arithmetic.layers import describe
from bnjax.arithmetic.moments import accumulator
from bnjax.data import Batch, Dataset
from bnjax.errors import UsageError
from bnjax.probes.composite import Composite
from bnjax.types import BatchStats, Labels, Logits, Loss, Network, Params, PRNGKey, Scalar

Statistics: TypeAlias = Literal["batch", "running", "frozen", "recalibrated"]
STATISTICS: tuple[Statistics, ...] = get_args(Statistics)


class Objective(NamedTuple):
    """A training loss: the cost of an example, sum or mean over examples, a penalty on kernels.

    Attributes:
      each: logits `[batch, num_classes]` and labels to the cost of each example, `[batch]`; of
        tokens, logits `[batch, length, num_classes]`, its mean over positions.
      summed: over the batch, else averaged.
      guess: the mean cost of an example at the best constant guess, units of `each`; needed by
        `chance` only.
      kernel_penalty: the coefficient C of `penalty`, 0 for none.
      sample: `sample(key, logits) -> labels`, drawn from the distribution whose negative logarithm
        is the cost. Only the Fisher needs it.
    """

    each: Callable[[Logits, Labels], Float[Array, " batch *positions"]]
    summed: bool = False
    guess: Callable[[Dataset], float] | None = None
    kernel_penalty: float = 0.0
    sample: Callable[[PRNGKey, Logits], Labels] | None = None

    def __call__(self, logits: Logits, labels: Labels) -> Scalar:
        """The cost of a batch, without the penalty."""
        costs = self.each(logits, labels)
        return costs.sum() if self.summed else costs.mean()

    def penalty(self, params: Params) -> Scalar:
        """C · Σ kernel² over all leaves named `kernel`; γ, β and biases stay apart.

        Its gradient is what weight decay of 2 C on kernels alone adds in plain SGD.

        Args:
          params: as `Model.init` returns them.

        Returns:
          Scalar, units of the loss, in the dtype of the parameters.

        Raises:
          UsageError: no leaf is a kernel, see `probes.describe`.

        Source: the published losses of Santurkar et al. 2018, Fig. 4a, contain it with C = 2e-4.

        Example:
          >>> params = {"output": {"kernel": jnp.array([3.0, 4.0]), "bias": jnp.array([7.0])}}
          >>> float(Objective(each_cross_entropy, kernel_penalty=0.5).penalty(params))
          12.5
        """
        known = describe(params)
        if not any(one.kind == "kernel" for one in known.values()):
            raise UsageError(
                f"kernel_penalty={self.kernel_penalty}: no parameter is a kernel, the names are "
                f"{', '.join(known)[:200]}: leave the penalty out"
            )
        kernels, _ = trees.partition(params, lambda name: known[name].kind == "kernel")
        return self.kernel_penalty * optax.tree.norm(kernels, squared=True)

    def with_z_loss(self, coefficient: float) -> "Objective":
        r"""The objective with C · (log Σ exp logits)² added to each cost; 0 leaves it as it is.

        It holds the sum of a softmax near 1, where nothing else does. Labels are no longer drawn
        from the cost: there is no Fisher.

        Args:
          coefficient: C, units of the loss; PaLM's is 1e-4.

        Returns:
          An `Objective`; chance is told without that term.

        Source: Chowdhery et al. 2022 (2204.02311), §5; Wortsman et al. 2023 (2309.14322), §3.1.2.

        Example:
          >>> objective = cross_entropy.with_z_loss(2.0)
          >>> logits, labels = jnp.zeros((1, 3)), jnp.array([0])
          >>> more = objective(logits, labels) - cross_entropy(logits, labels)
          >>> round(float(more), 4)  # 2 (ln 3)²
          2.4139
        """
        if not coefficient:
            return self
        return self._replace(each=WithZLoss(self.each, coefficient), sample=None)

    def of_part(self, parts: int) -> "Objective":
        """The objective of one of some equal parts of a batch.

        The sum over parts, where costs are summed, or their mean, has the penalty of a batch.

        Example:
          >>> summed_squared_error._replace(kernel_penalty=0.5).of_part(4).kernel_penalty
          0.125
        """
        return self._replace(kernel_penalty=self.kernel_penalty / parts) if self.summed else self


@dataclasses.dataclass(frozen=True)
class WithZLoss:
    """A cost of each example and C · (log Σ exp logits)²; equal ones share compiled programs."""

    each: Callable[[Logits, Labels], Float[Array, " batch *positions"]]
    coefficient: float

    def __call__(self, logits: Logits, labels: Labels) -> Float[Array, " batch *positions"]:
        sizes = jax.nn.logsumexp(logits, axis=-1)
        return self.each(logits, labels) + self.coefficient * jnp.square(sizes)


def each_cross_entropy(logits: Logits, labels: Labels) -> Float[Array, " batch *positions"]:
    """Softmax cross-entropy of each example.

    Args:
      logits: `[batch, num_classes]`; of tokens `[batch, length, num_classes]`.
      labels: integer classes `[batch]` or `[batch, length]`, or soft labels, shares of classes in
        the shape of the logits that sum to 1.

    Returns:
      `[batch]`, of tokens `[batch, length]`, nats, in the dtype of the logits. Under `jax.jit`,
      where labels have no value yet, NaN of a label that is no class and of shares that do not sum
      to 1.

    Raises:
      UsageError: labels that are no classes nor shares of them, or not one for each example.

    Example:
      >>> logits, half = jnp.zeros((1, 2)), jnp.array([[0.5, 0.5]])
      >>> [round(float(each_cross_entropy(logits, x)[0]), 4) for x in (jnp.array([1]), half)]
      [0.6931, 0.6931]
    """
    check_labels(labels, logits.shape)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        known = are_shares(labels)
        check_shares(labels, known)
        costs = optax.losses.softmax_cross_entropy(logits, labels.astype(logits.dtype))
    else:
        known = are_classes(labels, logits.shape[-1])
        costs = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.where(known, costs, jnp.nan)


def each_squared_error(logits: Logits, labels: Labels) -> Float[Array, " batch *positions"]:
    """Half the squared distance of each example to its target, or to the one-hot label.

    Args:
      logits: outputs `[batch, num_classes]`, or `[batch, length, num_classes]`.
      labels: targets in the shape of the outputs, or integer classes `[batch]`, `[batch, length]`.

    Returns:
      `[batch]` or `[batch, length]`, units of the outputs squared; NaN as in `each_cross_entropy`.

    Raises:
      UsageError: labels that are no classes, or neither these nor targets in the shape of the
        outputs.

    Example:
      >>> each_squared_error(jnp.array([[0.0, 3.0]]), jnp.array([1])).tolist()
      [2.0]
    """
    check_labels(labels, logits.shape)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        return optax.losses.l2_loss(logits, labels).sum(axis=-1)
    targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    costs = optax.losses.l2_loss(logits, targets).sum(axis=-1)
    return jnp.where(are_classes(labels, logits.shape[-1]), costs, jnp.nan)


def each_squared_distance(logits: Logits, labels: Labels) -> Float[Array, " batch *positions"]:
    """The whole squared distance, twice `each_squared_error`.

    Args:
      logits: outputs, as in `each_squared_error`.
      labels: targets or classes, as in `each_squared_error`.

    Returns:
      `[batch]` or `[batch, length]`, units of the outputs squared; NaN as in `each_cross_entropy`.

    Raises:
      UsageError: as `each_squared_error`.

    Source: the published losses of Santurkar et al. 2018, Fig. 3 and 5b, which have no factor ½.
    """
    return 2 * each_squared_error(logits, labels)


def are_classes(labels: Int[Array, "*shape"], num_classes: int) -> Bool[Array, "*shape"]:
    """Whether each label is one of the classes."""
    return (labels >= 0) & (labels < num_classes)


def are_shares(labels: Float[Array, "*shape num_classes"]) -> Bool[Array, "*shape"]:
    """Whether each row has shares of classes, 0 or more, that sum to 1 to a thousandth."""
    wide = labels.astype(accumulator(labels.dtype))
    rounding = 1e-3 + float(jnp.finfo(labels.dtype).eps)
    return (labels >= 0).all(axis=-1) & (jnp.abs(wide.sum(axis=-1) - 1) <= rounding)


def has_value(labels: Array) -> bool:
    """Whether labels can be looked at here: not under `jax.jit`, nor on other hosts."""
    return not isinstance(labels, jax.core.Tracer) and getattr(labels, "is_fully_addressable", True)


def check_shares(labels: Array, known: Bool[Array, "*shape"]) -> None:
    """Refuse soft labels that are no shares of classes."""
    if has_value(labels) and not known.all():
        sums = np.asarray(labels, np.float64).sum(axis=-1)
        raise UsageError(
            f"labels are {labels.dtype} {labels.shape}, the smallest {float(labels.min()):.4g}, "
            f"and their rows sum to {sums.min():.4g} … {sums.max():.4g}: give classes as whole "
            "numbers, or shares of classes that are 0 or more and sum to 1; for targets use "
            "squared_error"
        )


def check_labels(labels: Array, logits: tuple[int, ...]) -> None:
    """Refuse labels that are neither one class for each row of logits, nor in their shape."""
    kind = jnp.floating if labels.ndim == len(logits) else jnp.integer
    expected = logits if kind is jnp.floating else logits[:-1]
    if labels.shape != expected or not jnp.issubdtype(labels.dtype, kind):
        raise UsageError(
            f"labels are {labels.dtype} {labels.shape} and logits {logits}: give whole numbers "
            f"{logits[:-1]}, or floating-point targets {logits}"
        )
    check_classes(labels, logits[-1])


def check_classes(labels: Array, num_classes: int) -> None:
    """Refuse labels that are no classes; targets, and what has no value yet here, pass."""
    if not has_value(labels) or not labels.size or not jnp.issubdtype(labels.dtype, jnp.integer):
        return
    low, high = (int(end(np.asarray(labels))) for end in (np.min, np.max))
    if not 0 <= low <= high < num_classes:
        raise UsageError(
            f"labels are from {low} to {high}: of {num_classes} classes they must be from 0 to "
            f"{num_classes - 1}"
        )


def guess_classes(dataset: Dataset) -> float:
    """Cross-entropy of the best constant guess among balanced classes, ln C.

    Args:
      dataset: gives C, the number of classes.

    Returns:
      Nats.

    Raises:
      UsageError: the labels are targets.
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
    """
    return 2 * guess_half_square(dataset)


def sample_targets(key: PRNGKey, outputs: Logits, variance: float = 1.0) -> Labels:
    """Targets that the model draws, of which half the squared distance is minus the logarithm.

    Args:
      key: typed PRNG key.
      outputs: the means, `[batch, num_classes]`.
      variance: of each target; ½ where the whole squared distance is the cost.

    Returns:
      Normal numbers in the shape and dtype of the outputs.
    """
    return outputs + variance**0.5 * jax.random.normal(key, outputs.shape, outputs.dtype)


# Squared error keeps its curvature where cross-entropy flattens out, so it can show the edge of
# stability on data that a network fits (Cohen et al. 2021, 2103.00065). Whole and summed over the
# batch it is the loss of the deep linear network of Santurkar et al. 2018 (`data.make_gaussian`).
cross_entropy = Objective(each_cross_entropy, guess=guess_classes, sample=jax.random.categorical)
squared_error = Objective(each_squared_error, guess=guess_half_square, sample=sample_targets)
summed_squared_error = Objective(
    each_squared_distance,
    summed=True,
    guess=guess_square,
    sample=functools.partial(sample_targets, variance=0.5),
)
OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": cross_entropy,
    "squared_error": squared_error,
    "summed_squared_error": summed_squared_error,
}


def accuracy(logits: Logits, labels: Labels) -> Scalar:
    """Share of examples whose largest logit is the label's; NaN where labels are no classes.

    Args:
      logits: `[batch, num_classes]`, or `[batch, length, num_classes]`.
      labels: integer classes `[batch]` or `[batch, length]`; of targets and soft labels the result
        is NaN.

    Returns:
      Scalar in [0, 1], in the dtype of the logits.

    Example:
      >>> float(accuracy(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0])))
      0.5
    """
    if jnp.issubdtype(labels.dtype, jnp.floating):
        return jnp.full((), jnp.nan, logits.dtype)
    return jnp.mean(correct(logits, labels), dtype=logits.dtype)


def correct(
    logits: Logits, labels: Int[Array, " batch *positions"]
) -> Bool[Array, " batch *positions"]:
    """Whether the largest logit is the label's, for each example.

    Args:
      logits: `[batch, num_classes]`, or `[batch, length, num_classes]`.
      labels: integer classes `[batch]` or `[batch, length]`.

    Returns:
      Booleans in the shape of the labels.
    """
    return jnp.argmax(logits, axis=-1).astype(labels.dtype) == labels


def chance(objective: Objective, dataset: Dataset) -> float:
    """The loss of the best constant guess: ln C for C balanced classes, ½ Σ Var for targets.

    Args:
      objective: the loss.
      dataset: gives the number of classes, or the training targets.

    Returns:
      Nats for cross-entropy; where losses are summed, the sum over the whole training split.

    Raises:
      UsageError: the objective has no `guess`, or labels that do not fit it.

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


def on_batch(
    model: Network,
    batch_stats: BatchStats,
    batch: Batch,
    statistics: Statistics = "batch",
    *,
    centre: Params | None = None,
    calibration: Shaped[Array, "num_batches batch *example"] | None = None,
    objective: Objective = cross_entropy,
    weight_decay: float = 0.0,
) -> Loss:
    """The loss on one fixed batch as a function of the parameters; running statistics stay.

    Args:
      model: `bnjax.models.Model(module)` of a linen module; of nnx, Equinox and Haiku what
        `bnjax.models.adapters` makes of a network.
      batch_stats: the running statistics of training; `{}` where the model has none.
      batch: the probed batch: floating-point images, such as `[batch, height, width, channels]`, or
        tokens `[batch, length]`; and labels, one for each example or token, or soft labels, see
        `each_cross_entropy`. Under `jax.jit` labels have no value yet and are not checked: there
        the loss of a label that is no class is NaN. A model with dropout needs the batch's `key`.
      statistics: what BatchNorm normalises with:
        `batch`, the statistics of the probed batch at the probed point (the paper's setting);
        `running`, `batch_stats` as they are;
        `frozen`, the statistics of the probed batch at `centre` for every probed point;
        `recalibrated`, the pooled statistics of `calibration` at `centre`.
      centre: parameters; needed by `frozen` and `recalibrated`.
      calibration: images or tokens in batches, `[num_batches, batch, height, width, channels]`,
        e.g. 10³ to 10⁴ in all; needed by `recalibrated`.
      objective: logits and labels to a scalar, see `OBJECTIVES`; its penalty on kernels is part of
        the loss.
      weight_decay: L2 coefficient, units of the loss over units of the parameters squared; if not
        0, ½ · weight_decay · ‖params‖² is part of the loss.

    Returns:
      `loss(params) -> scalar`, nats for cross-entropy; without a penalty a `probes.Composite`, for
      a Gauss–Newton matrix and a Fisher.

    Raises:
      UsageError: unknown `statistics` or a missing argument for them, a model or batch of another
        type, images that are whole numbers or not as many as labels, no image, labels that are no
        classes of the model, a single image where statistics of a batch are taken, a decay or
        penalty below 0, or a normaliser whose `moments`, which `frozen` and `recalibrated` take,
        are not reported; and what `Model.apply` refuses.

    Source: Santurkar et al. 2018 (1805.11604), Fig. 4, for `batch`; Ghorbani et al. 2019
    (1901.10159) for `running`; Wu & Johnson 2021 (2105.07576) for `recalibrated`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bnjax.data import Batch
      >>> from bnjax.models import norms, vgg11
      >>> model = vgg11(norm=norms.batch_norm(), width=0.0625)
      >>> batch = Batch(jnp.zeros((2, 32, 32, 3)), jnp.array([0, 1]))
      >>> variables = model.init(jax.random.key(0), batch.images)
      >>> loss = on_batch(model, variables["batch_stats"], batch, statistics="batch")
      >>> round(float(loss(variables["params"])), 4)  # ten equal logits: ln 10
      2.3026
    """
    if not (isinstance(model, Network) and isinstance(batch, Batch)):
        raise UsageError(
            f"the model is a {type(model).__name__} and the batch a {type(batch).__name__}: give "
            "bnjax.models.Model(module), or what bnjax.models.adapters makes of a network of nnx, "
            "Equinox or Haiku, and bnjax.data.Batch(images, labels)"
        )
    batch = batch._replace(images=jnp.asarray(batch.images), labels=jnp.asarray(batch.labels))
    images, labels = batch.images, batch.labels
    fits = jnp.issubdtype(images.dtype, jnp.floating) or (
        jnp.issubdtype(images.dtype, jnp.integer) and images.ndim < 4
    )
    if labels.shape[:1] != images.shape[:1] or not fits:
        raise UsageError(
            f"the batch has images {images.dtype} {images.shape} and labels {labels.shape}: give "
            "floating-point images, or tokens as whole numbers [batch, length], and a label for "
            "each"
        )
    if not images.shape[0]:
        raise UsageError(f"the batch has images {images.shape}: give at least one")
    train = statistics == "batch"
    are_known = jnp.issubdtype(labels.dtype, jnp.integer) and has_value(labels)
    if hasattr(model, "count_outputs") and are_known:  # of others when the loss is called
        check_classes(labels, model.count_outputs(images.shape[1:], images.dtype, train))
    if statistics in ("batch", "frozen"):
        check_batch_size(batch_stats, images.shape[0])
    if isinstance(weight_decay, float | int) and not weight_decay >= 0:  # not of a traced one
        raise UsageError(f"weight_decay={weight_decay} must be 0 or more")
    if not 0 <= objective.kernel_penalty < math.inf:
        raise UsageError(
            f"kernel_penalty={objective.kernel_penalty} must be 0 or more and finite, e.g. 2e-4"
        )
    if statistics == "frozen":
        if centre is None:
            raise UsageError("statistics='frozen' needs the point they are taken at: give centre=")
        batch_stats = model.moments(centre, batch_stats, batch.images, key=batch.key)
    elif statistics == "recalibrated":
        if centre is None or calibration is None:
            raise UsageError(
                "statistics='recalibrated' needs a point and images: give centre= and calibration="
            )
        batch_stats = pooled_statistics(model, centre, batch_stats, calibration, key=batch.key)
    elif statistics not in ("batch", "running"):
        raise UsageError(
            f"statistics={statistics!r} is not known: choose batch, running, frozen or recalibrated"
        )

    def logits(params: Params) -> Logits:
        return model.apply(params, batch_stats, batch.images, train=train, key=batch.key)[0]

    cost, summed, sample = objective.each, objective.summed, objective.sample
    alone = Composite(logits, cost, batch.labels, sample, summed)

    def loss(params: Params) -> Scalar:
        value = alone(params)
        if objective.kernel_penalty:
            value = value + objective.penalty(params)
        return value + l2_penalty(params, weight_decay) if weight_decay else value

    return loss if objective.kernel_penalty or weight_decay else alone


def check_batch_size(batch_stats: BatchStats, size: int) -> None:
    """Refuse a single image where a network normalises with statistics of its batch."""
    if size == 1 and jax.tree.leaves(batch_stats):
        raise UsageError(
            "a batch of one image, and the network takes statistics over the batch, which make "
            "every channel of a dense layer 0 whatever it was: give 2 or more, statistics of "
            "training ('running'), or a norm of single samples such as layer"
        )


VARIANCE = re.compile(r"(?<![^/])var(?=(_ema)?(/[a-z]+)?$)")  # in the name of a leaf


def pooled_statistics(
    model: Network,
    params: Params,
    batch_stats: BatchStats,
    calibration: Shaped[Array, "num_batches batch *example"],
    *,
    key: PRNGKey | None = None,
) -> BatchStats:
    r"""Statistics of many batches at one point: mean of means, total variance.

    $\mu = \frac1n\sum_b \mu_b$,  $\sigma^2 = \frac1n\sum_b \sigma_b^2 + \mathrm{Var}_b(\mu_b)$
    per layer, each batch normalised by its own statistics in the layers below.

    Args:
      model: as `on_batch` takes it.
      params: the point.
      batch_stats: gives the structure.
      calibration: images, standardised, `[num_batches, batch, height, width, channels]`; or tokens.
      key: typed PRNG key, for models that draw random numbers.

    Returns:
      A pytree like `batch_stats`, leaves `[channels]`: means (and an ℓp norm's sizes) in units of
      the activations, variances in their square.

    Raises:
      UsageError: a normaliser keeps running statistics and reports no `moments`; no image, or
        batches of a single one.

    Source: Wu & Johnson 2021 (2105.07576), "PreciseBN".
    """
    if 0 in calibration.shape[:2]:
        raise UsageError(f"the calibration has images {calibration.shape}: give at least one batch")
    check_batch_size(batch_stats, calibration.shape[1])

    def moments(images: Array) -> BatchStats:
        return model.moments(params, batch_stats, images, key=key)

    found = jax.lax.map(moments, calibration)
    named = trees.named_leaves(found)

    def pool(path: tuple, values: Array) -> Array:
        name = trees.path_name(path)
        pooled = values.mean(axis=0).astype(values.dtype)  # a counter stays a whole number
        means = named.get(VARIANCE.sub("mean", name)) if VARIANCE.search(name) else None
        return pooled if means is None else pooled + jnp.var(means, axis=0)

    return jax.tree_util.tree_map_with_path(pool, found)


def l2_penalty(params: Params, weight_decay: float) -> Scalar:
    """½ · weight_decay · ‖params‖², whose gradient is the weight decay of plain SGD.

    Args:
      params: pytree of floating-point arrays.
      weight_decay: L2 coefficient, units of the loss over units of the parameters squared.

    Returns:
      Scalar, units of the loss.
    """
    return 0.5 * weight_decay * optax.tree.norm(params, squared=True)


class StatisticsGap(NamedTuple):
    """One network on one batch, normalised with each of `STATISTICS`, in this order.

    The loss is without any penalty; the accuracy is NaN of targets and soft labels.
    """

    losses: Annotated[Float[Array, " statistics"], fields.Field("Loss under these statistics")]
    accuracies: Annotated[
        Float[Array, " statistics"], fields.Field("Accuracy under these statistics", bounded=True)
    ]


def statistics_gap(
    model: Network,
    params: Params,
    batch_stats: BatchStats,
    batch: Batch,
    calibration: Shaped[Array, "num_batches batch *example"],
    *,
    objective: Objective = cross_entropy,
) -> StatisticsGap:
    """Loss and accuracy of a batch under batch, running, frozen and recalibrated statistics.

    Running averages lag behind the weights, recalibrated statistics do not: 10³ to 10⁴ examples
    come close to those of a large batch. At the point itself frozen statistics are the batch's.

    Args:
      model: as `on_batch` takes it.
      params: the point.
      batch_stats: the running statistics of training; where there are none all four are equal.
      batch: the examples that are measured, e.g. held out, of the size of training's batches.
      calibration: images or tokens of `recalibrated`, see `on_batch`.
      objective: logits and labels to a scalar.

    Returns:
      `StatisticsGap`, `[4]` each, units of the loss.

    Raises:
      UsageError: as `on_batch`.

    Source: Wu & Johnson 2021 (2105.07576), §3.
    """
    bare = objective._replace(kernel_penalty=0.0)
    found, rates = [], []
    for statistics in STATISTICS:
        own = on_batch(
            model,
            batch_stats,
            batch,
            statistics,
            centre=params,
            calibration=calibration,
            objective=bare,
        )
        assert isinstance(own, Composite)  # without a penalty
        logits = own.outputs(params)
        found.append(bare(logits, own.labels))
        rates.append(accuracy(logits, own.labels))
    return StatisticsGap(jnp.stack(found), jnp.stack(rates))
