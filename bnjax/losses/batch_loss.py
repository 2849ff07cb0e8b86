"""The loss on one batch as a function of the parameters, under chosen statistics.

The statistics that BatchNorm normalises with are a factor of every experiment on a landscape
(Ghorbani et al. 2019 measure another Hessian under running statistics); here they are chosen.
"""

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from bnjax.data import Batch
from bnjax.errors import UsageError
from bnjax.losses.objectives import Objective, cross_entropy
from bnjax.models import Model
from bnjax.types import BatchStats, Loss, Params, PRNGKey, Scalar

Statistics: TypeAlias = Literal["batch", "running", "frozen", "recalibrated"]


def on_batch(
    model: Model,
    batch_stats: BatchStats,
    batch: Batch,
    statistics: Statistics = "batch",
    *,
    centre: Params | None = None,
    calibration: Float[Array, "num_batches batch height width channels"] | None = None,
    objective: Objective = cross_entropy,
    weight_decay: float = 0.0,
) -> Loss:
    """The loss on one fixed batch as a function of the parameters; running statistics stay put.

    Args:
      model: a `bnjax.models.Model`.
      batch_stats: the running statistics of training.
      batch: the probed batch, floating-point images `[batch, height, width, channels]` and their
        labels.
      statistics: what BatchNorm normalises with:
        `batch`, the statistics of the probed batch at the probed point (the paper's setting);
        `running`, `batch_stats` as they are;
        `frozen`, the statistics of the probed batch at `centre`, whatever the probed point;
        `recalibrated`, the pooled statistics of `calibration` at `centre`.
      centre: parameters; needed by `frozen` and `recalibrated`.
      calibration: images in batches `[num_batches, batch, height, width, channels]`, 10³ to 10⁴
        in all serve well (Wu & Johnson 2021, 2105.07576); needed by `recalibrated`.
      objective: logits and labels to a scalar, see `OBJECTIVES`.
      weight_decay: L2 coefficient, units of the loss over units of the parameters squared; if not
        0, ½ · weight_decay · ‖params‖² is part of the loss.

    Returns:
      `loss(params) -> scalar`, nats for cross-entropy.

    Raises:
      UsageError: unknown `statistics`, what they need is missing, the model or the batch is of
        another type, images are not floating point or not as many as labels, the decay is below 0,
        or a normaliser keeps running statistics and reports no `moments`, which `frozen` and
        `recalibrated` take.

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
    if not (isinstance(model, Model) and isinstance(batch, Batch)):
        raise UsageError(
            f"the model is a {type(model).__name__} and the batch a {type(batch).__name__}: give "
            "bnjax.models.Model(module) and bnjax.data.Batch(images, labels)"
        )
    images, labels = batch.images, batch.labels
    if labels.shape[:1] != images.shape[:1] or not jnp.issubdtype(images.dtype, jnp.floating):
        raise UsageError(
            f"the batch has images {images.dtype} {images.shape} and labels {labels.shape}: give "
            "floating-point images and a label for each"
        )
    if isinstance(weight_decay, float | int) and not weight_decay >= 0:  # not of a traced one
        raise UsageError(f"weight_decay={weight_decay} must be 0 or more")
    train = statistics == "batch"
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

    def loss(params: Params) -> Scalar:
        key = batch.key if train else None
        logits, _ = model.apply(params, batch_stats, batch.images, train=train, key=key)
        value = objective(logits, batch.labels)
        return value + l2_penalty(params, weight_decay) if weight_decay else value

    return loss


def pooled_statistics(
    model: Model,
    params: Params,
    batch_stats: BatchStats,
    calibration: Float[Array, "num_batches batch height width channels"],
    *,
    key: PRNGKey | None = None,
) -> BatchStats:
    r"""Statistics of many batches at one point: mean of means, total variance.

    $\mu = \frac1n\sum_b \mu_b$,  $\sigma^2 = \frac1n\sum_b \sigma_b^2 + \mathrm{Var}_b(\mu_b)$
    per layer, each batch normalised by its own statistics in the layers below.

    Args:
      model: a `bnjax.models.Model`.
      params: the point.
      batch_stats: gives the structure.
      calibration: images, standardised, `[num_batches, batch, height, width, channels]`.
      key: typed PRNG key, for models that draw random numbers.

    Returns:
      A pytree like `batch_stats`, leaves `[channels]`: means (and an ℓp norm's sizes) in units of
      the activations, variances in their square.

    Raises:
      UsageError: a normaliser keeps running statistics and reports no `moments`.

    Source: Wu & Johnson 2021 (2105.07576), "PreciseBN".

    Example:
      >>> from bnjax.models import mlp, norms
      >>> model = mlp(norm=norms.batch_norm(), width=0.02)
      >>> images = jax.random.normal(jax.random.key(0), (3, 8, 2, 2, 1))  # three batches of eight
      >>> variables = model.init(jax.random.key(1), images[0])
      >>> pooled = pooled_statistics(model, **variables, calibration=images)
      >>> jax.tree.map(jnp.shape, pooled["dense1"])
      {'norm': {'mean': (2,), 'var': (2,)}}
    """
    each = jax.lax.map(
        lambda images: model.moments(params, batch_stats, images, key=key), calibration
    )

    def pool(layer: dict) -> dict:
        pooled = {name: values.mean(axis=0) for name, values in layer.items()}
        if "var" in layer:
            pooled["var"] += jnp.var(layer["mean"], axis=0)
        return pooled

    def is_layer(node: object) -> bool:
        return isinstance(node, dict) and "mean" in node

    return jax.tree.map(pool, each, is_leaf=is_layer)


def l2_penalty(params: Params, weight_decay: float) -> Scalar:
    """½ · weight_decay · ‖params‖², whose gradient is the weight decay of plain SGD.

    Args:
      params: pytree of floating-point arrays.
      weight_decay: L2 coefficient, units of the loss over units of the parameters squared.

    Returns:
      Scalar, units of the loss.

    Source: Loshchilov & Hutter 2019, where for plain SGD both are the same.

    Example:
      >>> float(l2_penalty({"w": jnp.array([3.0, 4.0])}, 0.1))
      1.25
    """
    return 0.5 * weight_decay * optax.tree.norm(params, squared=True)
