"""Settings of training that are swept one factor at a time, or all together, as one axis."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from bnjax.errors import UsageError
from bnjax.train.optimizers import OptimizerName


class Variant(NamedTuple):
    """What training is done with, beside normaliser and learning rate."""

    optimizer: OptimizerName
    initializer: str
    dropout: float
    augment: bool

    @property
    def name(self) -> str:
        """One word that `parse` reads: `adam+he_normal+0.5+augmented`."""
        last = "augmented" if self.augment else "plain"
        return f"{self.optimizer}+{self.initializer}+{self.dropout:g}+{last}"


def parse(name: str) -> Variant:
    """The variant of that name.

    Example:
      >>> parse("adam+he_normal+0.5+augmented")
      Variant(optimizer='adam', initializer='he_normal', dropout=0.5, augment=True)
    """
    optimizer, initializer, dropout, last = name.split("+")
    return Variant(optimizer, initializer, float(dropout), last == "augmented")  # type: ignore[arg-type]


def variants(factors: Sequence[Sequence], *, full: bool) -> tuple[Variant, ...]:
    """The first value of each factor, and every other value with all else at its first.

    Args:
      factors: the values of optimiser, initialiser, dropout and augmentation, in this order.
      full: all combinations instead.

    Example:
      >>> factors = ("sgd", "adam"), ("zeros",), (0.0, 0.5), (False,)
      >>> [variant.name for variant in variants(factors, full=False)]
      ['sgd+zeros+0+plain', 'adam+zeros+0+plain', 'sgd+zeros+0.5+plain']

    Raises:
      UsageError: a factor without values, or with equal ones.
    """
    for name, values in zip(Variant._fields, factors, strict=True):
        if len(set(values)) != len(values) or not len(values):
            shown = " ".join(map(str, values)) or "no value"
            raise UsageError(f"{name} {shown}: must be one or more different values")
    if full:
        return tuple(Variant(*values) for values in itertools.product(*factors))
    first = [values[0] for values in factors]
    own = Variant(*first)
    others = [
        own._replace(**{name: value})
        for name, values in zip(Variant._fields, factors, strict=True)
        for value in values[1:]
    ]
    return (own, *others)
