"""The claims of Frankle, Schwab & Morcos 2020 on networks of which only γ and β are trained.

A part that cannot learn is a result here, so an arm that stays at chance is compared like any
other; only one that diverged is not.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bnjax.frame.results import Results
from bnjax.judge.claim import (
    ONE_SEED_POINTS,
    POINTS_RULE,
    Claim,
    Verdict,
    decide_difference,
    difference,
    difference_bounds,
    format_interval,
)
from bnjax.judge.curves import percent

PAPER = "Frankle, Schwab & Morcos 2020"
SWITCHED_OFF = 0.01  # |γ| below which the paper counts a feature as switched off
FAR = 2.0  # times the accuracy of chance
SHARE_OFF = (0.25, 0.5)  # what counts as about a third
MINIMUM_OFF = 0.1  # of the features, below which clamping them shows nothing
HARM = 0.03  # of accuracy: one seed has to leave 2 points
PUBLISHED = {14: "48 %", 110: "69.5 %", 866: "82 %"}
FACTORS = ("depth", "norm_every", "scale_init")
DIVERGED_RULE = "inconclusive if an arm diverged"


class Question(NamedTuple):
    """A quantity that a claim wants above a limit, from the arms that it is formed of."""

    identifier: str
    sentence: str
    source: str
    rule: str
    arms: tuple[str, ...]
    limit: float
    published: str = ""


def networks(results: Results) -> Iterator[tuple[str, Results]]:
    """The results of each network, and what its claims' names end in."""
    for values in itertools.product(*(results.axes[factor].tolist() for factor in FACTORS)):
        where = dict(zip(FACTORS, values, strict=True))
        several = [
            f"{factor.replace('_', '-')}-{value}"
            for factor, value in where.items()
            if len(results.axes[factor]) > 1
        ]
        yield "".join(f"-{part}" for part in several), results.at(**where)


def claims(results: Results) -> list[Claim]:
    """All claims that the arms of a run can decide, for each network."""
    decided = []
    for suffix, own in networks(results):
        parts = results.axes["trained"].tolist()
        classes = float(np.exp(own.facts["chance_loss"]))
        asked = [*questions(own, 1 / classes)]
        decided += [ask(own, q, suffix) for q in asked if set(q.arms) <= set(parts)]
        if "bn" in parts:
            decided.append(about_a_third(own, suffix))
    return decided


def questions(results: Results, chance: float) -> list[Question]:
    """What is asked of one network."""
    depth = depth_of(results)
    published = f"CIFAR-10, 160 epochs: {PUBLISHED.get(depth, '48 % (14), 82 % (866 layers)')}"
    ahead = "test accuracy after training, bn − {other}, " + POINTS_RULE + "; "
    above = "supported if above {limit:g}, not supported if below, else inconclusive; "
    far = Question(
        "far-above-chance",
        "γ and β alone train a network far above chance",
        f"{PAPER}, Fig. 2",
        f"test accuracy after training, {POINTS_RULE}; supported if above {FAR:g} times chance, "
        f"{percent(FAR * chance)}, not supported if below, else inconclusive; {DIVERGED_RULE}",
        ("bn",),
        FAR * chance,
        f"{published}, chance 10 %",
    )
    others = {
        "output": ("output-only", "the output layer alone", "Fig. 2"),
        "random": ("random", "as many random elements of the channels' kernels", "§4"),
        "random_anywhere": ("random-anywhere", "as many random other parameters", "abstract"),
    }
    better = [
        Question(
            f"above-{name}",
            f"γ and β train a network better than {what}",
            f"{PAPER}, {where}",
            ahead.format(other=other) + above.format(limit=0) + DIVERGED_RULE,
            ("bn", other),
            0.0,
            f"{published}; 'far higher' than the other" if "random" in other else published,
        )
        for other, (name, what, where) in others.items()
    ]
    harmless = Question(
        "clamping",
        f"features of |γ| < {SWITCHED_OFF:g} can be switched off without harm",
        f"{PAPER}, §5",
        f"accuracy on the first test images with those γ at 0, minus with all γ, bn arm, "
        f"{POINTS_RULE}; {above.format(limit=-HARM)}{DIVERGED_RULE}, or if fewer than "
        f"{percent(MINIMUM_OFF)} of the features have so small a γ",
        ("bn",),
        -HARM,
        "no harm, after 160 epochs",
    )
    sparser = Question(
        "sparser",
        "training γ and β alone makes activations sparser than training everything",
        f"{PAPER}, §5",
        f"share of zeros among all ReLU outputs after training, bn − all, {POINTS_RULE}; "
        f"{above.format(limit=0)}{DIVERGED_RULE}",
        ("bn", "all"),
        0.0,
        "sparser, after 160 epochs; no number here",
    )
    sparsified = sparser._replace(
        identifier="sparsified",
        sentence="training γ and β alone makes activations sparser than they were",
        rule=sparser.rule.replace("after training, bn − all", "bn arm, after − before training"),
        arms=("bn",),
    )
    return [far, *better, harmless, sparser, sparsified]


def depth_of(results: Results) -> int:
    """The depth of the one network whose results these are."""
    return int(results.config["depth"] or results.config["depths"][0])


def ended(results: Results, name: str, part: str, end: str = "after", **where: Any) -> np.ndarray:
    """A quantity of one arm after (or before) training, `[seed, …]`."""
    return results.select(f"ends.{name}", trained=part, end=end, **where)


def advantage(results: Results, question: Question) -> np.ndarray:
    """The quantity that a question wants above its limit, `[seed]`."""
    match question.identifier:
        case "far-above-chance":
            return ended(results, "test_accuracy", "bn")
        case "clamping":
            cut = ended(results, "clamped_accuracy", "bn", threshold=SWITCHED_OFF)
            return cut - ended(results, "clamped_accuracy", "bn", threshold=0.0)
        case "sparser":
            return ended(results, "zeros", "bn") - ended(results, "zeros", "all")
        case "sparsified":
            return ended(results, "zeros", "bn") - ended(results, "zeros", "bn", "before")
    other = question.arms[1]
    return ended(results, "test_accuracy", "bn") - ended(results, "test_accuracy", other)


def diverged(results: Results, parts: Sequence[str]) -> list[str]:
    """The arms that no claim can rest on."""
    ends = {part: results.select("train.finite", trained=part) == 0 for part in parts}
    return [f"{part} diverged" for part, lost in ends.items() if lost.any()]


def nothing_to_clamp(results: Results, question: Question) -> list[str]:
    """Why clamping shows nothing, if it does not."""
    share = float(ended(results, "small", "bn", threshold=SWITCHED_OFF).mean())
    if question.identifier != "clamping" or share >= MINIMUM_OFF:
        return []
    return [f"only {percent(share)} of the features have so small a γ"]


def points(values: np.ndarray) -> str:
    """Shares, one for each seed, as percents with an interval."""
    return format_interval(difference((100 * values).tolist()))


def ask(results: Results, question: Question, suffix: str) -> Claim:
    """Decide one question."""
    reasons = diverged(results, question.arms) or nothing_to_clamp(results, question)
    values = advantage(results, question)
    verdict: Verdict = "inconclusive"
    if not reasons:
        verdict = decide_difference(difference(values.tolist()), ONE_SEED_POINTS, question.limit)
        reasons = [f"an interval holds {question.limit:g}"] * (verdict == "inconclusive")
    accuracies = ", ".join(
        f"{part} {points(ended(results, 'test_accuracy', part))} % (gap "
        f"{points(gap(results, part))} points)"
        for part in question.arms
    )
    return Claim(
        identifier=f"{question.identifier}{suffix}",
        sentence=question.sentence,
        source=question.source,
        rule=question.rule,
        measured=f"{points(values)} points; test accuracy {accuracies}",
        published=question.published,
        verdict=verdict,
        reason="; ".join(reasons),
    )


def gap(results: Results, part: str) -> np.ndarray:
    """Training minus test accuracy after training, `[seed]`."""
    return ended(results, "train_accuracy", part) - ended(results, "test_accuracy", part)


def about_a_third(results: Results, suffix: str) -> Claim:
    """Decide whether about a third of the features are switched off."""
    low, high = SHARE_OFF
    off = {
        end: ended(results, "small", "bn", end, threshold=SWITCHED_OFF)
        for end in ("before", "after")
    }
    reasons = diverged(results, ["bn"])
    verdict: Verdict = "inconclusive"
    if not reasons:
        least, most = difference_bounds(difference(off["after"].tolist()), ONE_SEED_POINTS)
        if low < least and most < high:
            verdict = "supported"
        elif most < low or least > high:
            verdict = "not supported"
        else:
            reasons = ["the interval holds an edge"]
    return Claim(
        identifier=f"switched-off{suffix}",
        sentence="training γ and β alone switches about a third of the features off",
        source=f"{PAPER}, abstract and §5",
        rule=f"share of |γ| < {SWITCHED_OFF:g} in the bn arm after training, {POINTS_RULE}; "
        f"supported if within {percent(low)} and {percent(high)}, not supported if outside, else "
        f"inconclusive; {DIVERGED_RULE}",
        measured=f"{points(off['after'])} %, before training {points(off['before'])} %",
        published="about a third, after 160 epochs",
        verdict=verdict,
        reason="; ".join(reasons),
    )
