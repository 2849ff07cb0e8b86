"""The claims of Frankle, Schwab & Morcos 2020 on networks of which only γ and β are trained.

A part that cannot learn is a result here, so a network that stays at chance is compared like any
other; only one that diverged is not.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import xarray

from bnjax.frame.results import Run
from bnjax.judge.compare import why_diverged
from bnjax.judge.curves import chance_accuracy, percent
from bnjax.judge.kit import (
    FINITE,
    Above,
    Condition,
    Difference,
    Judge,
    Level,
    Quantity,
    Within,
    as_verdicts,
)
from bnjax.judge.verdict import Verdict
from bnjax.studies.batchnorm_only import SWITCHED_OFF

PAPER = "Frankle, Schwab & Morcos 2020"
FAR = 2.0  # times the accuracy of chance
SHARE_OFF = (0.25, 0.5)  # what counts as about a third
MINIMUM_OFF = 0.1  # of the features, below which clamping them shows nothing
HARM = 0.03  # of accuracy: one seed has to leave 2 points
PUBLISHED = {14: "48 %", 110: "69.5 %", 866: "82 %"}
SPARSER = "sparser, after 160 epochs; no number here"
FACTORS = {"depth": "depth {}", "norm_every": "BN every {}", "scale_init": "γ {}"}


def networks(run: Run) -> Iterator[tuple[str, str, Run]]:
    """What ends the identifiers of each network's claims, its name, and the run of it alone."""
    several = [factor for factor in FACTORS if run.data.sizes[factor] > 1]
    for values in itertools.product(*map(run.values, FACTORS)):
        where = dict(zip(FACTORS, values, strict=True))
        suffix = "".join(f"-{factor.replace('_', '-')}-{where[factor]}" for factor in several)
        name = ", ".join(FACTORS[factor].format(where[factor]) for factor in several)
        own = run.sel(**where)
        yield suffix, name, Run(own.data, {**own.options, **where}, own.facts)


def in_each_network(claim: Judge) -> Judge:
    """The claim on every network of a run."""

    def judge(run: Run) -> Iterator[Verdict]:
        for suffix, name, own in networks(run):
            for found in as_verdicts(claim(own)):
                sentence = f"{found.sentence} ({name})" if name else found.sentence
                yield found._replace(identifier=found.identifier + suffix, sentence=sentence)

    return judge


def points(share: float) -> str:
    """`3.1 points`."""
    return f"{100 * share:.1f} points"


def ended(run: Run, name: str, end: str = "after", **where: Any) -> xarray.DataArray:
    """A quantity after (or before) training, `[trained, seed, …]`."""
    return run[f"ends_{name}"].sel(end=end, **where).astype(float)


def gap(run: Run) -> xarray.DataArray:
    """Training minus test accuracy after training."""
    return ended(run, "train_accuracy") - ended(run, "test_accuracy")


def switched_off(run: Run, end: str = "after") -> xarray.DataArray:
    """The share of features with a small γ."""
    return ended(run, "small", end, threshold=SWITCHED_OFF)


def accuracies(run: Run, arms: tuple[str, ...]) -> str:
    """Test accuracies and generalisation gaps, mean over seeds; of a run of one arm its own."""
    parts = []
    for arm in arms:
        own = run.sel(trained=arm) if "trained" in run.data.dims else run
        accuracy, ahead = float(ended(own, "test_accuracy").mean()), float(gap(own).mean())
        parts.append(f"{arm or 'bn'} {percent(accuracy)} (generalisation gap {points(ahead)})")
    return f"Test accuracies: {', '.join(parts)}"


def published(run: Run, norm: str) -> str:
    """The test accuracy of the publication."""
    known = PUBLISHED.get(run.options["depth"], "48 % (14), 82 % (866 layers)")
    return f"CIFAR-10, 160 epochs: {known}; chance 10 %"


def why_little_off(run: Run, arms: tuple[str, ...]) -> str:
    share = float(switched_off(run).mean())
    few = f"only {percent(share)} of the features have so small a γ"
    return "" if share >= MINIMUM_OFF else few


COMMON: Any = {
    "gate": FINITE._replace(
        why_not=lambda run, arm, axis, name: why_diverged(run, arm, axis, f"the network {name}")
    ),
    "notes": accuracies,
}
BN: Any = {**COMMON, "where": {"trained": "bn"}}
AGAINST: Any = {**COMMON, "axis": "trained", "above": "bn", "arm": "with {arm} trained"}


AFTER = "{} at the end after"
SMALL = f"at the threshold {SWITCHED_OFF:g}"


def better(identifier: str, than: str, below: str, where: str) -> Difference:
    """The claim that γ and β train a network better than another part does."""
    return Difference(
        identifier=f"above-{identifier}",
        says=f"γ and β train a network better than {than}",
        quantity=Quantity(
            "the test accuracy after training",
            lambda run: ended(run, "test_accuracy"),
            "lower",
            "higher",
            percent,
            AFTER.format("ends_test_accuracy"),
        ),
        below=below,
        source=f"{PAPER}, {where}",
        published=published,
        **AGAINST,
    )


def excess(run: Run) -> str:
    """Of which accuracy `far-above-chance` is about."""
    chance = percent(FAR * chance_accuracy(run))
    return f"the excess of the test accuracy after training over {FAR:g} times chance ({chance})"


OF_A_NETWORK: tuple[Judge, ...] = (
    Level(
        identifier="far-above-chance",
        says="γ and β alone train a network far above chance",
        quantity=Quantity(
            excess,
            lambda run: ended(run, "test_accuracy") - FAR * chance_accuracy(run),
            show=points,
            definition=AFTER.format("ends_test_accuracy"),
        ),
        rule=Above(0.0),
        source=f"{PAPER}, Fig. 2",
        published=published,
        **BN,
    ),
    better("output-only", "the output layer alone", "output", "Fig. 2"),
    better("random", "as many random elements of the channels' kernels", "random", "§4"),
    better(
        "random-anywhere",
        "as many random other parameters",
        "random_anywhere",
        "abstract: 'far higher'",
    ),
    Level(
        identifier="clamping",
        says=f"features of |γ| < {SWITCHED_OFF:g} can be switched off without harm",
        quantity=Quantity(
            "the change of the accuracy on the first test images with those γ at 0",
            lambda run: (
                ended(run, "clamped_accuracy", threshold=SWITCHED_OFF)
                - ended(run, "clamped_accuracy", threshold=0.0)
            ),
            show=points,
            definition=f"{AFTER.format('ends_clamped_accuracy')}, {SMALL}, minus that at 0",
        ),
        rule=Above(-HARM),
        conditions=(
            Condition(
                f"fewer than {percent(MINIMUM_OFF)} of the features (mean over seeds of "
                f"{AFTER.format('ends_small')}, {SMALL}) have so small a γ",
                why_little_off,
            ),
        ),
        source=f"{PAPER}, §5",
        published="no harm, after 160 epochs",
        **BN,
    ),
    Difference(
        identifier="sparser",
        says="training γ and β alone makes activations sparser than training everything",
        quantity=Quantity(
            "the share of zeros among all ReLU outputs after training",
            lambda run: ended(run, "zeros"),
            show=percent,
            definition=AFTER.format("ends_zeros"),
        ),
        below="all",
        source=f"{PAPER}, §5",
        published=SPARSER,
        **AGAINST,
    ),
    Level(
        identifier="sparsified",
        says="training γ and β alone makes activations sparser than they were",
        quantity=Quantity(
            "the growth of the share of zeros among all ReLU outputs (after − before training)",
            lambda run: ended(run, "zeros") - ended(run, "zeros", "before"),
            show=points,
            definition=f"{AFTER.format('ends_zeros')} minus that at the end before",
        ),
        rule=Above(0.0),
        source=f"{PAPER}, §5",
        published=SPARSER,
        **BN,
    ),
    Level(
        identifier="switched-off",
        says="training γ and β alone switches about a third of the features off",
        quantity=Quantity(
            f"the share of features with |γ| < {SWITCHED_OFF:g} after training",
            switched_off,
            show=percent,
            definition=f"{AFTER.format('ends_small')}, {SMALL}",
        ),
        rule=Within(*SHARE_OFF),
        source=f"{PAPER}, abstract and §5",
        published="about a third, after 160 epochs",
        **BN
        | {
            "notes": lambda run, arms: (
                f"Before training {percent(float(switched_off(run, 'before').mean()))}"
            )
        },
    ),
)
CLAIMS = tuple(map(in_each_network, OF_A_NETWORK))
