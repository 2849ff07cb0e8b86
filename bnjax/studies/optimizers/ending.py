"""How an arm ends, and whether averaging over copies of a test image is worth it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr

from bnjax.frame.results import Run as Results
from bnjax.frame.variants import Variant
from bnjax.judge.claim import Claim, Interval, Verdict, difference
from bnjax.judge.pairs import why_not_trained

LEVEL = 0.05
NORMAL_QUANTILE = 1.959964


class Ended(NamedTuple):
    """The last measurement of `bnjax.studies.optimizers.measure_ending.Ending`."""

    train_accuracy: float
    accuracy: np.ndarray  # [averaged]
    gained: np.ndarray
    lost: np.ndarray
    images: float  # in the test set


class Paired(NamedTuple):
    """Accuracy with copies minus without, on the same images."""

    difference: Interval  # percentage points; 95 %
    p: float  # exact McNemar test, two-sided; NaN of several seeds


def last_row(results: Results, norm: str, seed: int) -> Ended:
    """The measurement at the last probed step; NaN of an arm that diverged."""
    rows = [
        results.select(f"ending.{name}", norm=norm, seed=seed)[-1].astype(np.float64)
        for name in Ended._fields
    ]
    train, accuracy, gained, lost, images = rows
    return Ended(float(train), accuracy, gained, lost, float(images))


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p value of as many or more one-sided changes under equal odds.

    Example:
      >>> round(mcnemar(8, 1), 4)
      0.0391
    """
    fewer, total = min(gained, lost), gained + lost
    return min(1.0, 2 * float(bdtr(fewer, total, 0.5))) if total else 1.0


def paired(gained: np.ndarray, lost: np.ndarray, images: float) -> Paired:
    """The paired difference of accuracies, in points.

    One seed: Wald's 95 % interval of a paired difference of shares over the test images, and
    McNemar's exact test. Several seeds share their images, so the interval is that over seeds.

    Args:
      gained: images that only the average gets right, `[seeds]`.
      lost: images that only the plain prediction gets right, `[seeds]`.
      images: in the test set.
    """
    changes = 100 * (gained - lost) / images
    if len(changes) > 1:
        return Paired(difference(changes.tolist()), np.nan)
    up, down = float(gained[0]), float(lost[0])
    variance = (up + down - (up - down) ** 2 / images) / images**2
    half = 100 * NORMAL_QUANTILE * variance**0.5
    centre = float(changes[0])
    return Paired(Interval(centre, centre - half, centre + half, 1), mcnemar(int(up), int(down)))


def compare(results: Results, norm: str, kind: str) -> Paired:
    """What averaging over a kind of copies gains in one arm."""
    column = results.axes["averaged"].tolist().index(kind)
    rows = [last_row(results, norm, seed) for seed in results.axes["seed"].tolist()]
    gained, lost = (
        np.array([getattr(row, name)[column] for row in rows]) for name in ("gained", "lost")
    )
    return paired(gained, lost, rows[0].images)


def averaging_claims(
    results: Results, norm: str, variants: Sequence[Variant], multiple: float
) -> list[Claim]:
    """Test-time augmentation of the networks that were trained with and without augmentation."""
    kinds = [kind for kind in results.axes["averaged"].tolist() if kind != "original"]
    return [
        averaging_claim(results, norm, variant, multiple, kind)
        for variant in variants
        for kind in kinds
    ]


def averaging_claim(
    results: Results, norm: str, variant: Variant, multiple: float, kind: str
) -> Claim:
    """Whether averaging over a kind of copies raises the test accuracy of one arm."""
    arm = results.at(variant=variant.name, multiple=multiple)
    why = why_not_trained(arm, norm)
    seeds = len(results.axes["seed"])
    verdict: Verdict = "inconclusive"
    measured, reason = "not measured", why
    if not why:
        found = compare(arm, norm, kind)
        low, high = found.difference.low, found.difference.high
        # One seed: the exact test decides, the interval shows the size.
        clear = found.p < LEVEL if seeds == 1 else not low <= 0 <= high
        if clear:
            verdict = "supported" if found.difference.centre > 0 else "not supported"
        else:
            reason = "the difference may be chance"
        shown = f"{found.difference.centre:.2f} points [{low:.2f}, {high:.2f}]"
        shown += f" over images, p = {found.p:.2g}" if seeds == 1 else f" over {seeds} seeds"
        plain = np.mean([last_row(arm, norm, s).accuracy[0] for s in arm.axes["seed"].tolist()])
        measured = f"{'one seed; ' if seeds == 1 else ''}{shown}; without {100 * plain:.1f} %"
    trained = "with" if variant.augment else "without"
    return Claim(
        identifier=f"copies-{norm}-{kind}-{trained}-augmentation",
        sentence=f"averaging predictions over {COPIES[kind]} raises the test accuracy of norm "
        f"{norm} trained {trained} augmentation",
        source="Krizhevsky et al. 2012, §4.1 (ten patches an image); no published number here",
        rule="same network, same test images; one seed: supported or not if the exact McNemar test "
        f"has p < {LEVEL}, by the sign; several seeds: if the 95 % t interval over them leaves 0; "
        "else inconclusive; inconclusive if the arm does not train",
        measured=measured,
        published="",
        verdict=verdict,
        reason=reason,
    )


COPIES = {
    "flips": "an image and its mirror image",
    "translations": "an image and its four translations",
    "both": "an image, its four translations and the mirror images of all five",
}
