"""Which candidate setting has the published numbers before the first step (Santurkar et al. 2018).

    python experiments/forensics.py                                     # digits, a small network
    python experiments/forensics.py --preset two_cores --data-dir DIR   # CIFAR-10, full width
    python experiments/forensics.py --preset paper --data-dir DIR       # all candidates and norms
    python experiments/forensics.py --candidates base bias0.07 vgg16+nohead+unscaled

The publication does not say how deep its VGG is, which head it has, where biases start, or how
pixels are scaled. Its figures are vector graphics, so their first points can be read exactly: six
numbers for each normaliser. A candidate is a setting written as words joined by +, each of which
changes one thing of the network that the other options describe. You get a table of candidates by
their distance from the published numbers, and the nearest ones beside the published points.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from bnjax.errors import UsageError, require
from bnjax.frame import options
from bnjax.frame.study import Study
from bnjax.studies.landscape import ALL_NORMS, Line

NETWORKS = ("vgg5", "vgg11", "vgg13", "vgg16", "vgg19")
# What a candidate may change beside the options of a run, and what it is if it does not.
UNCHANGED: Mapping[str, Any] = {
    "pooling": "max",  # what ends a stage, see `models.vgg`
    "plain_head": False,  # hidden dense layers have no normaliser
    "epsilon": 1e-5,  # of normalisers
    "average": "together",  # of ℓp norms, see `norms.lp_norm`
}
NUMBER = r"(\d+(?:\.\d+)?(?:e-?\d+)?)"
# By the pattern of a word: how it is typed, and what it changes.
WORDS: Mapping[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "(base)": ("base", lambda _: {}),
    r"(vgg\d+)": ("vgg16", lambda name: {"model": name}),
    r"head(\d+)": ("head4096", lambda size: {"hidden": (int(size), int(size))}),
    "no(head)": ("nohead", lambda _: {"hidden": ()}),
    f"bias{NUMBER}": ("bias0.1", lambda value: {"bias_init": float(value)}),
    "(standardised|per_image|unscaled)": ("unscaled", lambda scale: {"pixel_scale": scale}),
    "(mean)pool": ("meanpool", lambda pooling: {"pooling": pooling}),
    "last(kept)": ("lastkept", lambda _: {"pooling": "max_but_last"}),
    "(plain)head": ("plainhead", lambda _: {"plain_head": True}),
    f"eps{NUMBER}": ("eps1e-3", lambda value: {"epsilon": float(value)}),
    "lp_(each|centred)": ("lp_each", lambda average: {"average": average}),
}


def changes(candidate: str) -> dict[str, Any]:
    """What a candidate changes of a run's options.

    Example:
      >>> changes("vgg16+nohead+bias0.1")
      {'model': 'vgg16', 'hidden': (), 'bias_init': 0.1}
    """
    found: dict[str, Any] = {}
    for word in candidate.split("+"):
        matches = [
            (match[1], make)
            for pattern, (_, make) in WORDS.items()
            if (match := re.fullmatch(pattern, word))
        ]
        if not matches:
            known = " ".join(dict.fromkeys(shown for shown, _ in WORDS.values()))
            raise UsageError(
                f"--candidates {candidate}: {word!r} is no word of a candidate: they are such as "
                f"{known}, joined by +"
            )
        value, make = matches[0]
        own = make(value)
        if twice := own.keys() & found.keys():
            raise UsageError(f"--candidates {candidate}: sets {' '.join(sorted(twice))} twice")
        found |= own
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Line, options.LearningRate, options.Training):
    """Options of the forensics; every candidate is measured with every normaliser."""

    candidates: tuple[str, ...] = ("base", "bias0.1", "unscaled")
    """Settings, each of words joined by + that change one thing of the network described by the
    other options: base vgg16 head4096 nohead bias0.1 standardised per_image unscaled meanpool
    lastkept (no pooling after the last stage) plainhead (hidden dense layers without normaliser)
    eps1e-3 lp_each lp_centred."""

    def check(self) -> None:
        legal = len(set(self.candidates)) == len(self.candidates) > 0
        require("--candidates", " ".join(self.candidates), legal, "one or more, all different")
        for candidate in self.candidates:
            own = {**vars(self), **UNCHANGED, **changes(candidate)}
            require("--model", own["model"], own["model"] in NETWORKS, " ".join(NETWORKS))
            options.Network(hidden=own["hidden"], bias_init=own["bias_init"]).check()
            epsilon = own["epsilon"]
            require("--candidates eps", epsilon, 0 <= epsilon < math.inf, "0 or more and finite")

    @property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        return {"candidate": self.candidates, "norm": self.norms}

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {**UNCHANGED, **changes(values["candidate"]), **super().settings(values)}


# A probe before the first step is all that is needed; the step itself ends the run.
START: Mapping[str, Any] = {"steps": 1, "probe_every": 1, "evaluate_every": 1, "limits_every": 0}
# Depth, head, biases and pixels alone and together; then what only normalised networks feel.
OF_ALL = tuple(
    "+".join(filter(None, words)) or "base"
    for words in (
        (),
        ("bias0.05",),
        ("bias0.1",),
        ("per_image",),
        ("per_image", "bias0.05"),
        ("per_image", "bias0.1"),
        ("unscaled",),
        ("unscaled", "bias0.1"),
        ("nohead",),
        ("nohead", "bias0.1"),
        ("nohead", "unscaled"),
        ("vgg16",),
        ("vgg16", "bias0.1"),
        ("vgg16", "unscaled"),
        ("vgg16", "nohead"),
        ("vgg16", "nohead", "bias0.1"),
        ("vgg16", "nohead", "unscaled"),
        ("meanpool",),
        ("lastkept",),
        ("lastkept", "bias0.1"),
    )
)
OF_NORMS = ("plainhead", "eps1e-3", "lp_each", "lp_centred")

STUDY = Study(
    __name__,
    question="Which setting has the numbers of the published VGG before its first step?",
    source="Santurkar et al. 2018, Fig. 4 and 12",
    options=Options,
    presets={
        "quick": {
            **options.PUBLISHED_VGG,
            **START,
            "dataset": "digits",
            "width": 0.125,
            "hidden": (512, 512),
            "seeds": 3,
        },
        "toy": {
            **options.TOY,
            **START,
            "model": "vgg5",
            "dataset": "digits16",
            "width": 0.05,
            "hidden": (8, 8),
            "kernel_penalty": 2e-4,
            "steps": 2,
            "candidates": ("base", "nohead+unscaled+bias0.1"),
        },
        "two_cores": {
            **options.PUBLISHED_VGG,
            **START,
            "seeds": 3,
            "candidates": ("base", "bias0.1", "unscaled", "per_image", "vgg16"),
        },
        "paper": {
            **options.PUBLISHED_VGG,
            **START,
            "seeds": 3,
            "norms": ALL_NORMS,
            "candidates": (*OF_ALL, *OF_NORMS),
        },
    },
    shown=("line_losses", "line_gradient_distances", "line_smoothness"),
    axis_labels={
        "candidate": "candidate",
        "step_size": "step size η",
        "direction": "direction",
    },
)
