"""What several experiments require of an option: distinct rates, rising multiples, known layers."""

import math
from collections.abc import Sequence

from bnjax import models
from bnjax.errors import UsageError, require
from bnjax.frame.config import RunConfig


def require_rates(rates: Sequence[float]) -> None:
    """Refuse learning rates of `--lrs` that are none, equal or not positive and finite.

    Args:
      rates: parameter units per gradient unit.

    Raises:
      UsageError: naming all of them.

    Example:
      >>> require_rates((0.1, 0.1))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      bnjax.errors.UsageError: --lrs 0.1 0.1: must be one or more different learning rates ...
    """
    names = [f"{rate:g}" for rate in rates]  # of figures and claims
    legal = len(set(names)) == len(names) > 0 and all(0 < rate < math.inf for rate in rates)
    require(
        "--lrs",
        " ".join(names),
        legal,
        "one or more different learning rates above 0, e.g. 0.1 0.5",
    )


def require_multiples(multiples: Sequence[float], *, least: int = 1) -> None:
    """Refuse multiples of `--multiples` that are too few, not rising or not positive and finite.

    Args:
      multiples: of a learning rate.
      least: how many there must be, 1 or 2.

    Raises:
      UsageError: naming all of them.

    Example:
      >>> require_multiples((1.0,), least=2)
      Traceback (most recent call last):
      bnjax.errors.UsageError: --multiples 1: must be 2 or more above 0, rising, e.g. 0.5 1 2 4
    """
    legal = list(multiples) == sorted(set(multiples)) and len(multiples) >= least
    legal = legal and all(0 < multiple < math.inf for multiple in multiples)
    shown = " ".join(f"{multiple:g}" for multiple in multiples)
    some = "2 or more above 0, rising, e.g. 0.5 1 2 4"
    one = "one or more above 0, rising, e.g. 0.1 1 10"
    require("--multiples", shown, legal, some if least > 1 else one)


def require_layers(option: str, layers: Sequence[str], config: RunConfig) -> None:
    """Refuse names of layers that the model does not have; the message lists those it has.

    Args:
      option: as it is typed, e.g. `--layers`.
      layers: names, e.g. `("conv5",)`.
      config: says which model.

    Raises:
      UsageError: a layer does not exist.

    Example:
      >>> require_layers("--layers", ("dense9",), RunConfig(model="lenet"))
      Traceback (most recent call last):
      bnjax.errors.UsageError: --layers dense9: the model has conv1 conv2 dense1 dense2 output
    """
    linear = config.model == "dln"
    model = config.build_model("none", num_classes=10)
    known = models.layer_names(model, (1, 1, 10) if linear else (32, 32, 3))
    if unknown := [name for name in layers if name not in known]:
        raise UsageError(f"{option} {' '.join(unknown)}: the model has {' '.join(known)}")
