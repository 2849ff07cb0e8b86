"""Networks by name, for configurations."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from bnjax.choices import PlaceName, did_you_mean
from bnjax.errors import UsageError, require_new_name, told
from bnjax.models.layers import check_size
from bnjax.models.model import Model
from bnjax.models.norms import Norm, none, rms_norm
from bnjax.models.resnet import resnet
from bnjax.models.small import alexnet, deep_linear, lenet, mlp
from bnjax.models.transformer import gpt, vit
from bnjax.models.vgg import vgg5, vgg11, vgg13, vgg16, vgg19, vgg38

# Beside the depth, the options of families with their usual values, and what a family without one
# lacks.
USUAL: dict[str, Any] = {
    "width": 1.0, "dropout": 0.0, "hidden": (), "place": "pre", "qk_norm": False, "heads": 4,
}  # fmt: skip
LACKS = {
    "dropout": "no dropout",
    "hidden": "no hidden layers to choose",
    "place": "no residual branches with a place for normalisers",
    "qk_norm": "no attention",
    "heads": "no attention",
}
OPTIONS = (*USUAL, "depth")
TRANSFORMER = ("width", "depth", "place", "qk_norm", "heads")
DEEPEST = 1000  # weight layers; the deepest that was published for these studies has 866


class Family(NamedTuple):
    """How to build a network, and which options it has beside norm, classes and initialiser.

    Attributes:
      build: `build(norm=, num_classes=, initializer=, …) -> Model` with a `Norm`, a name for
        `initializers.by_name`, and the options.
      options: which of `width`, `dropout`, `depth`, `hidden`, `place`, `heads` and `qk_norm` (a
        `Norm`) it takes.
      depth: the usual depth, if the family has several.
    """

    build: Callable[..., Model]
    options: tuple[str, ...] = ("width", "dropout")
    depth: int | None = None


def linear(*, num_classes: int, **options: Any) -> Model:
    """The deep linear network, whose width is that of its outputs."""
    return deep_linear(width=num_classes, **options)


FAMILIES: dict[str, Family] = {
    "vgg5": Family(vgg5, ("width", "dropout", "hidden")),
    "vgg11": Family(vgg11, ("width", "dropout", "hidden")),
    "vgg13": Family(vgg13, ("width", "dropout", "hidden")),
    "vgg16": Family(vgg16, ("width", "dropout", "hidden")),
    "vgg19": Family(vgg19, ("width", "dropout", "hidden")),
    "vgg38": Family(functools.partial(vgg38, residual=False)),
    "vgg38_residual": Family(vgg38),
    "resnet": Family(resnet, ("width", "dropout", "depth"), depth=20),
    "lenet": Family(lenet),
    "alexnet": Family(alexnet),
    "mlp": Family(mlp, ("width", "dropout", "depth"), depth=4),
    "dln": Family(linear, ("depth",), depth=25),
    "gpt": Family(gpt, TRANSFORMER, depth=4),
    "vit": Family(vit, TRANSFORMER, depth=4),
}


def register(name: str, family: Family) -> None:
    """Make a network known by name, to `by_name` and to the option `--model` of every experiment.

    Args:
      name: letters, digits and underscores; captions show it.
      family: how to build it; `options=()` where it has none.

    Raises:
      UsageError: an impossible name, one that is taken, options that are not known, or a `build`
        that does not make a `Model` of its arguments.

    Example:
      >>> from bnjax.models import mlp
      >>> register("perceptron", Family(mlp, ("width",)))
      >>> norm, glorot = none(), "glorot_uniform"
      >>> by_name("perceptron", norm=norm, num_classes=10, initializer=glorot).module.num_classes
      10
    """
    require_new_name("model", name, FAMILIES)
    if not isinstance(family, Family):
        raise UsageError(f"model {name!r} is a {type(family).__name__}: give Family(build, …)")
    if unknown := [option for option in family.options if option not in OPTIONS]:
        raise UsageError(
            f"model {name!r} has options {', '.join(unknown)}: they must be of {' '.join(OPTIONS)}"
        )
    if ("depth" in family.options) != (family.depth is not None):
        raise UsageError(
            f"model {name!r}: give a usual depth if depth is among its options, and only then"
        )
    usual = {**USUAL, "depth": family.depth, "qk_norm": none()}
    given = {option: usual[option] for option in family.options}
    try:
        made = family.build(norm=none(), num_classes=10, initializer="glorot_uniform", **given)
    except Exception as error:  # a user's code may raise anything
        raise UsageError(
            f"model {name!r} cannot be built by build(norm=…, num_classes=10, "
            f"initializer='glorot_uniform'{''.join(f', {o}=…' for o in given)}): "
            f"{type(error).__name__}: {told(error)}"
        ) from error
    if not isinstance(made, Model):
        raise UsageError(f"model {name!r} is built as a {type(made).__name__}: return a Model")
    FAMILIES[name] = family


def by_name(
    name: str,
    *,
    norm: Norm,
    num_classes: int,
    initializer: str,
    width: float = 1.0,
    depth: int | None = None,
    dropout: float = 0.0,
    hidden: tuple[int, ...] = (),
    bias_init: float = 0.0,
    place: PlaceName = "pre",
    qk_norm: bool = False,
    heads: int = 4,
) -> Model:
    """The network of that name.

    Args:
      name: a key of `FAMILIES`.
      norm: normaliser.
      num_classes: number of logits.
      initializer: name of the kernel initialiser.
      width: factor on channels.
      depth: weight layers, of families with several depths; None for the usual one.
      dropout: share dropped before dense layers.
      hidden: channels of hidden dense layers before the classifier.
      bias_init: initial value of the biases of weight layers, of any family.
      place: of normalisers beside residual branches, of transformers.
      qk_norm: RMSNorm of queries and keys, head by head.
      heads: of the attention.

    Returns:
      A `Model`.

    Raises:
      UsageError: unknown name, an option that this network does not have, or an impossible value.
    """
    if name not in FAMILIES:
        near = did_you_mean(name, FAMILIES)
        raise UsageError(f"model {name!r} is not known: choose from {', '.join(FAMILIES)}{near}")
    build, options, usual = FAMILIES[name]
    check_size(num_classes, width, dropout)  # of families without these options, too
    if depth is not None and depth > DEEPEST:
        raise UsageError(f"depth {depth} must be at most {DEEPEST}")
    if depth is not None and usual is None:
        deep = [other for other, family in FAMILIES.items() if family.depth is not None]
        raise UsageError(
            f"model {name} has a depth of its own: leave depth {depth} out, or choose from "
            f"{', '.join(deep)}"
        )
    known: dict[str, Any] = {
        "width": width, "dropout": dropout, "hidden": hidden, "place": place, "qk_norm": qk_norm,
        "heads": heads,
    }  # fmt: skip
    for option, what in LACKS.items():
        value = known[option]
        if option not in options and value != USUAL[option]:
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
            having = [other for other, family in FAMILIES.items() if option in family.options]
            raise UsageError(
                f"model {name} has {what}: leave {option} {shown} out, or choose from "
                f"{', '.join(having)}"
            )
    known["depth"] = usual if depth is None else depth
    known["qk_norm"] = rms_norm() if qk_norm else none()
    given: dict[str, Any] = {option: known[option] for option in options}
    model = build(norm=norm, num_classes=num_classes, initializer=initializer, **given)
    return dataclasses.replace(model, bias_init=bias_init)
