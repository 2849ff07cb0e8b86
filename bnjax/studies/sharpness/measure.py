"""Sharpness along training: of batches, of the optimiser's step, and of the normalised layers."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bnjax import losses, models
from bnjax import probes as library
from bnjax.arithmetic.layers import describe
from bnjax.data import Batch, Pipeline, Split
from bnjax.errors import require
from bnjax.fields import Field
from bnjax.frame import arm as arms
from bnjax.frame import recording
from bnjax.frame.arm import Arm, matrix_precision, once, optimizer_rule
from bnjax.losses import Objective, StatisticsGap
from bnjax.models import Model, norms
from bnjax.studies.landscape import measure as landscape
from bnjax.train import Measurement, every
from bnjax.train.step import Gradient, MakeLoss, TrainState
from bnjax.types import Params, Pixels, PRNGKey, Scalar

MULTIPLES = (0.5, 1.0, 2.0, 4.0)  # of lr, along the gradient: those of Santurkar et al. 2018


class Update(NamedTuple):
    """Of the optimiser's step at a probe, on its batch; as `bnjax.recorder.Recording` has it."""

    learning_rate: Annotated[Scalar, Field("Learning rate")]
    critical_sharpness: Annotated[Scalar, Field("Critical sharpness 2/η_c")]
    edge: Annotated[Scalar, Field("2/lr − wd")]
    rotation_ratios: Annotated[
        Float[Array, " hidden_layer"], Field("Rotation over its equilibrium")
    ]


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """All that is measured of one arm."""
    options, key, when = arm.options, arm.key("probe"), every(arm.options.probe_every)
    precision = matrix_precision(options.probe_precision)
    loss, layers = arm.probed_loss(options.probe_precision), layers_of(arm)
    train, names = arm.dataset.train, tuple(name for _, own in layers for name in own)
    of_batches = once(
        make_sharpness, loss, arm.pipeline, count=options.batches, precision=precision
    )
    of_sphere = once(
        make_spherical,
        loss,
        arm.pipeline,
        names,
        count=options.batches,
        lanczos_steps=options.lanczos_steps,
        precision=precision,
    )
    of_step = once(
        make_update,
        optimizer_rule(options),
        loss,
        layers,
        arm.selection,
        precision,
    )
    gap = once(
        make_gap, arm.model_at(options.probe_precision).initialised, arm.pipeline, arm.objective
    )
    line = landscape.make_line(
        loss,
        step_sizes(options),
        key,
        gradient=arms.build_program(arm).gradient
        if arm.trains_in(options.probe_precision)
        else None,
        limits_every=0,
        precision=precision,
    )
    shapes = landscape.line_shapes(1, len(MULTIPLES))
    images = train.pixels[: options.calibration_images]
    return {
        "sharpness": Measurement(when, functools.partial(of_batches, train, key)),
        "update": Measurement(when, of_step),
        "spherical": Measurement(when, functools.partial(of_sphere, train, key)),
        "statistics": Measurement(when, functools.partial(gap, arm.dataset.test, images)),
        "line": Measurement(when, line, ("direction",), shapes),
    }


def axes(options: Any) -> Mapping[str, Any]:
    """Batches, layers, kinds of statistics, and step sizes along the gradient."""
    return {
        "batch": range(options.batches),
        "hidden_layer": arms.names_of(build_model(options, "none", 10), options)[:-1],
        "statistics": losses.STATISTICS,
        "direction": ("gradient",),
        "step_size": step_sizes(options),
    }


def check(options: Any, dataset: Any) -> None:
    """Refuse more images than there are."""
    known = dataset.train.labels.shape[0]
    legal = options.calibration_images <= known
    require("--calibration-images", options.calibration_images, legal, f"at most {known}")


def step_sizes(options: Any) -> np.ndarray:
    return (options.lr * np.array(MULTIPLES)).astype(np.float32)


def build_model(options: Any, norm: str, num_classes: int) -> Model:
    """The network of the options; a perceptron has ReLUs in place of its sigmoids."""
    model = arms.build_model(options, norm, num_classes)
    if options.model != "mlp":
        return model
    return dataclasses.replace(model, module=model.module.clone(activation="relu"))


def layers_of(arm: Arm) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Kernel and bias of each layer but the last, by its name.

    They are scale-invariant together where a normaliser stands behind them; a kernel alone is not,
    where the normaliser takes no constant off. A normaliser of kernels has no part in the bias.
    """
    image_shape = arm.dataset.train.pixels.shape[1:]
    described = describe(arm.model.shapes(image_shape)["params"])
    kinds = ("kernel", "bias")[: 1 if norms.by_name(arm.values["norm"]).reparametrise else 2]
    return tuple(
        (
            layer,
            tuple(
                name
                for name, one in described.items()
                if name.rpartition("/")[0] == layer and one.kind in kinds
            ),
        )
        for layer in models.layer_names(arm.model, image_shape)[:-1]
    )


def draw_batches(split: Split, pipeline: Pipeline, key: PRNGKey, count: int) -> Batch:
    """Batches of training's size, each drawn by itself, `[count, batch, …]`."""

    def draw(key: PRNGKey) -> Batch:
        rows = jax.random.permutation(key, pipeline.num_images)[: pipeline.batch_size]
        return Batch(pipeline.standardise(split.pixels[rows]), split.labels[rows], key)

    return jax.lax.map(draw, jax.random.split(key, count))


def make_sharpness(
    make_loss: MakeLoss, pipeline: Pipeline, *, count: int, precision: str
) -> Callable[..., library.BatchSharpness]:
    """Compile the batch sharpness: `measure(train, key, state, batch, gradient)`.

    The batches of a step depend on it and on the key alone.
    """

    @jax.jit
    def measure(train: Split, key: PRNGKey, state: TrainState, *_: Any) -> library.BatchSharpness:
        batches = draw_batches(train, pipeline, jax.random.fold_in(key, state.step), count)

        def loss(params: Params, batch: Batch) -> Scalar:
            return make_loss(state, batch)(params)

        return library.batch_sharpness(loss, state.params, batches, precision=precision)

    return measure


def make_update(*arguments: Any) -> Callable[..., Update]:
    """Some fields of the flight recorder's row of each step; arguments as it takes them."""
    record = recording.make_measure(*arguments)

    def measure(state: TrainState, batch: Batch, computed: Gradient) -> Update:
        row = record(state, batch, computed)
        return Update(*(getattr(row, field) for field in Update._fields))

    return measure


def make_spherical(
    make_loss: MakeLoss,
    pipeline: Pipeline,
    names: tuple[str, ...],
    *,
    count: int,
    lanczos_steps: int,
    precision: str,
) -> Callable[..., library.SphericalSharpness]:
    """Compile the spherical sharpness of some leaves, of the mean loss over the same batches."""

    @jax.jit
    def measure(
        train: Split, key: PRNGKey, state: TrainState, *_: Any
    ) -> library.SphericalSharpness:
        batches = draw_batches(train, pipeline, jax.random.fold_in(key, state.step), count)
        loss = library.mean_over(lambda params, batch: make_loss(state, batch)(params), batches)
        return library.spherical_sharpness(
            loss,
            state.params,
            key,
            state.opt_state.hyperparams["lr"],
            parameters=names,
            lanczos_steps=lanczos_steps,
            precision=precision,
        )

    return measure


def make_gap(
    model: Model, pipeline: Pipeline, objective: Objective
) -> Callable[..., StatisticsGap]:
    """Compile the losses of the test set under each kind of statistics, batch by batch.

    The mean over batches of training's size; what is left of the test set is left out. NaN of a
    network without running statistics.
    """

    @jax.jit
    def measure(test: Split, calibration: Pixels, state: TrainState, *_: Any) -> StatisticsGap:
        size = min(pipeline.batch_size, len(test.labels))
        if not jax.tree.leaves(state.batch_stats):
            nothing = jnp.full(len(losses.STATISTICS), jnp.nan)
            return StatisticsGap(nothing, nothing)
        whole = len(test.labels) // size * size
        images = pipeline.standardise(test.pixels[:whole])
        batches = Batch(
            images.reshape(-1, size, *images.shape[1:]),
            test.labels[:whole].reshape(-1, size, *test.labels.shape[1:]),
            jax.random.split(jax.random.key(0), whole // size),
        )
        known = pipeline.standardise(calibration)
        known = known.reshape(-1, pipeline.batch_size, *known.shape[1:])

        def of_batch(batch: Batch) -> StatisticsGap:
            return losses.statistics_gap(
                model, state.params, state.batch_stats, batch, known, objective=objective
            )

        found = jax.vmap(of_batch)(batches)  # recalibrates once for all
        return jax.tree.map(lambda values: values.mean(axis=0), found)

    return measure
