"""Arms of a sweep of settings, and what claims on them share.

An arm is one normaliser in one setting at one multiple of its optimiser's usual learning rate.
"""

import math

import numpy as np

from bnjax.frame.results import Run as Results
from bnjax.frame.variants import Variant, parse
from bnjax.judge.claim import (
    ONE_SEED_POINTS,
    SOME_POINTS,
    T_INTERVAL,
    Claim,
    Interval,
    Verdict,
    decide_difference,
    format_interval,
)
from bnjax.judge.pairs import TRAINED, why_not_trained

TEXTBOOK = "a textbook sentence; no published number"
TRAINS = f"an arm trains if no seed diverges and each ends below {TRAINED} of the loss of chance"
SYMMETRIC = ("constant", "zeros")


def base(results: Results) -> Variant:
    """The setting around which others are swept."""
    return parse(str(results.axes["variant"][0]))


def around(results: Results, factor: str) -> list[Variant]:
    """The base, and the settings that differ from it in one factor only."""
    own = base(results)
    found = [parse(str(name)) for name in results.axes["variant"]]
    return [v for v in found if v == own._replace(**{factor: getattr(v, factor)})]


def initializers(results: Results) -> list[Variant]:
    """The settings around the base whose initialiser breaks the symmetry."""
    return [v for v in around(results, "initializer") if v.initializer not in SYMMETRIC]


def usual(results: Results) -> float:
    """The multiple of the usual learning rate that is nearest to 1."""
    multiples = results.axes["multiple"]
    return float(multiples[np.abs(np.log(multiples)).argmin()])


def arm(results: Results, variant: Variant, multiple: float) -> Results:
    """The results of one setting at one learning rate."""
    return results.at(variant=variant.name, multiple=multiple)


def trained_multiples(results: Results, norm: str, variant: Variant) -> list[float]:
    """The multiples at which a setting trains."""
    multiples = results.axes["multiple"].tolist()
    return [m for m in multiples if not why_not_trained(arm(results, variant, m), norm)]


def claim(
    results: Results,
    identifier: str,
    sentence: str,
    rule: str,
    measured: str,
    verdict: Verdict,
    reason: str,
) -> Claim:
    """A claim whose measured numbers say over how many seeds they are."""
    seeds = len(results.axes["seed"])
    labelled = f"{'one seed' if seeds == 1 else f'{seeds} seeds'}; {measured}"
    return Claim(identifier, sentence, TEXTBOOK, rule, labelled, "", verdict, reason)


def known(value: float) -> float:
    """0 in place of what a diverged arm no longer measured."""
    return 0.0 if math.isnan(value) else value


def points_rule() -> str:
    """How differences of accuracies are decided."""
    return (
        f"{T_INTERVAL} over seeds (one seed: {SOME_POINTS}) above 0 "
        "supports, below 0 does not, else inconclusive"
    )


def decide_points(estimate: Interval) -> Verdict:
    """Whether a difference in percentage points that the claim wants above 0 is."""
    return decide_difference(estimate, 100 * ONE_SEED_POINTS)


def points(estimate: Interval) -> str:
    """A difference as it is read."""
    return format_interval(estimate).replace(" ", " points ", 1)
