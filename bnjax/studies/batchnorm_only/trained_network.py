"""The network of an arm, the part of it that is trained, and its file: a seed and what was trained.

The file is an `.npz` without pickles: the options as JSON, the seed, the trained parameters, the
running statistics (so that evaluation needs no data; without them, `losses.pooled_statistics` takes
them from training images) and a digest of what was frozen, by which `rebuild` knows that it drew
the same start again.
"""

import functools
import hashlib
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from bnjax.arithmetic import trees
from bnjax.arithmetic.trees import Predicate, Selection
from bnjax.errors import RunError, UsageError
from bnjax.frame import files, stored_options
from bnjax.frame import options as option_groups
from bnjax.frame.arm import Arm, stream_key
from bnjax.frame.files import plain
from bnjax.models import Model, Norm, norms, resnet
from bnjax.models.resnet import convolution_names
from bnjax.studies.batchnorm_only import FACTORS, Options
from bnjax.train import TrainState, parts
from bnjax.types import BatchStats, Params, PyTree

SCALE_INITS: Mapping[str, Callable[..., Array]] = {
    "uniform": jax.nn.initializers.uniform(1.0),
    "half": jax.nn.initializers.constant(0.5),
    "one": jax.nn.initializers.ones,
    "sign": jax.random.rademacher,
}
# Options of all arms that a network's start and its trained part depend on, beside the factors.
SHARED = ("no_scale", "no_shift", "width", "initializer", "dropout")
DEEPEST = 2000
LARGEST_SIDE = 4096


def build_model(options: Any, norm: str, num_classes: int) -> Model:
    """The network of one arm; `norm` is BatchNorm."""
    del norm
    every, start = options.norm_every, options.scale_init
    removed = (*options.no_scale, *options.no_shift)
    apart = {
        layer: batch_norm(start, layer not in options.no_scale, layer not in options.no_shift)
        for layer in removed
    }
    apart |= {f"conv{place}": norms.none() for place in range(1, options.depth) if place % every}
    if every == 2:  # of a scanned block, conv 2b is the first and conv 2b + 1 the second
        apart["second"] = norms.none()
    # Blocks that differ in more than that cannot be scanned.
    alike = every <= 2 and not removed
    return resnet(
        options.depth,
        norm=norms.with_exceptions(batch_norm(start), apart),
        num_classes=num_classes,
        width=options.width,
        initializer=options.initializer,
        dropout=options.dropout,
        scan=None if alike else False,
    )


@functools.cache  # normalisers, and so models, are equal if they are the same
def batch_norm(start: str, use_scale: bool = True, use_bias: bool = True) -> Norm:
    """BatchNorm whose γ are drawn as the name of a start says."""
    init = SCALE_INITS[start]
    return norms.batch_norm(scale_init=init, use_scale=use_scale, use_bias=use_bias)


def select(options: Any, shapes: Params, seed: int) -> Selection:
    """What an arm trains."""
    return parts.select(options.trained, shapes, stream_key(seed, "select"))


def decays(options: Any) -> Predicate | None:
    """Which parameters decay; None: all."""
    return None if options.decay_norm else parts.not_of_norm


def check_options(options: Any) -> None:
    """Refuse layers that a network does not have."""
    for depth in options.depths:
        known = convolution_names(depth)
        for option, layers in (("--no-scale", options.no_scale), ("--no-shift", options.no_shift)):
            if unknown := [layer for layer in layers if layer not in known]:
                raise UsageError(
                    f"{option} {' '.join(unknown)}: a ResNet-{depth} has {' '.join(known)}"
                )


class Facts(NamedTuple):
    """What a file says of its network."""

    options: Any  # of the arm, as far as the network depends on them
    seed: int
    num_classes: int
    image_shape: tuple[int, int, int]
    frozen_sha256: str


class Rebuilt(NamedTuple):
    """A network as it was at the end of its training."""

    model: Model
    params: Params
    batch_stats: BatchStats


def keep(arm: Arm, state: TrainState) -> dict[str, np.ndarray]:
    """The arrays of a file from which `rebuild` makes the network of a state."""
    trained = arm.selection.split(state.params)
    facts = {
        "options": {name: getattr(arm.options, name) for name in (*FACTORS, *SHARED)},
        "seed": arm.seed,
        "num_classes": arm.dataset.num_classes,
        "image_shape": arm.dataset.train.pixels.shape[1:],
        "frozen_sha256": frozen_digest(state.params, trained, arm.selection),
    }
    arrays = {
        f"{part}/{name}": np.asarray(leaf)
        for part, tree in (("trained", trained), ("batch_stats", state.batch_stats))
        for name, leaf in trees.named_leaves(tree).items()
    }
    return {"facts": np.array(json.dumps(plain(facts))), **arrays}


def rebuild(path: Path) -> Rebuilt:
    """The network of a file: the start drawn again from the seed, the trained part put in place.

    Args:
      path: a file that the study wrote under `models/` in its run folder.

    Returns:
      The model and its variables, bit for bit those at the end of training.

    Raises:
      RunError: the file is missing or damaged, or this machine or version of JAX draws another
        start from the seed.

    Source: Frankle et al. 2020: a BN-only model is its seed, its γ and its β.
    """
    arrays = files.read_npz(path)
    try:
        facts = read_facts(arrays)
        model = build_model(facts.options, "batch", facts.num_classes)
        expected = model.shapes(facts.image_shape)
        fill(expected["batch_stats"], arrays, "batch_stats")  # before a start of any size is drawn
        images = jnp.zeros((1, *facts.image_shape), jnp.float32)
        start = model.init(stream_key(facts.seed, "init"), images)
        selection = select(facts.options, start["params"], facts.seed)
        trained = fill(selection.split(start["params"]), arrays, "trained")
        params = selection.merge(start["params"], trained)
        batch_stats = fill(start["batch_stats"], arrays, "batch_stats")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} does not hold a network ({error}): give another file") from error
    if frozen_digest(params, trained, selection) != facts.frozen_sha256:
        raise RunError(
            f"{path}: its seed {facts.seed} gives other frozen parameters here than where it "
            "was trained: use the JAX and the device of its config.json, here it is "
            f"jax {jax.__version__}"
        )
    return Rebuilt(model, params, batch_stats)


def read_facts(arrays: dict[str, np.ndarray]) -> Facts:
    """What a file says of its network, checked as the options of a run are.

    Raises:
      KeyError, ValueError: something is missing, or is not of its type or size.
    """
    found = files.parse_json(str(arrays["facts"]))
    if not isinstance(found, dict) or not isinstance(found.get("options"), dict):
        raise ValueError("it has no options")

    def read(stored: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
        return {name: stored_options.convert(name, stored[name], kinds[name]) for name in kinds}

    hints = typing.get_type_hints(Options)
    own = read(found["options"], {f: typing.get_args(hints[o])[0] for f, o in FACTORS.items()})
    shared = read(found["options"], {name: hints[name] for name in SHARED})
    if not 8 <= own["depth"] <= DEEPEST:
        raise ValueError(f"its depth is not from 8 to {DEEPEST}")
    one_each: Any = {option: (own[factor],) for factor, option in FACTORS.items()}
    options = Options(model="resnet", norms=("batch",), **one_each, **shared)
    option_groups.check(options)
    check_options(options)
    hints = typing.get_type_hints(Facts)
    rest = read(found, {name: hints[name] for name in Facts._fields[1:]})
    facts = Facts(SimpleNamespace(**own, **shared), **rest)
    sides = (*facts.image_shape, facts.num_classes)
    if not all(0 < side <= LARGEST_SIDE for side in sides) or not 0 <= facts.seed < 2**31:
        raise ValueError("its seed, images or classes are beyond all reason")
    return facts


def fill(like: PyTree, arrays: dict[str, np.ndarray], part: str) -> PyTree:
    """A tree of stored arrays in the structure, shapes and dtypes of another."""

    def stored(path: tuple, leaf: Any) -> jax.Array:
        found = arrays[f"{part}/{trees.path_name(path)}"]
        if found.shape != leaf.shape or found.dtype != leaf.dtype:
            raise ValueError(f"{trees.path_name(path)} has shape {found.shape}, not {leaf.shape}")
        return jnp.asarray(found)

    return jax.tree_util.tree_map_with_path(stored, like)


def frozen_digest(params: Params, trained: PyTree, selection: Selection) -> str:
    """A digest of all parameters, those that are trained taken as 0."""
    frozen = selection.merge(params, jax.tree.map(jnp.zeros_like, trained))
    contents = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(frozen)]
    return hashlib.sha256(b"".join(contents)).hexdigest()
