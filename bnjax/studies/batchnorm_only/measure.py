"""What a network does with its features: γ, which of them it switches off, and what that costs."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bnjax import models
from bnjax.arithmetic import trees
from bnjax.arithmetic.trees import Predicate, Selection
from bnjax.data import Dataset, Split
from bnjax.data.batches import standardise_pixels
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.frame.arm import Arm, stream_key
from bnjax.losses import Objective
from bnjax.models import Model, norms
from bnjax.models.resnet import convolution_names, zero_share
from bnjax.studies.batchnorm_only import trained_network
from bnjax.train import Sweep, TrainState, parts
from bnjax.train.evaluation import make_evaluate
from bnjax.train.loop import Measured, MeasureRow
from bnjax.types import Params, PRNGKey, Scalar

EDGES = np.linspace(-2.0, 2.0, 81)  # of histograms; the outer bins hold all beyond
CENTRES = tuple(((EDGES[1:] + EDGES[:-1]) / 2).tolist())
SWITCHED_OFF = 0.01  # |γ| below which Frankle et al. 2020 count a feature as switched off
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


SCALE_INITS: Mapping[str, Callable[..., Array]] = {
    "uniform": jax.nn.initializers.uniform(1.0),
    "half": jax.nn.initializers.constant(0.5),
    "one": jax.nn.initializers.ones,
    "sign": jax.random.rademacher,
}


def after(arm: Arm) -> Mapping[str, Sweep]:
    """γ, sparsity and accuracies before and after training."""
    return {"ends": make_features_sweep(arm.model, arm.dataset, arm.objective, arm.key("init"))}


def axes(options: Any) -> Mapping[str, Any]:
    """Both ends of training, centres of the bins of γ, and thresholds."""
    return {"end": ("before", "after"), "bin": CENTRES, "threshold": THRESHOLDS}


def keep(arm: Arm, state: TrainState) -> Mapping[str, np.ndarray]:
    """The trained network as its seed and what was trained."""
    return trained_network.pack(arm, state)


def build_model(options: Any, norm: str, num_classes: int) -> models.Model:
    """The network of one arm."""
    del norm
    every = options.norm_every
    # Whoever names single layers needs them one by one; of two in turn a block has one each.
    alike = every <= 2 and not options.no_scale and not options.no_shift
    return models.resnet(
        options.depth,
        norm=norms.with_exceptions(batch_norm(options), exceptions(options)),
        num_classes=num_classes,
        width=options.width,
        initializer=options.initializer,
        dropout=options.dropout,
        scan=None if alike else False,
    )


def batch_norm(options: Any, **affine: bool) -> models.Norm:
    """BatchNorm with γ drawn as in this arm."""
    return norms.batch_norm(scale_init=SCALE_INITS[options.scale_init], **affine)


def exceptions(options: Any) -> dict[str, models.Norm]:
    """The layers whose normaliser is another, by name."""
    every = options.norm_every
    found = {
        layer: batch_norm(
            options,
            use_scale=layer not in options.no_scale,
            use_bias=layer not in options.no_shift,
        )
        for layer in (*options.no_scale, *options.no_shift)
    }
    found |= {f"conv{place}": norms.none() for place in range(1, options.depth) if place % every}
    # Of a scanned block, conv 2b is the first and conv 2b + 1 the second.
    return found | ({"second": norms.none()} if every == 2 else {})


def decays(options: Any) -> Predicate | None:
    """Which parameters decay."""
    return None if options.decay_norm else parts.not_of_norm


def select(options: Any, shapes: Params, seed: int) -> Selection:
    """What an arm trains."""
    return parts.select(options.trained, shapes, stream_key(seed, "select"))


def check_options(options: Any) -> None:
    """Refuse layers that a network does not have."""
    for depth in options.depths:
        known = convolution_names(depth)
        for option, layers in (("--no-scale", options.no_scale), ("--no-shift", options.no_shift)):
            if unknown := [layer for layer in layers if layer not in known]:
                raise UsageError(
                    f"{option} {' '.join(unknown)}: a ResNet-{depth} has {' '.join(known)}"
                )


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

    Example:
      >>> from bnjax import models
      >>> from bnjax.data.dataset import from_arrays
      >>> from bnjax.losses import cross_entropy
      >>> split = np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1])
      >>> dataset = from_arrays("grey", 2, split, split)
      >>> model = models.resnet(norm=models.norms.batch_norm(), depth=8, num_classes=2, width=0.1)
      >>> sweep = make_features_sweep(model, dataset, cross_entropy, jax.random.key(0))
      >>> sweep.rows, sweep.shapes.scales.shape
      (2, (80,))
    """
    measure = make_features(model, dataset, objective)
    images = jnp.zeros((1, *dataset.train.pixels.shape[1:]), jnp.float32)

    def begin(state: TrainState, measured: Measured) -> MeasureRow:
        del measured
        start = state._replace(**model.init(key, images))
        return lambda row: measure(state if row else start, bool(row))

    state = TrainState(jnp.int32(0), **model.shapes(images.shape[1:]), opt_state=())
    return Sweep(2, jax.eval_shape(lambda state: measure(state, True), state), begin)


def make_features(model: Model, dataset: Dataset, objective: Objective) -> Measure:
    """Compile the measurement of a model's features for the states of one training run.

    Args:
      model: a `bnjax.models.resnet` with BatchNorm.
      dataset: the one that is trained on.
      objective: the training loss.

    Returns:
      `measure(state, clamped) -> Features`. Without `clamped` the accuracies with γ set to 0 are
      NaN. Running statistics stay as they are where γ is clamped.

    Raises:
      UsageError: at the first call, a model without γ.

    Source: Frankle et al. 2020 (2003.00152), §5.

    Example:
      >>> from bnjax import models
      >>> from bnjax.data.dataset import from_arrays
      >>> from bnjax.losses import cross_entropy
      >>> split = np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1])
      >>> dataset = from_arrays("grey", 2, split, split)
      >>> model = models.resnet(norm=models.norms.batch_norm(), depth=8, num_classes=2, width=0.1)
      >>> start = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1), jnp.float32))
      >>> state = TrainState(jnp.int32(0), **start, opt_state=())
      >>> features = make_features(model, dataset, cross_entropy)(state, False)
      >>> features.small[:2].tolist(), features.train_accuracy.item()  # every γ begins at 1
      ([0.0, 0.0], 0.5)
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
    """The histogram of all γ, and the share below each threshold.

    Args:
      params: of a network with BatchNorm.

    Returns:
      Shares of all γ between the `EDGES`, and shares whose |γ| is below each of `THRESHOLDS`.

    Raises:
      UsageError: there is no γ.

    Source: Frankle et al. 2020 (2003.00152), §5.

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
