"""Symmetry of each layer's channels along training, and the test with copies at its end."""

import functools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic import trees
from bnjax.arithmetic.layers import describe
from bnjax.data import Batch, Dataset, Split
from bnjax.data.batches import standardise_pixels
from bnjax.data.copies import AVERAGED, Copies, copy_of, make_copies
from bnjax.fields import Field
from bnjax.frame.arm import Arm, build_model
from bnjax.losses import correct
from bnjax.models import Model
from bnjax.probes.symmetry import symmetry
from bnjax.studies.optimizers import usual_multiple
from bnjax.train import Measurement, every
from bnjax.train.evaluation import pad_rows
from bnjax.train.step import Gradient, TrainState
from bnjax.types import Index, Pixels, Scalar

NEVER = -1  # the step of a measurement that is not made
PerKernel: TypeAlias = Float[Array, " kernel"]
PerAverage: TypeAlias = Float[Array, " averaged"]


class SymmetryRow(NamedTuple):
    """Of the channels of each layer; channels that start alike stay alike.

    Kernels are in the order of `kernel_names`. The gradient is that of the minibatch loss.
    """

    differences: Annotated[PerKernel, Field("Greatest difference of two channels")]
    sizes: Annotated[PerKernel, Field("Greatest absolute weight")]
    gradient_norms: Annotated[PerKernel, Field("Gradient norm of each kernel")]
    # NaN where no BatchNorm stands
    variances: Annotated[PerKernel, Field("Greatest variance that BatchNorm divides by")]


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """Symmetry of the channels along training, and at its end the test with copies."""
    options = arm.options
    # Claims on the end are about the usual learning rate: elsewhere nothing is measured there.
    usual = arm.values["multiple"] == usual_multiple(options.multiples)
    last = (options.steps - 1) // options.probe_every * options.probe_every
    measure = make_ending(arm.model, arm.dataset, last if usual else NEVER, shift=options.shift)
    when = every(options.probe_every)
    return {
        "symmetry": Measurement(when, make_symmetry(arm.model)),
        "ending": Measurement(when, measure),
    }


def axes(options: Any) -> Mapping[str, Any]:
    """The layers' kernels, and what is averaged."""
    usual = {"initializer": "he_normal", "dropout": 0.0}
    model = build_model(SimpleNamespace(**vars(options), **usual), "none", 10)
    return {"kernel": kernel_names(model, (32, 32, 3)), "averaged": tuple(AVERAGED)}


def kernel_names(model: Model, image_shape: tuple[int, ...]) -> tuple[str, ...]:
    """The names of a model's kernels, e.g. `conv3/kernel`; nothing is computed."""
    described = describe(model.shapes(image_shape)["params"])
    return tuple(name for name, one in described.items() if one.kind == "kernel")


def make_symmetry(model: Model) -> Callable[[TrainState, Batch, Gradient], SymmetryRow]:
    """Compile the symmetry of a model's layers; once for all that differ in initialisation alone.

    Source: Goodfellow et al. 2016, "Deep Learning", §8.4.
    """
    return compile_symmetry(model.initialised)


@functools.lru_cache(maxsize=16)
def compile_symmetry(model: Model) -> Callable[[TrainState, Batch, Gradient], SymmetryRow]:
    """`make_symmetry` of a model without its initialisation."""

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> SymmetryRow:
        params, batch_stats, moments = state.params, state.batch_stats, {}
        if jax.tree.leaves(batch_stats):
            found = model.moments(params, batch_stats, batch.images, key=batch.key)
            moments = trees.named_leaves(found)
        kernels, gradients = map(trees.named_leaves, (params, computed.gradient))
        rows = []
        for name, one in describe(params).items():
            if one.kind != "kernel":
                continue
            missing = jnp.full((), jnp.nan, kernels[name].dtype)
            variance = moments.get(f"{name.rpartition('/')[0]}/norm/var", missing)
            norm = trees.norm(gradients[name])
            rows.append(SymmetryRow(*symmetry(kernels[name], one), norm, variance.max()))
        return trees.stack(rows)

    return measure


class Ending(NamedTuple):
    """At the last probe, with running statistics and without dropout; NaN at all other steps.

    `train_accuracy` is of as many training images as the test set has.
    """

    train_accuracy: Annotated[Scalar, Field("Accuracy on training images at the end", bounded=True)]
    accuracy: Annotated[PerAverage, Field("Accuracy over averaged copies at the end", bounded=True)]
    gained: Annotated[PerAverage, Field("Images that only the average gets right")]
    lost: Annotated[PerAverage, Field("Images that only the plain prediction gets right")]
    images: Annotated[Scalar, Field("Number of test images")]


def make_ending(
    model: Model, dataset: Dataset, step: int, *, shift: int = 2, chunk: int = 500
) -> Callable[[TrainState, object, object], Ending]:
    """Compile the measurement of one step; once for all equal models.

    Args:
      model: the model that is trained.
      dataset: both splits are read.
      step: at which it measures, `NEVER` for at none; elsewhere all is NaN and costs nothing.
      shift: pixels by which copies are moved, see `make_copies`.
      chunk: images at a time.

    Returns:
      `measure(state, batch, gradient) -> Ending`, whose last two arguments are not used.

    Source: Krizhevsky et al. 2012, §4.1, for averages over ten copies; theirs are other patches.
    """
    train, test = dataset.train, dataset.test
    count = len(test.labels)
    fitted = Split(train.pixels[:count], train.labels[:count])
    measure = compile_ending(model.initialised, dataset.mean, dataset.std, shift, min(chunk, count))
    return lambda state, batch, gradient: measure(state, jnp.int32(step), fitted, test)


@functools.lru_cache(maxsize=16)
def compile_ending(
    model: Model, mean: tuple[float, ...], std: tuple[float, ...], shift: int, chunk: int
) -> Callable[[TrainState, Index, Split, Split], Ending]:
    """`make_ending` of arrays."""
    probabilities = functools.partial(predict, model, mean=mean, std=std, chunk=chunk)

    @jax.jit
    def measure(state: TrainState, step: Index, fitted: Split, test: Split) -> Ending:
        copies = make_copies(shift)
        itself = jax.tree.map(lambda field: field[:1], copies)

        def ending() -> Ending:
            train = correct(probabilities(state, fitted.pixels, itself)[0], fitted.labels)
            each = probabilities(state, test.pixels, copies)
            averages = (each[jnp.array(rows)].mean(axis=0) for rows in AVERAGED.values())
            right = jnp.stack([correct(average, test.labels) for average in averages])
            plain = right[:1]
            counts = (right, right & ~plain, ~right & plain)
            accuracy, gained, lost = (field.sum(axis=1).astype(jnp.float32) for field in counts)
            share = train.sum().astype(jnp.float32) / len(fitted.labels)
            images = jnp.float32(len(test.labels))
            return Ending(share, accuracy / images, gained, lost, images)

        def nothing() -> Ending:
            shapes = jax.eval_shape(ending)
            return jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)

        return jax.lax.cond(state.step == step, ending, nothing)

    return measure


def predict(
    model: Model,
    state: TrainState,
    pixels: Pixels,
    copies: Copies,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    chunk: int,
) -> Float[Array, "copies images classes"]:
    """Probabilities of each copy of each image, `chunk` images and one copy at a time.

    Args:
      model: a `bnjax.models.Model`.
      state: its parameters and running statistics, which are used.
      pixels: `[images, height, width, channels]`.
      copies: rows of `Copies`.
      mean: of each channel of the pixels, see `Dataset`.
      std: their standard deviation.
      chunk: images at a time; the last chunk is padded.
    """
    count = pixels.shape[0]
    chunks = -(-count // chunk)
    padded = pad_rows(pixels, chunks * chunk).reshape(chunks, chunk, *pixels.shape[1:])

    def of_chunk(some: Pixels) -> Array:
        images = standardise_pixels(some, mean, std, jnp.dtype(jnp.float32))

        def of_copy(copy: Copies) -> Array:
            shown = copy_of(images, copy)
            logits, _ = model.apply(state.params, state.batch_stats, shown, train=False)
            return jax.nn.softmax(logits)

        return jax.lax.map(of_copy, copies)

    each = jax.lax.map(of_chunk, padded)  # [chunks, copies, chunk, classes]
    return each.swapaxes(0, 1).reshape(each.shape[1], chunks * chunk, -1)[:, :count]
