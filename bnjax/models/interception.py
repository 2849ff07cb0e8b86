"""One layer of a model, intercepted from outside: its input, and the network above it.

The module needs no change: `flax.linen.intercept_methods` sees each call of a submodule by its
path. A head does not run the layers below again: the compiler drops them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from bnjax.errors import UsageError
from bnjax.models.model import Model, is_weight_layer
from bnjax.types import BatchStats, Inputs, Logits, Params, PRNGKey

Activations: TypeAlias = Float[Array, "batch *pixels channels"]
Forward: TypeAlias = Callable[[], Logits]  # one pass through the network
Place: TypeAlias = Callable[[Any], str | None]  # of a call's context: the name of its layer


class Interception(NamedTuple):
    """One layer on one batch, in training mode."""

    activations: Activations
    head: Callable[[Activations], Logits]  # from the output at the place to the logits


def at_norms(
    model: Model,
    layers: Sequence[str],
    params: Params,
    batch_stats: BatchStats,
    images: Inputs,
    *,
    key: PRNGKey | None = None,
) -> dict[str, Interception]:
    """The normalisers of some layers: their inputs y, and the logits as functions of outputs z.

    Args:
      model: a `bnjax.models.Model`; a normaliser is the submodule `norm` of a layer.
      layers: their names, e.g. `["conv3"]` or `["block/conv3"]`.
      params: as `Model.init` returns them.
      batch_stats: running statistics; left as they are.
      images: standardised, `[batch, height, width, channels]`.
      key: as in `Model.apply`.

    Returns:
      By layer, from one forward pass for all: y `[batch, …, channels]`, and `head(z) -> logits`
      with z of the shape of y.

    Raises:
      UsageError: a layer has no normaliser or does not exist; the message lists those that have
        one.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bnjax.models import norms, vgg11
      >>> model = vgg11(norm=norms.batch_norm(), width=0.0625)
      >>> images = jnp.zeros((2, 32, 32, 3))
      >>> variables = model.init(jax.random.key(0), images)
      >>> found = at_norms(model, ["conv8"], **variables, images=images)["conv8"]
      >>> found.activations.shape, found.head(found.activations).shape
      ((2, 2, 2, 32), (2, 10))
    """
    return _intercept(norm_call, layers, _forward(model, params, batch_stats, images, key))


def at_outputs(
    model: Model,
    layers: Sequence[str],
    params: Params,
    batch_stats: BatchStats,
    images: Inputs,
    *,
    key: PRNGKey | None = None,
) -> dict[str, Interception]:
    """Some weight layers: their outputs, and the logits as functions of these.

    Args:
      model: a `bnjax.models.Model`.
      layers: their names, e.g. `["conv3"]` or `["block/conv3"]`.
      params: as `Model.init` returns them.
      batch_stats: running statistics; left as they are.
      images: standardised, `[batch, height, width, channels]`.
      key: as in `Model.apply`.

    Returns:
      By layer, the output `[batch, …, channels]` before the non-linearity, normalised where the
      layer has a normaliser, and `head(output) -> logits`.

    Raises:
      UsageError: a layer does not exist; the message lists those of the model.
    """
    return _intercept(weight_call, layers, _forward(model, params, batch_stats, images, key))


def channels_of_norms(model: Model, images: jax.ShapeDtypeStruct) -> dict[str, int]:
    """The number of channels of each layer that has a normaliser; nothing is computed.

    Args:
      model: a `bnjax.models.Model`.
      images: shape and dtype of a batch.

    Returns:
      Numbers of channels by the layer's name, in the order of use.
    """
    key = jax.random.key(0)

    def inputs(images: Inputs) -> dict[str, Array]:
        variables = model.init(key, images)
        return _activations(norm_call, _forward(model, **variables, images=images, key=key))

    shapes = jax.eval_shape(inputs, images)
    return {name: found.shape[-1] for name, found in shapes.items()}


def _forward(
    model: Model, params: Params, batch_stats: BatchStats, images: Inputs, key: PRNGKey | None
) -> Forward:
    # A call inside a scan cannot be seen from outside.
    params, batch_stats = map(model.by_layer.split, (params, batch_stats))
    return lambda: model.unrolled.apply(params, batch_stats, images, train=True, key=key)[0]


def _intercept(place: Place, layers: Sequence[str], forward: Forward) -> dict[str, Interception]:
    seen = _activations(place, forward)
    what = "layers with a normaliser" if place is norm_call else "weight layers"
    if unknown := [name for name in layers if name not in seen]:
        raise UsageError(
            f"layers {' '.join(unknown)} are not among the model's {what}: "
            f"{' '.join(seen) or 'it has none'}"
        )
    return {name: Interception(seen[name], _head(place, name, forward)) for name in layers}


def _activations(place: Place, forward: Forward) -> dict[str, Activations]:
    """Inputs of normalisers or outputs of weight layers at their first use, in this order."""
    found: dict[str, Activations] = {}

    def record(call: Callable[..., Any], inputs: Any, options: Any, context: Any) -> Any:
        output = call(*inputs, **options)
        if name := place(context):
            found.setdefault(name, inputs[0] if place is norm_call else output)
        return output

    with nn.intercept_methods(record):
        forward()
    return found


def _head(place: Place, layer: str, forward: Forward) -> Callable[[Activations], Logits]:
    """The logits as a function of what the first call at one place returns."""

    def head(output: Activations) -> Logits:
        given = [output]

        def replace(call: Callable[..., Any], inputs: Any, options: Any, context: Any) -> Any:
            at_place = given and place(context) == layer
            return given.pop() if at_place else call(*inputs, **options)

        with nn.intercept_methods(replace):
            return forward()

    return head


def norm_call(context: Any) -> str | None:
    """The name of the layer whose normaliser is called, if one is."""
    *layer, last = context.module.path or ("",)
    is_norm = context.method_name == "__call__" and last == "norm"
    return "/".join(layer) if is_norm else None


def weight_call(context: Any) -> str | None:
    """The name of the weight layer that is called, if one is."""
    found = is_weight_layer(context.module, context.method_name)
    return "/".join(context.module.path) if found else None
