"""Percentiles of the inputs to each sigmoid of a layer, and test images one by one."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax import models
from bnjax.arithmetic import trees
from bnjax.arithmetic.percentiles import percentiles as percentiles_of
from bnjax.data import Batch
from bnjax.fields import Field
from bnjax.frame import arm as arms
from bnjax.frame.arm import Arm, once
from bnjax.losses import accuracy
from bnjax.models import Model
from bnjax.probes.activations import PERCENTILES
from bnjax.train import Measurement, every
from bnjax.train.outputs import pick
from bnjax.train.step import Gradient, TrainState
from bnjax.types import Images, Labels, Logits

STATISTICS = ("running", "batch")
PerStatistics: TypeAlias = Float[Array, " statistics"]


class Percentiles(NamedTuple):
    """Of the input to each sigmoid of one layer, over the same images at every step."""

    percentiles: Annotated[
        Float[Array, "channel percentile"], Field("Percentiles of the input to each sigmoid")
    ]


class SingleImages(NamedTuple):
    """Of test images one by one (alone) and in one batch (together)."""

    difference: Annotated[PerStatistics, Field("Largest difference of a logit, alone and together")]
    largest: Annotated[PerStatistics, Field("Largest |logit|, together")]
    agreement: Annotated[
        PerStatistics, Field("Share of images with the same class alone and together", bounded=True)
    ]
    accuracy: Annotated[PerStatistics, Field("Test accuracy of images alone", bounded=True)]
    accuracy_together: Annotated[
        PerStatistics, Field("Test accuracy of images together", bounded=True)
    ]


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """The percentiles of every sigmoid of the last hidden layer, and images that come alone."""
    options, pipeline = arm.options, arm.pipeline
    train, test = arm.dataset.train, arm.dataset.test
    inputs = pipeline.standardise(train.pixels[: options.inputs])
    singles = pipeline.standardise(test.pixels[: options.singles])
    *_, layer, _ = models.layer_names(arm.model, train.pixels.shape[1:])
    measure = make_percentiles(arm.model, layer, inputs, statistics=options.statistics)
    alone = make_single_images(arm.model, singles, test.labels[: options.singles])
    when = every(options.probe_every)
    return {"inputs": Measurement(when, measure), "single": Measurement(when, alone)}


def axes(options: Any) -> Mapping[str, Any]:
    """Sigmoids of the last hidden layer, levels of percentiles, statistics."""
    return {
        "channel": range(max(1, round(100 * options.width))),
        "percentile": PERCENTILES,
        "statistics": STATISTICS,
    }


def build_model(options: Any, norm: str, num_classes: int) -> Model:
    """The network of one arm, with this study's initial kernels."""
    model = arms.build_model(options, norm, num_classes)
    if options.initial_deviation is None:
        return model
    init = once(jax.nn.initializers.normal, options.initial_deviation)
    return Model(model.module.clone(kernel_init=init))


def make_percentiles(
    model: Model,
    layer: str,
    images: Images,
    *,
    percentiles: Sequence[float] = PERCENTILES,
    statistics: Literal["batch", "running"] = "batch",
) -> Callable[[TrainState, Batch, Gradient], Percentiles]:
    """Compile the percentiles of the inputs to each sigmoid of a layer, e.g. `dense3`.

    `images` are standardised, and the same at every step, so that only training moves the
    percentiles. BatchNorm normalises with the statistics of `images`, or with the running ones.

    Source: Ioffe & Szegedy 2015, Fig. 1 (b, c).
    """
    compiled = once(
        compile_percentiles, model.initialised, layer, tuple(percentiles), statistics == "batch"
    )
    return functools.partial(compiled, images)


def compile_percentiles(
    model: Model, layer: str, percentiles: tuple[float, ...], train: bool
) -> Callable[[Images, TrainState, Batch, Gradient], Percentiles]:
    """`make_percentiles` of any images."""

    @jax.jit
    def measure(images: Images, state: TrainState, batch: Batch, computed: Gradient) -> Percentiles:
        del computed  # of another batch
        outputs = model.preactivations(
            state.params, state.batch_stats, images, train=train, key=batch.key
        )
        [found] = pick(outputs, [layer])
        rows = found.reshape(-1, found.shape[-1])
        return Percentiles(
            jax.vmap(lambda channel: percentiles_of(channel, percentiles), in_axes=1)(rows)
        )

    return measure


def make_single_images(
    model: Model, images: Images, labels: Labels
) -> Callable[[TrainState, Batch, Gradient], SingleImages]:
    """Compile the comparison of test images, standardised, one by one and in one batch.

    Source: Ioffe & Szegedy 2015, §3.1: inference with population statistics, so that the output
      depends on one input alone.
    """
    return functools.partial(once(compile_single_images, model.initialised), images, labels)


def compile_single_images(
    model: Model,
) -> Callable[[Images, Labels, TrainState, Batch, Gradient], SingleImages]:
    """`make_single_images` of any images."""

    @jax.jit
    def measure(
        images: Images, labels: Labels, state: TrainState, batch: Batch, computed: Gradient
    ) -> SingleImages:
        del computed  # of another batch
        columns = []
        for statistics in STATISTICS:

            def logits(images: Images, *, train: bool = statistics == "batch") -> Logits:
                return model.apply(
                    state.params, state.batch_stats, images, train=train, key=batch.key
                )[0]

            together = logits(images)
            alone = jax.lax.map(lambda image: logits(image[None])[0], images)
            columns.append(
                SingleImages(
                    difference=jnp.abs(alone - together).max(),
                    largest=jnp.abs(together).max(),
                    agreement=accuracy(alone, together.argmax(axis=-1)),
                    accuracy=accuracy(alone, labels),
                    accuracy_together=accuracy(together, labels),
                )
            )
        return trees.stack(columns)

    return measure
