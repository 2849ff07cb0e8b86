"""What the figures of a sweep of settings share: names, captions, an arm's end."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from bnjax.draw import numbers
from bnjax.draw.elements import network
from bnjax.draw.style import LOOKS
from bnjax.frame.results import Run as Results
from bnjax.frame.variants import Variant
from bnjax.judge import variants as arms
from bnjax.judge.curves import test_accuracy
from bnjax.judge.pairs import why_not_trained
from bnjax.train.optimizers import USUAL_RATES

OPTIMIZERS = {
    "sgd": "SGD",
    "momentum": "SGD, momentum 0.9",
    "nesterov": "SGD, Nesterov 0.9",
    "adagrad": "AdaGrad",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "adamw": "AdamW",
}
INITIALIZERS = {
    "he_normal": "He",
    "glorot_normal": "Glorot",
    "two_over_root_n": "2/√n",
    "small_normal": "Gaussian 0.01",
    "constant": "all 0.01",
}
NOT_TRAINED = "hollow: does not train, 0 if diverged"


def norms_of(results: Results) -> list[str]:
    """The normalisers."""
    return [str(norm) for norm in results.axes["norm"]]


def initializer_name(name: str) -> str:
    """An initialiser as an axis shows it."""
    return INITIALIZERS.get(name, name.replace("_", " "))


def setting(results: Results, *, optimizer: bool) -> str:
    """Network, data, seeds and setting, as a caption says them."""
    config, base = results.config, arms.base(results)
    seeds = len(results.axes["seed"])
    trained = f"{OPTIMIZERS[base.optimizer]} at lr {usual_rate(results, base):g}, " * optimizer
    return (
        f"{network(config)} on {results.facts['dataset']}; {trained}batch {config['batch_size']}, "
        f"{config['steps']} steps; {'one seed' if seeds == 1 else f'{seeds} seeds'}"
    )


def usual_rate(results: Results, variant: Variant) -> float:
    """The learning rate at which settings are compared."""
    return arms.usual(results) * USUAL_RATES[variant.optimizer]


def final(results: Results, variant: Variant, multiple: float, norm: str) -> tuple[float, bool]:
    """Final test accuracy in percent, mean over seeds, and whether the arm trains."""
    arm = arms.arm(results, variant, multiple)
    values = [arms.known(test_accuracy(arm, norm, s)) for s in results.axes["seed"].tolist()]
    return 100 * float(np.mean(values)), not why_not_trained(arm, norm)


def points(panel: Axes, norm: str, x: Sequence[float], found: list[tuple[float, bool]]) -> None:
    """An arm's line with a full marker where it trains and a hollow one where it does not."""
    look = LOOKS[norm]
    y = [value for value, _ in found]
    label = numbers.hidden(look.label)
    panel.plot(x, y, color=look.colour, linestyle=look.line, linewidth=1.2, label=label)
    for place, (value, trains) in zip(x, found, strict=True):
        panel.plot(
            place,
            value,
            marker=look.marker,
            color=look.colour,
            fillstyle="full" if trains else "none",
            markersize=6,
            zorder=5,
            linestyle="none",
            label=numbers.hidden(f"{look.label}, {'trains' if trains else 'does not train'}"),
        )
    panel.plot([], [], color=look.colour, linestyle=look.line, marker=look.marker, label=look.label)


def chance_accuracy(results: Results) -> float:
    """Of guessing, in percent."""
    return 1000.0 / {"cifar100": 1000}.get(results.config["dataset"], 100)
