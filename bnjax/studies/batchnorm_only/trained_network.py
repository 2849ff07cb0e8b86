"""A trained network as its seed and what was trained: all else is drawn again.

The file is an `.npz` without pickles: the options as JSON, the seed, the trained parameters, the
running statistics (so that evaluation needs no data; without them, `losses.pooled_statistics` takes
them from training images) and a digest of what was frozen, by which `rebuild` knows that it drew
the same.
"""

import hashlib
import json
import typing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bnjax.arithmetic import trees
from bnjax.errors import RunError
from bnjax.frame import bounded, files, stored_options
from bnjax.frame import options as option_groups
from bnjax.frame.arm import Arm, stream_key
from bnjax.frame.files import plain
from bnjax.models import Model
from bnjax.studies.batchnorm_only import Options
from bnjax.train import TrainState
from bnjax.types import BatchStats, Params, PyTree

# What a network's start and its trained part depend on: factors, each with its option, and others.
ONE_OF = {
    "trained": "trained",
    "depth": "depths",
    "norm_every": "norm_every",
    "scale_init": "scale_init",
}
FACTORS = ("trained", "norm_every", "scale_init")
PLAIN = ("no_scale", "no_shift", "width", "initializer", "dropout")
OPTIONS = (*ONE_OF, *PLAIN)
DEEPEST = 2000
LARGEST_SIDE = 4096


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


def pack(arm: Arm, state: TrainState) -> dict[str, np.ndarray]:
    """The arrays of a file from which `rebuild` makes the network.

    Args:
      arm: the arm.
      state: the one to keep.
    """
    trained = arm.selection.split(state.params)
    chosen = {name: getattr(arm.options, name) for name in OPTIONS}
    facts = {
        "options": chosen,
        "seed": arm.seed,
        "num_classes": arm.dataset.num_classes,
        "image_shape": arm.dataset.train.pixels.shape[1:],
        "frozen_sha256": frozen_digest(state.params, trained, arm.selection.merge),
    }
    named = {"trained": trained, "batch_stats": state.batch_stats}
    arrays = {
        f"{part}/{name}": np.asarray(leaf)
        for part, tree in named.items()
        for name, leaf in trees.named_leaves(tree).items()
    }
    return {"facts": np.array(json.dumps(plain(facts))), **arrays}


def rebuild(path: Path) -> Rebuilt:
    """The network of a file: the start drawn again from the seed, the trained part put in place.

    Args:
      path: a file that an experiment wrote under `models/` in its run folder.

    Returns:
      The model and its variables, bit for bit those at the end of training.

    Raises:
      RunError: the file is missing or damaged, or this machine or version of JAX draws another
        start from the seed.

    Source: Frankle et al. 2020: a BN-only model is its seed, its γ and its β.
    """
    from bnjax.studies.batchnorm_only import measure

    arrays = files.read_npz(path)
    try:
        facts = read_facts(arrays)
        options, seed = facts.options, facts.seed
        model = measure.build_model(options, "batch", facts.num_classes)
        images = jnp.zeros((1, *facts.image_shape), jnp.float32)
        expected = model.shapes(facts.image_shape)
        fill(expected["batch_stats"], arrays, "batch_stats")  # before a start of any size is drawn
        start = model.init(stream_key(seed, "init"), images)
        selection = measure.select(options, start["params"], seed)
        trained = fill(selection.split(start["params"]), arrays, "trained")
        params = selection.merge(start["params"], trained)
        batch_stats = fill(start["batch_stats"], arrays, "batch_stats")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} does not hold a network ({error}): give another file") from error
    if frozen_digest(params, trained, selection.merge) != facts.frozen_sha256:
        raise RunError(
            f"{path}: its seed {seed} gives other frozen parameters here than where it "
            "was trained: use the JAX and the device of its config.json, here it is "
            f"jax {jax.__version__}"
        )
    return Rebuilt(model, params, batch_stats)


def read_facts(arrays: dict[str, np.ndarray]) -> Facts:
    """What a file says of its network, checked.

    Raises:
      KeyError, ValueError: something is missing, or is not of its type or size.
    """
    from bnjax.studies.batchnorm_only import measure

    found = bounded.parse_json(str(arrays["facts"]))
    if not isinstance(found, dict) or not isinstance(found.get("options"), dict):
        raise ValueError("it has no options")
    hints = typing.get_type_hints(Options)
    kinds = {"depth": int, **{name: typing.get_args(hints[name])[0] for name in FACTORS}}
    kinds |= {name: hints[name] for name in PLAIN}
    chosen = {
        name: stored_options.convert(name, found["options"][name], kind)
        for name, kind in kinds.items()
    }
    several = {names: (chosen[name],) for name, names in ONE_OF.items()}
    options = Options(
        model="resnet", norms=("batch",), **several, **{name: chosen[name] for name in PLAIN}
    )
    if not 8 <= chosen["depth"] <= DEEPEST:
        raise ValueError(f"its depth is not from 8 to {DEEPEST}")
    option_groups.check(options)
    measure.check_options(options)
    hints = typing.get_type_hints(Facts)
    rest = {
        name: stored_options.convert(name, found[name], hints[name]) for name in Facts._fields[1:]
    }
    facts = Facts(SimpleNamespace(**chosen), **rest)
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


def frozen_digest(params: Params, trained: PyTree, merge: Any) -> str:
    """A digest of all parameters, those that are trained taken as 0."""
    frozen = merge(params, jax.tree.map(jnp.zeros_like, trained))
    contents = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(frozen)]
    return hashlib.sha256(b"".join(contents)).hexdigest()
