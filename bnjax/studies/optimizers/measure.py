"""Symmetry of each layer's channels along training, and the test with copies at its end."""

import functools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic import trees
from bnjax.data import Batch, Dataset
from bnjax.data.batches import standardise_pixels
from bnjax.data.copies import AVERAGED, Copies, copy_of, make_copies
from bnjax.fields import Field
from bnjax.frame.arm import Arm, build_model
from bnjax.losses import correct
from bnjax.models import Model
from bnjax.probes.symmetry import symmetry
from bnjax.studies.optimizers import usual_multiple
from bnjax.train import Probe, every
from bnjax.train.evaluation import pad_rows
from bnjax.train.step import Gradient, TrainState
from bnjax.types import BatchStats, Index, Labels, Params, Pixels, Scalar

KERNEL = "/kernel"
NEVER = -1  # the step of a measurement that is not made


class SymmetryRow(NamedTuple):
    """Of the channels of each layer; channels that start alike stay alike.

    Kernels are in the order of `kernel_names`. The gradient is that of the minibatch loss.
    """

    differences: Annotated[Float[Array, " kernel"], Field("Greatest difference of two channels")]
    sizes: Annotated[Float[Array, " kernel"], Field("Greatest absolute weight")]
    gradient_norms: Annotated[Float[Array, " kernel"], Field("Gradient norm of each kernel")]
    variances: Annotated[  # NaN where no BatchNorm stands
        Float[Array, " kernel"], Field("Greatest variance that BatchNorm divides by")
    ]


def probes(arm: Arm) -> Mapping[str, Probe]:
    """Symmetry of the channels along training, and at its end the test with copies."""
    options = arm.options
    # Claims on the end are about the usual learning rate: elsewhere nothing is measured there.
    usual = arm.values["multiple"] == usual_multiple(options.multiples)
    last = (options.steps - 1) // options.probe_every * options.probe_every
    measure = make_ending(arm.model, arm.dataset, last if usual else NEVER, shift=options.shift)
    when = every(options.probe_every)
    return {
        "symmetry": Probe(when, make_symmetry(arm.model)),
        "ending": Probe(when, measure),
    }


def axes(options: Any) -> Mapping[str, Any]:
    """The layers' kernels, and what is averaged."""
    usual = {"initializer": "he_normal", "dropout": 0.0}
    model = build_model(SimpleNamespace(**vars(options), **usual), "none", 10)
    return {"kernel": kernel_names(model, (32, 32, 3)), "averaged": tuple(AVERAGED)}


def kernel_names(model: Model, image_shape: tuple[int, ...]) -> tuple[str, ...]:
    """The names of a model's kernels, e.g. `conv3/kernel`; nothing is computed."""
    shapes = model.shapes(image_shape)
    return tuple(name for name in trees.leaf_names(shapes["params"]) if name.endswith(KERNEL))


def make_symmetry(model: Model) -> Callable[[TrainState, Batch, Gradient], SymmetryRow]:
    """Compile the symmetry of a model's layers; once for all that differ in initialisation alone.

    Returns:
      `measure(state, batch, gradient) -> SymmetryRow`, compiled.

    Source: Goodfellow et al. 2016, "Deep Learning", §8.4.
    """
    return compile_symmetry(model.initialised)


@functools.lru_cache(maxsize=16)
def compile_symmetry(model: Model) -> Callable[[TrainState, Batch, Gradient], SymmetryRow]:
    """`make_symmetry` of a model without its initialisation."""

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> SymmetryRow:
        moments: dict[str, Array] = {}
        if jax.tree.leaves(state.batch_stats):
            moments = trees.named_leaves(
                model.moments(state.params, state.batch_stats, batch.images, key=batch.key)
            )
        gradients = trees.named_leaves(computed.gradient)
        rows = []
        for name, kernel in trees.named_leaves(state.params).items():
            if not name.endswith(KERNEL):
                continue
            channels = symmetry(kernel)
            variance = moments.get(f"{name.removesuffix(KERNEL)}/norm/var")
            rows.append(
                SymmetryRow(
                    channels.difference,
                    channels.size,
                    jnp.linalg.norm(gradients[name].ravel()),
                    jnp.full((), jnp.nan, kernel.dtype) if variance is None else variance.max(),
                )
            )
        return trees.stack(rows)

    return measure


class Ending(NamedTuple):
    """At the last probe, with running statistics and without dropout; NaN at all other steps.

    `train_accuracy` is of as many training images as the test set has.
    """

    train_accuracy: Annotated[Scalar, Field("Accuracy on training images at the end", bounded=True)]
    accuracy: Annotated[
        Float[Array, " averaged"], Field("Accuracy over averaged copies at the end", bounded=True)
    ]
    gained: Annotated[Float[Array, " averaged"], Field("Images that only the average gets right")]
    lost: Annotated[
        Float[Array, " averaged"],
        Field("Images that only the plain prediction gets right"),
    ]
    images: Annotated[Scalar, Field("Number of test images")]


def make_ending(
    model: Model, dataset: Dataset, step: int, *, shift: int = 2, chunk: int = 500
) -> Callable[[TrainState, object, object], Ending]:
    """Compile the measurement of one step; once for all equal models.

    Args:
      model: a `bnjax.models.Model`.
      dataset: both splits are read.
      step: at which it measures, `NEVER` for at none; elsewhere all is NaN and costs nothing.
      shift: pixels by which copies are moved, see `make_copies`.
      chunk: images at a time.

    Returns:
      `measure(state, batch, gradient) -> Ending`, whose last two arguments are not used.

    Raises:
      UsageError: a shift that `make_copies` refuses.

    Source: Krizhevsky et al. 2012, §4.1, for averages over ten copies; theirs are other patches.
    """
    train, test = dataset.train, dataset.test
    count = len(test.labels)
    splits = (train.pixels[:count], train.labels[:count], test.pixels, test.labels)
    measure = compile_ending(model.initialised, dataset.mean, dataset.std, shift, min(chunk, count))
    return lambda state, batch, gradient: measure(state, jnp.int32(step), *splits)


@functools.lru_cache(maxsize=16)
def compile_ending(
    model: Model,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    shift: int,
    chunk: int,
) -> Callable[[TrainState, Index, Pixels, Labels, Pixels, Labels], Ending]:
    """`make_ending` of arrays."""

    def probabilities(state: TrainState, pixels: Pixels, copies: Copies) -> Array:
        return predict(model, state.params, state.batch_stats, pixels, copies, mean, std, chunk)

    @jax.jit
    def measure(
        state: TrainState,
        step: Index,
        fitted: Pixels,
        labels: Labels,
        pixels: Pixels,
        targets: Labels,
    ) -> Ending:
        copies = make_copies(shift)
        itself = jax.tree.map(lambda field: field[:1], copies)

        def ending() -> Ending:
            train = correct(probabilities(state, fitted, itself)[0], labels)
            each = probabilities(state, pixels, copies)
            right = jnp.stack(
                [correct(each[jnp.array(rows)].mean(axis=0), targets) for rows in AVERAGED.values()]
            )
            plain = right[:1]
            counts = (right, right & ~plain, ~right & plain)
            accuracy, gained, lost = (field.sum(axis=1).astype(jnp.float32) for field in counts)
            share = train.sum().astype(jnp.float32) / len(labels)
            images = jnp.float32(len(targets))
            return Ending(share, accuracy / images, gained, lost, images)

        def nothing() -> Ending:
            return jax.tree.map(
                lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), jax.eval_shape(ending)
            )

        return jax.lax.cond(state.step == step, ending, nothing)

    return measure


def predict(
    model: Model,
    params: Params,
    batch_stats: BatchStats,
    pixels: Pixels,
    copies: Copies,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    chunk: int,
) -> Float[Array, "copies images classes"]:
    """Probabilities of each copy of each image, `chunk` images and one copy at a time.

    Args:
      model: a `bnjax.models.Model`.
      params: its parameters.
      batch_stats: running statistics, which are used.
      pixels: `[images, height, width, channels]`.
      copies: rows of `Copies`.
      mean: of each channel of the pixels, see `Dataset`.
      std: their standard deviation.
      chunk: images at a time; the last chunk is padded.

    Returns:
      Softmax of the logits, `[copies, images, classes]`.
    """
    count = pixels.shape[0]
    chunks = -(-count // chunk)
    padded = pad_rows(pixels, chunks * chunk).reshape(chunks, chunk, *pixels.shape[1:])

    def of_chunk(some: Pixels) -> Array:
        images = standardise_pixels(some, mean, std, jnp.dtype(jnp.float32))

        def of_copy(copy: Copies) -> Array:
            shown = copy_of(images, copy)
            logits, _ = model.apply(params, batch_stats, shown, train=False)
            return jax.nn.softmax(logits)

        return jax.lax.map(of_copy, copies)

    each = jax.lax.map(of_chunk, padded)  # [chunks, copies, chunk, classes]
    return each.swapaxes(0, 1).reshape(each.shape[1], chunks * chunk, -1)[:, :count]
