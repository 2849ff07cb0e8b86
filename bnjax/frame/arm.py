"""One arm of a study for one seed: its options, its network and data, its compiled program."""

import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import optax

from bnjax import data, models, train
from bnjax.arithmetic.trees import EVERYTHING, Selection
from bnjax.choices import TEXT_DATASETS, did_you_mean
from bnjax.data import Batch, Dataset, Pipeline, Split
from bnjax.errors import UsageError, require
from bnjax.frame import folder
from bnjax.frame.options import require_single
from bnjax.frame.study import Study
from bnjax.losses import OBJECTIVES, Objective
from bnjax.models import Model
from bnjax.train import Measurement, Program, TrainState, optimizers, step
from bnjax.train.step import MakeLoss
from bnjax.types import PRNGKey

ACCELERATOR_BLOCK_STEPS = 64
PLAIN = optimizers.Rule("sgd")
Made = TypeVar("Made")
Given = ParamSpec("Given")
STREAMS = ("init", "data", "probe", "select")


def stream_key(seed: int, stream: Literal["init", "data", "probe", "select"]) -> PRNGKey:
    """The PRNG key of one use of a seed, the same in every arm; no two uses share one.

    Example:
      >>> bool((stream_key(0, "init") == stream_key(0, "data")).all())
      False
    """
    return jax.random.fold_in(jax.random.key(seed), STREAMS.index(stream))


class Arm(NamedTuple):
    """What is known of an arm before its first step."""

    values: Mapping[str, Any]  # of the study's factors: normaliser, learning rate, …
    seed: int
    options: Any  # all options of the run, with this arm's own in place of its factors'
    model: Model
    dataset: Dataset
    pipeline: Pipeline
    selection: Selection = EVERYTHING  # of the parameters that are trained
    watched: tuple[str, ...] = ()  # layers of the flight recorder: those of all arms

    @property
    def label(self) -> str:
        return label_of(self.values, self.seed)

    @property
    def folder(self) -> str:
        return folder.safe_name((*self.values.values(), self.seed))

    @property
    def objective(self) -> Objective:
        """The training loss, with its penalty on kernels and its z-loss."""
        penalty, z_loss = self.options.kernel_penalty, getattr(self.options, "z_loss", 0.0)
        objective = OBJECTIVES[self.options.objective]._replace(kernel_penalty=penalty)
        return objective.with_z_loss(z_loss)

    def model_at(self, precision: str) -> Model:
        """The network in the arithmetic of a precision; `model` computes in 32 bits."""
        narrow = precision == "bfloat16"
        return dataclasses.replace(self.model, compute_dtype="bfloat16") if narrow else self.model

    def probed_loss(self, precision: str) -> MakeLoss:
        """Training's loss as a function of state and batch; the same object for every seed."""
        model = self.model_at(precision).initialised
        return once(step.make_loss, model, self.pipeline, objective=self.objective)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimiser that trains it, with its learning rate."""
        return optimizers.build(optimizer_rule(self.options), self.options.lr)

    def key(self, stream: Literal["init", "data", "probe", "select"]) -> PRNGKey:
        """The PRNG key of one use of its seed, see `stream_key`."""
        return stream_key(self.seed, stream)

    def trains_in(self, precision: str) -> bool:
        """Whether training computes as a probe of this precision does; a CPU has one in 32 bits."""
        own = self.options.precision
        return own == precision or (
            jax.default_backend() == "cpu" and "bfloat16" not in (own, precision)
        )


def once(make: Callable[Given, Made], *arguments: Given.args, **options: Given.kwargs) -> Made:
    """`make(*arguments, **options)`, the same object for equal ones, which have to be hashable.

    So seeds of an arm share what it compiles: the seed has to be no part of the arguments.

    Example:
      >>> once(list, "ab") is once(list, "ab")
      True
    """
    made: Made = _once(make, arguments, tuple(sorted(options.items())))
    return made


@functools.lru_cache(maxsize=64)
def _once(make: Callable[..., Any], arguments: tuple, options: tuple) -> Any:
    return make(*arguments, **dict(options))


def label_of(values: Mapping[str, Any], seed: int) -> str:
    named = (
        value if isinstance(value, str) else f"{name} {value:g}" for name, value in values.items()
    )
    return f"{', '.join(named)}, seed {seed}"


def arm_options(study: Study, options: Any, values: Mapping[str, Any]) -> Any:
    own = {**vars(options), **options.settings(values)}
    return SimpleNamespace(**own, decays=study.part("decays", lambda options: None)(options))


def make_arm(
    study: Study, options: Any, dataset: Dataset, values: Mapping[str, Any], seed: int
) -> Arm:
    own = arm_options(study, options, values)
    watched = watched_layers(study, options, dataset) if options.watch else ()
    model = make_network(study, options, dataset, values)
    dataset = study.part("arm_data", arm_data)(own, dataset)
    pipeline = data.make_pipeline(dataset, own.batch_size, augmented=own.augment)
    select = study.part("select", lambda options, shapes, seed: EVERYTHING)
    shapes = model.shapes(*dataset.example)["params"]
    require_room(own.model, shapes)
    selection = select(own, shapes, seed)
    return Arm(values, seed, own, model, dataset, pipeline, selection, watched)


def make_network(study: Study, options: Any, dataset: Dataset, values: Mapping[str, Any]) -> Model:
    """The network of an arm."""
    norm = values.get("norm", options.norms[0])
    build: Callable[..., Model] = study.part("build_model", build_model)
    return build(arm_options(study, options, values), norm, dataset.num_classes)


def watched_layers(study: Study, options: Any, dataset: Dataset) -> tuple[str, ...]:
    """The weight layers of the networks of all arms, which may differ in depth."""
    networks = [make_network(study, options, dataset, values) for values in arm_values(options)]
    found = [once(models.layer_names, one.initialised, *dataset.example) for one in networks]
    return tuple(dict.fromkeys(itertools.chain(*found)))


def require_room(name: str, shapes: Any) -> None:
    """Refuse a network whose parameters, gradient and update are more than there is memory."""
    needed, room = (
        3 * sum(math.prod(one.shape) for one in jax.tree.leaves(shapes)) * 4,
        device_memory(),
    )
    if needed > room:
        raise UsageError(
            f"--model {name}: parameters, gradient and update take {needed / 2**30:,.0f} GiB, of "
            f"{room / 2**30:,.0f}: give a smaller --width, --depth or --hidden"
        )


def device_memory() -> float:
    """Bytes of the device; of a CPU those of the machine."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return float(limit) if limit else machine_memory()


def machine_memory() -> float:
    """Bytes of memory of this machine; infinite where they are not known."""
    known = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if known else math.inf


def load_data(options: Any) -> Dataset:
    """The data of a run."""
    return data.load(
        options.dataset, options.data_dir, seed=options.seed, **given(options, ("context", "text"))
    )


def given(options: Any, names: Sequence[str]) -> dict[str, Any]:
    """Those of some options that a study has."""
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def arm_data(options: Any, dataset: Dataset) -> Dataset:
    """The data of a run in the scale that an arm sees them in."""
    return dataset.scaled(options.pixel_scale)


def build_model(options: Any, norm: str, num_classes: int) -> Model:
    return models.by_name(
        options.model,
        norm=models.norms.by_name(norm),
        num_classes=num_classes,
        initializer=options.initializer,
        width=options.width,
        depth=options.depth,
        dropout=options.dropout,
        hidden=options.hidden,
        bias_init=options.bias_init,
        **given(options, ("place", "qk_norm", "heads")),
    )


def check_networks(study: Study, options: Any) -> None:
    """Refuse networks and batches that cannot be, before anything is read or written."""
    registered: dict[str, Any] = {
        "--model": models.FAMILIES,
        "--norms": models.norms.registry.REGISTRY,
    }
    for option, known in registered.items():
        expected = f"one of {' '.join(known)}, or one that a file given as --plugins registers"
        for name in [options.model] if option == "--model" else options.norms:
            require(option, name, name in known, expected + did_you_mean(name, known))
    build = study.part("build_model", build_model)
    checked = set()
    for values in arm_values(options):
        own = arm_options(study, options, values)
        norm = values.get("norm", options.norms[0])
        if (seen := str(sorted(vars(own).items(), key=str)) + norm) not in checked:
            checked.add(seen)
            build(own, norm, 10)
            require_single("--lr of an arm", own.lr)
            check_batch(own, models.norms.by_name(norm))


def check_batch(options: Any, norm: models.Norm) -> None:
    size, parts = options.batch_size, options.microbatches
    legal = parts >= 1 and size % parts == 0
    require("--microbatches", parts, legal, f"1 or more and divide --batch-size {size}")
    part = size // parts
    expected = f"a divisor of the {part} examples that are computed at a time"
    legal = part % options.data_devices == 0
    require("--data-devices", options.data_devices, legal, expected)
    if not norm.batch_statistics:
        return
    if size == 1:
        raise UsageError(
            f"--batch-size 1: the norm {norm.name} takes statistics over the batch, and those "
            "of one example make every channel of a dense layer 0 whatever it was: give 2 or "
            "more, or a norm of single samples such as layer or group"
        )
    if parts > 1:
        raise UsageError(
            f"--microbatches {parts}: the norm {norm.name} takes statistics over the batch, so "
            "gradients of its parts do not add up to its gradient: give 1, or a norm of single "
            "samples such as layer or group"
        )


def require_layers(option: str, layers: Sequence[str], options: Any) -> None:
    """Refuse names of layers that the network of a run does not have."""
    known = names_of(build_model(options, "none", 10), options)
    if unknown := [name for name in layers if name not in known]:
        near = did_you_mean(unknown[0], known)
        raise UsageError(f"{option} {' '.join(unknown)}: the model has {' '.join(known)}{near}")


def spread_layers(study: Study, options: Any) -> Any:
    """The options, with layers of this network where the default ones are those of another.

    A default layer's share of the depth of its own network, without the output, gives the place:
    rounded up, for nothing is below the first layer.
    """
    if not getattr(options, "layers", ()):
        return options
    usual = study.preset(options.preset, options.model)
    if options.model == usual.model or options.layers != usual.layers:
        return options
    build = study.part("build_model", build_model)
    known, theirs = (list(names_of(build(one, "none", 10), one)) for one in (options, usual))
    if set(options.layers) <= set(known) or not set(options.layers) <= set(theirs):
        return options
    depth, own_depth = (max(1, len(names) - 1) for names in (theirs, known))
    places = [-(-(theirs.index(name) + 1) * own_depth // depth) for name in usual.layers]
    spread = dict.fromkeys(known[min(place, own_depth) - 1] for place in places)
    return dataclasses.replace(options, layers=tuple(spread))


def names_of(model: Model, options: Any) -> tuple[str, ...]:
    """The weight layers of the network of a run."""
    if options.dataset in TEXT_DATASETS:
        return models.layer_names(model, (options.context,), jnp.int32)
    return models.layer_names(model, (1, 1, 10) if options.model == "dln" else (32, 32, 3))


def arm_values(options: Any) -> list[dict[str, Any]]:
    factors = options.factors
    return [
        dict(zip(factors, chosen, strict=True)) for chosen in itertools.product(*factors.values())
    ]


def optimizer_rule(options: Any) -> optimizers.Rule:
    drops = tuple(optimizers.drop_step(drop, options.steps) for drop in options.lr_drops)
    return optimizers.Rule(options.optimizer, options.weight_decay, drops, options.decays)


def first_state(
    arm: Arm, optimizer: optax.GradientTransformation, draw: Callable[..., Batch], key: PRNGKey
) -> tuple[TrainState, Batch]:
    """The state before the first step, and the first batch."""
    first = draw(arm.dataset.train, arm.pipeline.order(key, 0), key, jnp.int32(0))
    state = train.init_state(arm.model, optimizer, arm.key("init"), first.images, arm.selection)
    return state, first


def build_program(arm: Arm, mesh: jax.sharding.Mesh | None = None) -> Program:
    """The compiled program, shared by arms that differ in seed, initialiser or rate only."""
    return compile_program(
        arm.model_at(arm.options.precision).initialised,
        optimizer_rule(arm.options),
        arm.pipeline,
        objective=arm.objective,
        precision=matrix_precision(arm.options.precision),
        selection=arm.selection,
        microbatches=arm.options.microbatches,
        mesh=mesh,
        # On the CPU starting a program costs nothing beside a step, and single steps give training
        # the same bits whether a probe rides along or not.
        block_steps=1 if jax.default_backend() == "cpu" else ACCELERATOR_BLOCK_STEPS,
    )


def matrix_precision(precision: str) -> str:
    """The value of `jax.default_matmul_precision` of an option."""
    return "default" if precision == "bfloat16" else precision


@functools.lru_cache(maxsize=16)
def compile_program(
    model: Model, rule: optimizers.Rule, pipeline: Pipeline, **options: Any
) -> Program:
    """The program of all arms of a rule: the rate is in the optimiser's state, 0 is never used."""
    program = train.make_program(model, optimizers.build(rule, 0.0), pipeline, **options)
    if rule == PLAIN:
        return program
    plain = compile_program(model, PLAIN, pipeline, **options)  # whose gradient serves every rule
    return program._replace(batch=plain.batch, gradient=plain.gradient)


def test_probe(arm: Arm, test: Split, mesh: jax.sharding.Mesh | None) -> Measurement:
    """Evaluation on the whole test set, with running statistics, as one more probe."""
    evaluate = train.make_evaluate(arm.model, arm.dataset, objective=arm.objective, mesh=mesh)

    def measure(state: TrainState, batch: Any, gradient: Any) -> train.Evaluation:
        del batch, gradient  # the whole test set instead
        return evaluate(state.params, state.batch_stats, test)

    options = arm.options
    when = train.every(options.evaluate_every, last=options.steps)
    return Measurement(when, measure, axis="test_step")
