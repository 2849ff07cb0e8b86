"""Every network by name, for configurations."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from bnjax.errors import UsageError
from bnjax.models.deep_linear import deep_linear
from bnjax.models.model import Model
from bnjax.models.norms import Norm
from bnjax.models.resnet import resnet
from bnjax.models.sizes import check_size
from bnjax.models.small import alexnet, lenet, mlp
from bnjax.models.vgg import vgg11, vgg13, vgg16, vgg19
from bnjax.models.vgg38 import vgg38

ModelName: TypeAlias = Literal[
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "vgg38",
    "vgg38_residual",
    "resnet",
    "lenet",
    "alexnet",
    "mlp",
    "dln",
]


class Family(NamedTuple):
    """How to build a network, and which options it has beside norm, classes and initialiser."""

    build: Callable[..., Model]
    options: tuple[str, ...] = ("width", "dropout")
    depth: int | None = None  # the usual one, of families that come in any


def linear(*, num_classes: int, **options: Any) -> Model:
    """The deep linear network, whose width is that of its outputs."""
    return deep_linear(width=num_classes, **options)


FAMILIES: Mapping[str, Family] = {
    "vgg11": Family(vgg11),
    "vgg13": Family(vgg13),
    "vgg16": Family(vgg16),
    "vgg19": Family(vgg19),
    "vgg38": Family(functools.partial(vgg38, residual=False)),
    "vgg38_residual": Family(vgg38),
    "resnet": Family(resnet, ("width", "dropout", "depth"), depth=20),
    "lenet": Family(lenet),
    "alexnet": Family(alexnet),
    "mlp": Family(mlp, ("width", "dropout", "depth"), depth=4),
    "dln": Family(linear, ("depth",), depth=25),
}


def by_name(
    name: str,
    *,
    norm: Norm,
    num_classes: int,
    initializer: str,
    width: float = 1.0,
    depth: int | None = None,
    dropout: float = 0.0,
) -> Model:
    """The network of that name.

    Args:
      name: a key of `FAMILIES`.
      norm: normaliser.
      num_classes: number of logits.
      initializer: name of the kernel initialiser.
      width: factor on channels or units.
      depth: weight layers, of families that come in any depth; None for the family's usual one.
      dropout: share dropped before dense layers.

    Returns:
      A `Model`.

    Raises:
      UsageError: unknown name, or an option that this network does not have, or an impossible
        value of one.

    Example:
      >>> from bnjax.models import norms
      >>> by_name("lenet", norm=norms.none(), num_classes=10, initializer="he_normal").module.hidden
      (120, 84)
    """
    if name not in FAMILIES:
        raise UsageError(f"model {name!r} is not known: choose from {', '.join(FAMILIES)}")
    build, options, usual = FAMILIES[name]
    check_size(num_classes, width, dropout)  # of families without these options, too
    if depth is not None and usual is None:
        deep = [other for other, family in FAMILIES.items() if family.depth is not None]
        raise UsageError(
            f"model {name} has a depth of its own: leave depth {depth} out, or choose from "
            f"{', '.join(deep)}"
        )
    if dropout and "dropout" not in options:
        raise UsageError(f"model {name} has no dropout: leave dropout {dropout} out")
    known = {"width": width, "dropout": dropout, "depth": usual if depth is None else depth}
    given: dict[str, Any] = {option: known[option] for option in options}
    return build(norm=norm, num_classes=num_classes, initializer=initializer, **given)
