"""How a network of anyone's is called: its training flag, its logits, its missing random key.

What differs from network to network is found from the signature of its call and from its outputs.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array

from bnjax.arithmetic import trees
from bnjax.errors import UsageError
from bnjax.types import Logits

Output: TypeAlias = str | int | None  # which entry of the outputs is the logits

# Names of training flags, and whether they are true in training.
FLAGS = {
    "train": True,
    "training": True,
    "is_training": True,
    "use_running_average": False,
    "deterministic": False,
    "inference": False,
}
NO_KEY = (
    "the model draws random numbers, such as dropout's, and has no key: give "
    "Batch(images, labels, key=jax.random.key(0))"
)


class Call(NamedTuple):
    """The arguments of one call of a network."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    has_flag: bool  # whether it can be switched between training and evaluation


def call_of(network: Callable[..., Any], inputs: tuple[Any, ...], train: bool, **more: Any) -> Call:
    """The arguments for a network's own call, found from its signature.

    Args:
      network: what is called.
      inputs: its first arguments.
      train: the value of its training flag, inverted where the flag says the opposite; all flags
        are set if it has several, see `FLAGS`.
      **more: arguments that are given to networks that take them, by name.

    Returns:
      A `Call`; arguments are given by position where they can be, as `flax.linen.remat` needs it.

    Raises:
      UsageError: the network needs arguments that nobody knows.

    Example:
      >>> call_of(lambda x, mask=None, deterministic=True: x, ("inputs",), True)
      Call(args=('inputs',), kwargs={'deterministic': False}, has_flag=True)
    """
    signature = inspect.signature(network)
    flags = {
        name: bool(train) == in_training
        for name, in_training in FLAGS.items()
        if name in signature.parameters
    }
    known = {name: value for name, value in more.items() if name in signature.parameters}
    try:
        bound = signature.bind(*inputs, **flags, **known)
    except TypeError as error:
        raise UsageError(
            f"the model is called as {signature}, and {error}: a training flag is found if it is "
            f"named {', '.join(FLAGS)}: rename it, or wrap the model in one that is called as "
            "model(inputs, train=bool)"
        ) from error
    return Call(bound.args, bound.kwargs, bool(flags))


def logits_of(outputs: Any, batch: int, output: Output) -> Logits:
    """The logits among the outputs of a network.

    Args:
      outputs: an array, or a dict, tuple or other pytree of arrays.
      batch: the number of examples.
      output: the key, index or path (`heads/0`) of the logits; None for the entry named `logits`,
        or the only one that is floating point, `[batch, …, classes]`.

    Raises:
      UsageError: none fits, or several do.

    Example:
      >>> logits_of({"features": jnp.ones((2, 5)), "logits": jnp.ones((2, 3))}, 2, None).shape
      (2, 3)
    """
    named: dict[str, Array] = trees.named_leaves(outputs)
    if output is not None:
        found = [name for name in named if name == str(output)]
    elif "" in named:  # a bare array
        found = [""]
    else:
        found = [name for name in named if name.rpartition("/")[2] == "logits"] or [
            name
            for name, leaf in named.items()
            if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.ndim > 1 and len(leaf) == batch
        ]
    if len(found) != 1:
        shapes = ", ".join(f"{name} {leaf.shape}" for name, leaf in named.items())
        asked = "" if output is None else f", and none of them is output={output!r}"
        raise UsageError(
            f"the model returns {shapes}{asked}: say which entry is the logits, e.g. "
            f"output={next(iter(named), 'logits')!r} of bnjax.models.Model or of the adapter"
        )
    return named[found[0]]
