"""The claims of Ioffe & Szegedy 2015, Fig. 1: a small sigmoid network with BatchNorm and without.

How soon and how high its test accuracy rises, how far the inputs to the sigmoids move along
training, and whether an image that comes alone is classified as it is among others.
"""

import functools
import math
import warnings
from collections.abc import Callable

import numpy as np

from bnjax.frame.results import Results
from bnjax.judge.claim import RATIO_RULE, Claim, Comparison, interval
from bnjax.judge.curves import ACCURACY, Quantity, steps_shown
from bnjax.judge.pairs import (
    BELOW_CHANCE,
    agreement,
    beside_none,
    compare_pairs,
    describe,
    probed_loss,
    reasons_against,
)
from bnjax.studies.sigmoid_mnist.single_images import PAPER, single_images
from bnjax.studies.vgg_training.claims import Question, ask

CURVES = {"mlp": "curves without numbers; their axis runs from 70 to 100 % (Fig. 1a)"}
DEAD = "inconclusive if an arm is dead or diverged"
WHOLE = (
    "of each unit of the last hidden layer: largest minus smallest value along the whole run of "
    "its 15th, 50th and 85th percentile, averaged over the three and divided by the run's mean of "
    f"85th minus 15th; median over units; ratio none/{{norm}}, {RATIO_RULE}; supported if above 1, "
    f"not supported if below, else inconclusive; {DEAD}"
)
LOCAL = (
    "of each unit of the last hidden layer: change of its 15th, 50th and 85th percentile to the "
    "next probe, averaged over the three and divided by 85th minus 15th; median over units; median "
    "over probed steps of the ratio none/{norm}, at equal step and at equal loss, only where both "
    f"arms are {BELOW_CHANCE}; {RATIO_RULE}; supported if above 1 in both comparisons, "
    f"not supported if below in both, else inconclusive; {DEAD}"
)


def claims(results: Results) -> list[Claim]:
    """All claims, for every normaliser that ran and for those that ran beside `none`."""
    norms = [str(norm) for norm in results.axes["norm"]]
    compared = beside_none(results)
    found: list[Claim] = []
    for norm in compared:
        for question in (FASTER, BETTER):
            asked = ask(results, question, norm, "none", "")
            found.append(asked._replace(source=f"{PAPER}, {question.source}"))
        found += [whole_run(results, norm), between_probes(results, norm)]
    return [*found, *(claim for norm in norms for claim in single_images(results, norm))]


def steps_to_test_accuracy(results: Results, norm: str, seed: int) -> float:
    """The first evaluation at which the test accuracy reaches the target; inf if none does."""
    accuracy = results.select("test.accuracy", norm=norm, seed=seed)
    reached = np.flatnonzero(accuracy >= results.config["target_accuracy"])
    return float(max(1, results.axes["test_step"][reached[0]])) if len(reached) else math.inf


def target(results: Results) -> str:
    """What steps are counted to."""
    config = results.config
    goal = f"{100 * config['target_accuracy']:g} %"
    return f"steps to test accuracy {goal} (evaluated every {config['evaluate_every']})"


FASTER = Question(
    "faster",
    "{norm} gets to a test accuracy sooner than {other}",
    "Fig. 1a",
    Quantity(target, steps_to_test_accuracy, True, False, steps_shown),
    1.0,
    CURVES,
)
BETTER = Question(
    "accuracy",
    "{norm} ends at a higher test accuracy than {other}",
    "Fig. 1a",
    ACCURACY,
    0.0,
    CURVES,
)


def percentiles(results: Results, norm: str, seed: int) -> np.ndarray:
    """Of every unit's input, `[probe_step, unit, percentile]`."""
    return results.select("inputs.percentiles", norm=norm, seed=seed)


def spreads(values: np.ndarray) -> np.ndarray:
    """Highest minus lowest percentile, NaN where a unit gets one value only."""
    width = values[..., -1] - values[..., 0]
    return np.where(width > 0, width, np.nan)


def wander(results: Results, norm: str, seed: int) -> np.ndarray:
    """How far each unit's percentiles get along the run, in its own mean spread, `[unit]`."""
    values = percentiles(results, norm, seed)
    values = values[np.isfinite(values).all(axis=(1, 2))]  # up to a divergence
    travelled = (values.max(axis=0) - values.min(axis=0)).mean(axis=-1)
    return quiet(np.nanmean, spreads(values), axis=0, of=travelled)


def quiet(reduce: Callable, spread: np.ndarray, *, axis: int, of: np.ndarray) -> np.ndarray:
    """`of` over the reduced spread; NaN, without a warning, for units that never spread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return of / reduce(spread, axis=axis)


def drift(results: Results, norm: str, seed: int) -> np.ndarray:
    """How far the median unit's percentiles move to the next probe, in spreads, `[probe_step]`."""
    values = percentiles(results, norm, seed)
    moved = np.abs(np.diff(values, axis=0)).mean(axis=-1) / spreads(values[:-1])
    with warnings.catch_warnings():  # an arm that has ended
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.append(np.nanmedian(moved, axis=-1), np.nan)


def typical_unit(results: Results, norm: str, seed: int) -> int:
    """The unit that wanders as far as the median one; the lower of two medians."""
    far = wander(results, norm, seed)
    order = np.argsort(far)
    known = int(np.isfinite(far).sum())
    return int(order[max(0, (known - 1) // 2)])


def whole_run(results: Results, norm: str) -> Claim:
    """Whether the inputs to the sigmoids move less along the whole run than without."""
    seeds = results.axes["seed"].tolist()
    reasons = reasons_against(results, ("none", norm))
    arms = {
        arm: [float(np.nanmedian(wander(results, arm, seed))) for seed in seeds]
        for arm in ("none", norm)
        if not reasons
    }
    comparison = Comparison("whole run", None)
    if arms:
        ratio = np.array(arms["none"]) / np.array(arms[norm])
        comparison = Comparison("whole run", interval(ratio.tolist()))
    verdict, reasons = agreement([comparison], reasons)
    values = "; ".join(
        f"{arm} {' '.join(f'{value:.2f}' for value in each)}" for arm, each in arms.items()
    )
    return Claim(
        identifier=f"fig1bc-run-{norm}",
        sentence=f"the inputs to the sigmoids move less along training with {norm}",
        source=f"{PAPER}, Fig. 1b, c",
        rule=WHOLE.format(norm=norm),
        measured="; ".join(filter(None, (describe([comparison]), values))),
        published="curves without numbers",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def between_probes(results: Results, norm: str) -> Claim:
    """Whether they move less from probe to probe, once both arms train."""
    comparisons = compare_pairs(
        results,
        losses=functools.partial(probed_loss, results),
        values=functools.partial(drift, results),
        above="none",
        below=norm,
    )
    verdict, reasons = agreement(comparisons, reasons_against(results, ("none", norm)))
    return Claim(
        identifier=f"fig1bc-probe-{norm}",
        sentence=f"the inputs to the sigmoids are more stable from probe to probe with {norm}",
        source=f"{PAPER}, Fig. 1b, c",
        rule=LOCAL.format(norm=norm),
        measured=describe(comparisons),
        published="curves without numbers",
        verdict=verdict,
        reason="; ".join(reasons),
    )
