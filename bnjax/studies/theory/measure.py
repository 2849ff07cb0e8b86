"""The theorems of Santurkar et al. 2018 along training, on chosen layers and channels.

Training stays as it is. In float64 the probe casts parameters, statistics and inputs, and computes
under `jax.enable_x64` by itself, so no flag of the process changes and the trained network is the
same, bit for bit, whatever the precision of the probe.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax import models
from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.errors import UsageError, require
from bnjax.fields import Field
from bnjax.frame import arm as arms
from bnjax.frame.arm import Arm, once
from bnjax.losses import Objective
from bnjax.models import Model, interception
from bnjax.models.interception import Interception, channels_of_norms
from bnjax.probes.theory import Steepness, Theory, steepness, theory
from bnjax.train import Measurement, every
from bnjax.train.step import Gradient, TrainState
from bnjax.types import Params, Scalar

PerLayer: TypeAlias = Float[Array, " probed_layer"]
PerChannel: TypeAlias = Float[Array, "probed_layer channel"]


class TheoryRow(NamedTuple):
    """On one batch: ŷ = (y − μ)/σ, z = γŷ + β, g = ∂L/∂z, v = ∂L/∂y, H and Ĥ by z and by y.

    y is what a layer hands to its normaliser, if any. Fields named `channel_` are of each chosen
    channel, the others over all channels of a layer. Without normalisation the last 15 are NaN.
    """

    loss: Annotated[PerLayer, Field("Loss of the batch")]  # the same for each layer but rounding
    gradient_squared: Annotated[PerLayer, Field("‖v‖² of the layer")]
    curvature: Annotated[PerLayer, Field("vᵀĤv of the layer")]
    variance: Annotated[PerLayer, Field("Variance of y, mean over channels")]
    channel_gradient_squared: Annotated[PerChannel, Field("4.1, left side ‖v‖²")]
    channel_curvature: Annotated[PerChannel, Field("4.2, left side vᵀĤv")]
    lipschitz_right: Annotated[PerLayer, Field("4.1, right side, summed over channels")]
    lipschitz_residual: Annotated[PerLayer, Field("4.1, largest residual of a channel")]
    printed_share: Annotated[  # left ≤ right
        PerLayer, Field("4.1 as printed, share of channels at which it holds", bounded=True)
    ]
    printed_residual: Annotated[PerLayer, Field("4.1 as printed, largest residual of a channel")]
    aligned_share: Annotated[PerLayer, Field("Share of channels with ⟨ŷ, g⟩ > 0", bounded=True)]
    scaled_gradient_squared: Annotated[PerLayer, Field("γ²/σ² ‖g‖², summed over channels")]
    channel_lipschitz_right: Annotated[PerChannel, Field("4.1, right side")]
    channel_lipschitz_residual: Annotated[PerChannel, Field("4.1, residual")]
    channel_curvature_right: Annotated[PerChannel, Field("4.2, right side")]
    channel_curvature_residual: Annotated[PerChannel, Field("4.2, residual")]
    channel_worst: Annotated[PerChannel, Field("4.4, left side")]
    channel_worst_right: Annotated[PerChannel, Field("4.4, right side")]
    channel_worst_residual: Annotated[PerChannel, Field("4.4, residual")]
    channel_alignment: Annotated[PerChannel, Field("⟨ŷ, g⟩ of channels")]
    channel_quadratic: Annotated[PerChannel, Field("vᵀHv of channels")]


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """The theory probe of one arm, with the statistics of the step's batch.

    A network without BatchNorm has Lipschitz and curvature terms only. The gradient by the
    parameters is not what the theorems are about.

    Source: Santurkar et al. 2018, Theorems 4.1, 4.2 and 4.4.
    """
    options = arm.options
    measure = once(
        make_theory,
        arm.model.initialised,
        options.layers,
        normalised=arm.values["norm"] == "batch",
        objective=arm.objective,
        channels=options.channels,
        epsilon=options.epsilon,
        input_norm=options.input_norm,
        float64=options.float64,
    )
    return {"theory": Measurement(every(options.probe_every), measure)}


def make_theory(
    model: Model,
    layers: Sequence[str],
    *,
    normalised: bool,
    objective: Objective,
    channels: Sequence[int],
    epsilon: float,
    input_norm: float,
    float64: bool,
) -> Callable[[TrainState, Batch, Gradient | None], TheoryRow]:
    """Compile the theory of some layers for the states of one training run, see `probes`."""
    chosen = jnp.asarray(channels)
    intercept = interception.at_norms if normalised else interception.at_outputs

    def measure_layer(found: Interception, params: Params, labels: Array) -> TheoryRow:
        shape = found.activations.shape
        rows = found.activations.reshape(-1, shape[-1])

        def head(rows: Array) -> Scalar:
            return objective(found.head(rows.reshape(shape)), labels)

        if not normalised:
            seen = steepness(head, rows, channels=channels)
            return row_of(seen, rows.var(axis=0).mean(), chosen)
        measured = theory(
            head,
            rows,
            params["norm"]["scale"],
            params["norm"]["bias"],
            channels=channels,
            epsilon=epsilon,
            input_norm=input_norm,
        )
        return normalised_row(measured, chosen)

    @jax.jit
    def compiled(state: TrainState, batch: Batch) -> TheoryRow:
        own_bits = state.params, state.batch_stats, batch.images, batch.labels
        params, batch_stats, images, labels = (
            trees.cast_floating(own_bits, jnp.float64) if float64 else own_bits
        )
        with jax.default_matmul_precision("highest"):
            found = intercept(model, layers, params, batch_stats, images, key=batch.key)
            own = model.by_layer.split(params)
            return trees.stack(
                [measure_layer(found[name], trees.at(own, name), labels) for name in layers]
            )

    def measure(state: TrainState, batch: Batch, _: Gradient | None) -> TheoryRow:
        with jax.enable_x64(True) if float64 else contextlib.nullcontext():
            return compiled(state, batch)

    return measure


def axes(options: Any) -> Mapping[str, Any]:
    """Probed layers and channels."""
    return {"probed_layer": options.layers, "channel": options.channels}


def build_model(options: Any, norm: str, num_classes: int) -> Model:
    """The network of one arm; BatchNorm has this study's epsilon."""
    model = arms.build_model(options, norm, num_classes)
    if norm != "batch":
        return model
    module = model.module.clone(norm=once(models.norms.batch_norm, epsilon=options.epsilon))
    return dataclasses.replace(model, module=module)


def check_options(options: Any) -> None:
    """Refuse layers without a normaliser, and channels that they do not have."""
    shape = (2, 1, 1, 10) if options.model == "dln" else (2, 32, 32, 3)
    model = build_model(options, "batch", 10)
    known = channels_of_norms(model, jax.ShapeDtypeStruct(shape, jnp.float32))
    for layer in options.layers:
        if layer not in known:
            raise UsageError(
                f"--layers {layer}: no such layer with a normaliser; choose from {' '.join(known)}"
            )
        for channel in options.channels:
            expected = f"from 0 to {known[layer] - 1}, the channels of {layer}"
            require("--channels", channel, 0 <= channel < known[layer], expected)


def row_of(seen: Steepness, variance: Scalar, chosen: Array, **theorems: Array) -> TheoryRow:
    """The row of a layer; without normaliser no theorem applies, and their fields are NaN."""
    like = {"channel": seen.curvature}
    row = {
        field: jnp.full_like(like.get(field.partition("_")[0], seen.loss), jnp.nan)
        for field in TheoryRow._fields
    }
    row |= {
        "loss": seen.loss,
        "gradient_squared": seen.gradient_squared.sum(),
        "curvature": seen.layer_curvature,
        "variance": variance,
        "channel_gradient_squared": seen.gradient_squared[chosen],
        "channel_curvature": seen.curvature,
    }
    return TheoryRow(**{**row, **theorems})


def normalised_row(measured: Theory, chosen: Array) -> TheoryRow:
    """The row of a layer with BatchNorm."""
    lipschitz, curvature, worst = measured.lipschitz, measured.curvature, measured.worst_gradient
    dtype = lipschitz.left.dtype
    return row_of(
        measured.steepness,
        measured.variance.mean(),
        chosen,
        lipschitz_right=lipschitz.right.sum(),
        lipschitz_residual=jnp.abs(lipschitz.residual).max(),
        printed_share=jnp.mean(lipschitz.left <= measured.printed.right, dtype=dtype),
        printed_residual=jnp.abs(measured.printed.residual).max(),
        aligned_share=jnp.mean(measured.alignment > 0, dtype=dtype),
        scaled_gradient_squared=measured.scaled_gradient_squared.sum(),
        channel_lipschitz_right=lipschitz.right[chosen],
        channel_lipschitz_residual=lipschitz.residual[chosen],
        channel_curvature_right=curvature.right,
        channel_curvature_residual=curvature.residual,
        channel_worst=worst.left[chosen],
        channel_worst_right=worst.right[chosen],
        channel_worst_residual=worst.residual[chosen],
        channel_alignment=measured.alignment[chosen],
        channel_quadratic=measured.quadratic,
    )
