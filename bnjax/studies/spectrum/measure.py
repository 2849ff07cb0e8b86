"""The Hessian's spectrum along training, on a fixed part of the training set.

Under `batch` statistics each piece of that part is normalised by itself, as training normalises
each batch; under `running` all are normalised by training's running statistics, and under
`recalibrated` by the statistics of the whole part at this very point (the population's).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from bnjax import losses
from bnjax.arithmetic import trees
from bnjax.data import Batch, Dataset, Pipeline
from bnjax.errors import UsageError
from bnjax.frame.arm import Arm, matrix_precision, once
from bnjax.models import Model
from bnjax.probes.points import mean_over
from bnjax.probes.spectrum import Spectrum, spectrum
from bnjax.train import Measurement, every
from bnjax.train.step import Gradient, TrainState
from bnjax.types import Params, PRNGKey, Scalar

STATISTICS = ("batch", "running", "recalibrated")


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """The spectrum probe of one arm."""
    options, key = arm.options, arm.key("probe")
    compiled = once(
        compile_spectrum,
        arm.model_at(options.probe_precision).initialised,
        statistics=options.statistics,
        objective=arm.objective,
        lanczos_steps=options.lanczos_steps,
        num_vectors=options.vectors,
        num_trace_vectors=options.trace_vectors,
        top=options.top,
        precision=matrix_precision(options.probe_precision),
    )
    part = probed_part(arm.dataset, arm.pipeline, options.images, options.chunk, key)
    measure = functools.partial(compiled, part, key)
    return {"spectrum": Measurement(every(options.probe_every), measure, ("statistics",))}


def axes(options: Any) -> Mapping[str, Any]:
    """Statistics, vectors, nodes of the quadrature, and ranks from 1."""
    return {
        "statistics": options.statistics,
        "vector": range(options.vectors),
        "node": range(options.lanczos_steps),
        "rank": range(1, options.top + 1),
    }


def probed_part(
    dataset: Dataset, pipeline: Pipeline, images: int, chunk: int, key: PRNGKey
) -> Batch:
    """The first `images` training examples, standardised, in pieces `[images / chunk, chunk, …]`.

    Each piece has a key of its own, so that what is random in a model (dropout, noise) is drawn
    once and is the same at every step and under every product with the Hessian.

    Raises:
      UsageError: more images than there are, or a chunk that does not divide them.
    """
    available = dataset.train.labels.shape[0]
    if not 2 <= images <= available:
        raise UsageError(
            f"images={images} must be from 2 to {available}, the training images of {dataset.name}"
        )
    if not 2 <= chunk <= images or images % chunk:
        raise UsageError(
            f"chunk={chunk} must be 2 or more and divide images={images}: each piece is "
            "normalised by itself"
        )
    pixels, labels = dataset.train.pixels[:images], dataset.train.labels[:images]
    standardised = pipeline.standardise(pixels)
    return Batch(
        standardised.reshape(-1, chunk, *standardised.shape[1:]),
        labels.reshape(-1, chunk, *labels.shape[1:]),
        jax.random.split(key, images // chunk),
    )


def make_spectrum(
    model: Model,
    part: Batch,
    key: PRNGKey,
    *,
    statistics: Sequence[str] = ("batch", "running"),
    objective: losses.Objective = losses.cross_entropy,
    **numbers: Any,
) -> Callable[[TrainState, Batch, Gradient | None], Spectrum]:
    """Compile the spectrum for the states of one training run.

    Args:
      model: the model that is trained.
      part: images and labels in pieces, see `probed_part`; the loss is the mean over pieces (the
        sum where the objective is a sum).
      key: typed PRNG key; the random vectors are the same at every step.
      statistics: one or more of `STATISTICS`; a model that keeps no running statistics is measured
        once, and its numbers stand under each of them.
      objective: the loss.
      numbers: `lanczos_steps`, `top` and the other options of `probes.spectrum.spectrum`.

    Returns:
      `measure(state, batch, gradient) -> Spectrum`, compiled; fields have a leading axis
      `[statistics]`. What training does at this step (`batch`, `gradient`) is not looked at.

    Source: Ghorbani, Krishnan & Xiao 2019 (1901.10159).

    Example:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from bnjax.models import mlp, norms
      >>> from bnjax.train import init_state
      >>> model = mlp(norm=norms.batch_norm(), num_classes=2, width=0.02)
      >>> batch = Batch(jnp.ones((4, 1, 1, 1)), jnp.array([0, 1, 0, 1]))
      >>> state = init_state(model, optax.sgd(0.1), jax.random.key(0), batch.images)
      >>> pieces = Batch(batch.images[None], batch.labels[None], jax.random.key(1)[None])
      >>> measure = make_spectrum(model, pieces, jax.random.key(2), lanczos_steps=4, top=2)
      >>> measure(state, batch, None).largest.shape
      (2, 2)
    """
    compiled = compile_spectrum(model, statistics=statistics, objective=objective, **numbers)
    return functools.partial(compiled, part, key)


def compile_spectrum(
    model: Model, *, statistics: Sequence[str], objective: losses.Objective, **numbers: Any
) -> Callable[..., Spectrum]:
    """`make_spectrum` of any part and key, which are its first arguments."""

    def spectrum_of(part: Batch, key: PRNGKey, state: TrainState, choice: str) -> Spectrum:
        count = part.labels.shape[0]
        batch_stats = state.batch_stats
        if jax.tree.leaves(batch_stats) and choice == "recalibrated":
            batch_stats = losses.pooled_statistics(
                model, state.params, batch_stats, part.images, key=key
            )
        mode: losses.Statistics = "batch" if choice == "batch" else "running"

        own = objective.of_part(count)

        def piece_loss(params: Params, piece: Batch) -> Scalar:
            return losses.on_batch(model, batch_stats, piece, mode, objective=own)(params)

        mean = mean_over(piece_loss, part)
        loss = (lambda params: count * mean(params)) if objective.summed else mean
        return spectrum(loss, state.params, key, **numbers)

    @jax.jit
    def measure(part: Batch, key: PRNGKey, state: TrainState, *_: Any) -> Spectrum:
        if jax.tree.leaves(state.batch_stats):
            return trees.stack([spectrum_of(part, key, state, choice) for choice in statistics])
        return trees.stack([spectrum_of(part, key, state, statistics[0])] * len(statistics))

    return measure
