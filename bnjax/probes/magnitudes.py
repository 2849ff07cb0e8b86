"""How large gradients are, by kind of parameter."""

from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic import trees
from bnjax.arithmetic.layers import describe
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.points import check_params
from bnjax.types import BatchStats, Params

KINDS = ("kernel", "bias", "cancelled_bias", "scale", "shift", "other")


class Magnitudes(NamedTuple):
    """Over all parameters of a kind, on the batch of the step.

    In the order of `KINDS`, in units of the loss over units of the parameters; NaN where there is
    no parameter of the kind.
    """

    mean: Annotated[Float[Array, " kind"], Field("Mean |∂L/∂θ| by kind")]
    norm: Annotated[Float[Array, " kind"], Field("Gradient norm by kind")]


def kinds(
    params: Params, batch_stats: BatchStats, *, cancels: Callable[[str], bool]
) -> dict[str, str]:
    """The kind of each parameter, as `describe` finds it; embeddings are among `other`.

    `scale` and `shift` are γ and β of normalisers. A `cancelled_bias` stands before a normaliser
    that subtracts constants: its gradient is rounding, and would lower a mean over biases.

    Args:
      params: as `Model.init` returns them.
      batch_stats: as `Model.init` returns them; `{}` of a model without running statistics.
      cancels: whether the normaliser of a layer, given by its name such as `conv3`, cancels a bias.

    Returns:
      One of `KINDS` by the leaf's name, such as `conv3/norm/scale`.

    Source: Ioffe & Szegedy 2015, §3.2, for the bias that the mean cancels.

    Example:
      >>> layer = {"kernel": 0, "bias": 0, "norm": {"scale": 0, "bias": 0}}
      >>> stats = {"conv1": {"norm": {"mean": 0, "var": 0}}}
      >>> params = {"conv1": layer, "output": {"bias": 0}}
      >>> list(kinds(params, stats, cancels=lambda layer: True).values())
      ['cancelled_bias', 'kernel', 'shift', 'scale', 'bias']
    """
    described = describe(params)
    found = (*described, *trees.leaf_names(batch_stats))
    normalised = {name.split("/norm/")[0] for name in found if "/norm/" in name}
    cancelling = {path for path in normalised if cancels(path.rpartition("/")[2])}

    def kind(name: str, own: str) -> str:
        if own == "bias" and name.rpartition("/")[0] in cancelling:
            return "cancelled_bias"
        return own if own in KINDS else "other"

    return {name: kind(name, one.kind) for name, one in described.items()}


def magnitudes(
    gradient: Params, kind_of: Mapping[str, str], *, parameters: trees.Parameters | None = None
) -> Magnitudes:
    r"""Mean absolute value and norm of a gradient, $\overline{|g_i|}$ and $\|g\|_2$, by kind.

    Args:
      gradient: pytree of floating-point arrays.
      kind_of: one of `KINDS` by the leaf's name, see `kinds`.
      parameters: keeps only the selected leaves, as for `line`.

    Returns:
      `Magnitudes`, `[kinds]` each, in the dtype of the gradient and in units of the loss over units
      of the parameter.

    Raises:
      UsageError: a leaf without a kind, one that is no floating-point array, or `parameters` that
        select none.

    Source: definition; unpublished comparisons after Frankle et al. 2020 (2003.00152).
    """
    check_params(gradient, "gradient", narrow=True)
    if parameters is not None:
        gradient, _ = trees.partition(gradient, parameters)
    names = trees.leaf_names(gradient)
    if unknown := [name for name in names if kind_of.get(name) not in KINDS]:
        raise UsageError(f"no kind is given for {', '.join(unknown)}: give one of {KINDS} each")
    leaves = jax.tree.leaves(gradient)
    nothing = jnp.full((), jnp.nan, jnp.result_type(*leaves))
    means, norms = [], []
    for kind in KINDS:
        own = [leaf for name, leaf in zip(names, leaves, strict=True) if kind_of[name] == kind]
        count = sum(leaf.size for leaf in own)
        total = sum((jnp.sum(jnp.abs(leaf)) for leaf in own), start=jnp.zeros_like(nothing))
        means.append(total / count if own else nothing)
        norms.append(trees.norm(own) if own else nothing)
    return Magnitudes(jnp.stack(means), jnp.stack(norms))
