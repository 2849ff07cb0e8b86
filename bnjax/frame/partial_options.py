"""The options of runs that train a part of a ResNet's parameters and freeze the others."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import jax
from jaxtyping import Array

from bnjax import models
from bnjax.arithmetic.selection import Selection
from bnjax.arithmetic.trees import Predicate
from bnjax.errors import UsageError, require
from bnjax.frame.config import RunConfig
from bnjax.frame.streams import stream_key
from bnjax.models import norms
from bnjax.models.resnet import convolution_names
from bnjax.train import parts
from bnjax.types import Params

ScaleInit: TypeAlias = Literal["uniform", "half", "one", "sign"]
SCALE_INITS: Mapping[str, Callable[..., Array]] = {
    "uniform": jax.nn.initializers.uniform(1.0),
    "half": jax.nn.initializers.constant(0.5),
    "one": jax.nn.initializers.ones,
    "sign": jax.random.rademacher,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartialConfig(RunConfig):
    """Options of a run that trains a part of a ResNet; every combination of the first four runs."""

    trained: tuple[parts.Part, ...] = ("all", "bn", "random", "output")
    """What is trained: all; bn (γ and β); bn+output (the last layer too); random (of each channel's
    kernel as many random elements as the channel has of γ and β); random_anywhere (as many in all,
    drawn from everything but γ and β); output (the last layer)."""
    depths: tuple[int, ...] = (14,)
    """Depths of the ResNet, 6·D + 2 weight layers: 14, 32, 56, 110, 218, 434, 866, ...."""
    norm_every: tuple[int, ...] = (1,)
    """BatchNorm after every n-th 3×3 convolution only (1×1 shortcuts keep theirs)."""
    scale_init: tuple[ScaleInit, ...] = ("uniform",)
    """γ at the start: uniform in [0, 1), half (0.5), one, or sign (±1)."""
    no_scale: tuple[str, ...] = ()
    """Layers whose BatchNorm has no γ, e.g. conv3 shortcut3."""
    no_shift: tuple[str, ...] = ()
    """Layers whose BatchNorm has no β."""
    decay_norm: bool = True
    """Apply --weight-decay to γ and β too."""

    def validate(self) -> None:
        """Refuse impossible values."""
        require("--norms", " ".join(self.norms), self.norms == ("batch",), "batch")
        require("--model", self.model, self.model == "resnet", "resnet")
        if self.depth is not None:
            raise UsageError(f"--depth {self.depth} is not for this experiment: give --depths")
        for option in ("trained", "depths", "norm_every", "scale_init", "no_scale", "no_shift"):
            values = getattr(self, option)
            legal = len(set(values)) == len(values) and (values or option.startswith("no_"))
            shown = " ".join(map(str, values))
            require(f"--{option.replace('_', '-')}", shown, bool(legal), "given, and all different")
        for depth in self.depths:
            known = convolution_names(depth)
            for every in self.norm_every:
                expected = f"from 1 to {depth - 1}, the convolutions of a ResNet-{depth}"
                require("--norm-every", every, 1 <= every < depth, expected)
            for option, layers in (("--no-scale", self.no_scale), ("--no-shift", self.no_shift)):
                if unknown := [layer for layer in layers if layer not in known]:
                    raise UsageError(
                        f"{option} {' '.join(unknown)}: a ResNet-{depth} has {' '.join(known)}"
                    )
        super().validate()

    @property
    def arm_axes(self) -> dict[str, tuple[Any, ...]]:
        """What is trained, of which network."""
        return {
            "trained": self.trained,
            "depth": self.depths,
            "norm_every": self.norm_every,
            "scale_init": self.scale_init,
        }

    def for_arm(self, values: Mapping[str, Any]) -> "PartialConfig":
        """The configuration of one arm."""
        names = {"depth": "depths"}
        own: dict[str, Any] = {names.get(name, name): (value,) for name, value in values.items()}
        return dataclasses.replace(self, **own)

    def build_model(self, norm: str, num_classes: int) -> models.Model:
        """The network of the first arm."""
        del norm
        depth, every = self.depths[0], self.norm_every[0]
        exceptions = self.exceptions()
        # Whoever names single layers needs them one by one; of two in turn a block has one each.
        alike = every <= 2 and not self.no_scale and not self.no_shift
        return models.resnet(
            depth,
            norm=norms.with_exceptions(self.batch_norm(), exceptions),
            num_classes=num_classes,
            width=self.width,
            initializer=self.initializer,
            dropout=self.dropout,
            scan=None if alike else False,
        )

    def batch_norm(self, **options: bool) -> models.Norm:
        """BatchNorm with γ drawn as in the first arm."""
        return norms.batch_norm(scale_init=SCALE_INITS[self.scale_init[0]], **options)

    def exceptions(self) -> dict[str, models.Norm]:
        """The layers of the first arm whose normaliser is another, by name."""
        depth, every = self.depths[0], self.norm_every[0]
        found = {
            layer: self.batch_norm(
                use_scale=layer not in self.no_scale, use_bias=layer not in self.no_shift
            )
            for layer in (*self.no_scale, *self.no_shift)
        }
        found |= {f"conv{place}": norms.none() for place in range(1, depth) if place % every}
        # Of a scanned block, conv 2b is the first and conv 2b + 1 the second.
        return found | ({"second": norms.none()} if every == 2 else {})

    @property
    def decays(self) -> Predicate | None:
        """Which parameters decay."""
        return None if self.decay_norm else parts.not_of_norm

    def select(self, shapes: Params, seed: int) -> Selection:
        """What the first arm trains."""
        return parts.select(self.trained[0], shapes, stream_key(seed, "select"))
