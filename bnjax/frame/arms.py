"""One arm of an experiment for one seed: what it is, its compiled program, its first state."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bnjax import train
from bnjax.arithmetic.selection import EVERYTHING, Selection
from bnjax.data import Batch, Dataset, Pipeline, Split
from bnjax.frame import names
from bnjax.frame.config import RunConfig
from bnjax.frame.streams import stream_key
from bnjax.losses import OBJECTIVES
from bnjax.models import Model
from bnjax.train import Probe, Program, TrainState, optimizers
from bnjax.types import PRNGKey

ACCELERATOR_BLOCK_STEPS = 64


class Arm(NamedTuple):
    """What is known of an arm before its first step."""

    values: Mapping[str, Any]  # of the experiment's factors: normaliser, learning rate, …
    seed: int
    model: Model
    dataset: Dataset
    pipeline: Pipeline
    selection: Selection = EVERYTHING  # of the parameters that are trained

    @property
    def label(self) -> str:
        """How messages name it."""
        return label_of(self.values, self.seed)

    @property
    def folder(self) -> str:
        """The name of its folder of checkpoints."""
        return names.safe_name((*self.values.values(), self.seed))


def label_of(values: Mapping[str, Any], seed: int) -> str:
    """How messages name an arm with these factors."""
    named = (
        value if isinstance(value, str) else f"{name} {value:g}" for name, value in values.items()
    )
    return f"{', '.join(named)}, seed {seed}"


def first_state(
    arm: Arm, optimizer: optax.GradientTransformation, draw: Callable[..., Batch], key: PRNGKey
) -> tuple[TrainState, Batch]:
    """The state before the first step, and the first batch."""
    first = draw(arm.dataset.train, arm.pipeline.order(key, 0), key, jnp.int32(0))
    init_key = stream_key(arm.seed, "init")
    return train.init_state(arm.model, optimizer, init_key, first.images, arm.selection), first


def build(
    config: RunConfig, arm: Arm, mesh: jax.sharding.Mesh | None = None
) -> tuple[Program, optax.GradientTransformation]:
    """The compiled program and the optimiser of an arm.

    Args:
      config: options, those of this very arm where arms differ.
      arm: model, data and seed.
      mesh: devices over which the batch is spread; None: one device.

    Returns:
      The program, shared by all arms that differ in seed, initialiser or learning rate only; and
      the optax optimiser that `init_state` needs.
    """
    optimizer = optimizers.build(config.optimizer_rule, config.lr)
    program = compile_program(
        arm.model.initialised,
        config.optimizer_rule,
        arm.pipeline,
        objective=OBJECTIVES[config.objective],
        precision=config.precision,
        selection=arm.selection,
        microbatches=config.microbatches,
        mesh=mesh,
        # On the CPU starting a program costs nothing beside a step, and single steps give training
        # the same bits whether a probe rides along or not.
        block_steps=1 if jax.default_backend() == "cpu" else ACCELERATOR_BLOCK_STEPS,
    )
    return program, optimizer


@functools.lru_cache(maxsize=16)
def compile_program(
    model: Model,
    rule: optimizers.Rule,
    pipeline: Pipeline,
    **options: Any,
) -> Program:
    """The program of all arms that differ in seed, initialiser or learning rate only.

    The learning rate is in the optimiser's state; the one given here is never used.
    """
    return train.make_program(model, optimizers.build(rule, 0.0), pipeline, **options)


def test_probe(config: RunConfig, arm: Arm, test: Split, mesh: jax.sharding.Mesh | None) -> Probe:
    """Evaluation on the whole test set, with running statistics, as one more probe."""
    evaluate = train.make_evaluate(
        arm.model, arm.dataset, objective=OBJECTIVES[config.objective], mesh=mesh
    )

    def measure(
        state: TrainState, batch: Batch | None, gradient: train.Gradient | None
    ) -> train.Evaluation:
        del batch, gradient  # the whole test set instead
        return evaluate(state.params, state.batch_stats, test)

    return Probe(train.every(config.evaluate_every, last=config.steps), measure)
