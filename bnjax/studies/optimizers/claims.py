"""What optimisers, initialisers, dropout and augmentation do, with and without BatchNorm.

These are sentences of lectures and textbooks, not of one paper, so there are no published numbers.
A network is one normaliser in one setting at one multiple of its optimiser's usual learning rate.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import xarray
from scipy.special import bdtr

from bnjax.frame.results import Run
from bnjax.judge import curves
from bnjax.judge.compare import DEAD, DIVERGED, why_not_trained
from bnjax.judge.curves import EQUAL_FIT_POINTS, percent
from bnjax.judge.kit import TRAINS, Condition, Difference, Gate, Quantity, Ratio, single
from bnjax.judge.verdict import SHARE, Decision, Number, Verdict, having, label, seeds, sentence
from bnjax.studies.optimizers import Setting, parse, usual_multiple

TEXTBOOK = "a textbook sentence; no published number"
SYMMETRIC = ("constant", "zeros")  # initialisers that make all channels of a layer equal
ALIKE = 1e-3  # of the largest weight: what rounding may add up to; a draw differs by about 1
FAILS = 0.05  # of accuracy below the base
SIGNIFICANT = 0.05  # p
NORMAL_QUANTILE = 1.959964
COPIES = {
    "flips": "an image and its mirror image",
    "translations": "an image and its four translations",
    "both": "an image, its four translations and the mirror images of all five",
}
OPTIMIZERS = {
    "sgd": "SGD",
    "momentum": "SGD, momentum 0.9",
    "nesterov": "SGD, Nesterov 0.9",
    "adagrad": "AdaGrad",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "adamw": "AdamW",
}
NETWORK_TRAINS = TRAINS._replace(
    why_not=lambda run, arm, axis, name: why_not_trained(run, arm, axis, f"the network {name}")
)
REGULARISED: Mapping[str, Callable[[Setting], str]] = {
    "dropout": lambda setting: f"with dropout {setting.dropout:g}",
    "augment": lambda setting: f"{'with' if setting.augment else 'without'} augmentation",
}


def base(run: Run) -> Setting:
    """The setting around which others are swept."""
    return parse(run.values("variant")[0])


def around(run: Run, factor: str) -> list[Setting]:
    """The base, and the settings that differ from it in one factor only."""
    own, found = base(run), map(parse, run.values("variant"))
    return [s for s in found if s == own._replace(**{factor: getattr(s, factor)})]


def usual(run: Run) -> float:
    """The multiple of the usual learning rate at which settings are compared."""
    return usual_multiple(run.values("multiple"))


def at(run: Run, setting: Setting, multiple: float | None = None) -> Run:
    """The run in one setting at one learning rate (the usual one), with its networks' options."""
    multiple = usual(run) if multiple is None else multiple
    own = run.sel(variant=setting.name, multiple=multiple)
    return Run(own.data, {**run.options, **setting.options(multiple)}, run.facts)


def renamed(run: Run, settings: dict[str, Setting]) -> Run:
    """The run in some settings, by the names that a reader has for them."""
    data = run.data.sel(variant=[setting.name for setting in settings.values()])
    return Run(data.assign_coords(variant=[*settings]), run.options, run.facts)


FINAL = f"{curves.ACCURACY.definition} (0 if a value is missing)"


def final_accuracy(run: Run) -> xarray.DataArray:
    """Test accuracy at the end of every network and seed, 0 where it diverged."""
    return curves.test_accuracy(run).fillna(0.0)


def wider_range(run: Run) -> Iterator[Verdict]:
    """Whether a normaliser trains at more of the learning rates than none, for each optimiser."""
    multiples, n = run.values("multiple"), len(run.seeds)
    if "none" not in run.norms or len(multiples) == 1:
        return
    decades = float(np.mean(np.diff(np.log10(multiples))))
    others = (norm for norm in run.norms if norm != "none")
    for norm, setting in itertools.product(others, around(run, "optimizer")):
        counts, fates, numbers = [], [], []
        for arm in ("none", norm):
            trained = [m for m in multiples if not why_not_trained(at(run, setting, m), arm)]
            shown = " ".join(f"{m:g}" for m in trained)
            counts.append(len(trained))
            numbers.append(single(f"decades {having(arm)}", decades * len(trained), n))
            fates.append(
                f"{having(arm)} {decades * len(trained):.2g} decades "
                f"(at {f'{shown} of the usual rate' if trained else 'none'})"
            )
        none, own = counts
        reason = "" if own != none else "the grid shows no difference: --multiples with more may"
        yield Verdict(
            f"range-{norm}-{setting.optimizer}",
            f"{sentence(label(norm))} widens the range of learning rates at which a network "
            f"trains ({OPTIMIZERS[setting.optimizer]})",
            TEXTBOOK,
            f"A network trains unless in some seed it {DIVERGED} or is {DEAD}; each learning "
            f"rate of the grid counts {decades:.2g} decades; supported if {label(norm)} has "
            "more than no normalisation, not supported if fewer, else inconclusive",
            f"{sentence('; '.join(fates))} ({seeds(n)})",
            "",
            "supported" if own > none else "not supported" if own < none else "inconclusive",
            reason if any(counts) else "neither trains at any of the learning rates",
            tuple(numbers),
        )


def breaking(run: Run) -> list[Setting]:
    """The settings around the base whose initialiser breaks the symmetry."""
    return [s for s in around(run, "initializer") if s.initializer not in SYMMETRIC]


def by_initializer(run: Run) -> xarray.DataArray:
    """Final test accuracies from the initialisers that break the symmetry."""
    names = [setting.name for setting in breaking(run)]
    return final_accuracy(run.sel(variant=names, multiple=usual(run)))


def why_from_none(run: Run, norm: str, *words: str) -> str:
    dead = all(why_not_trained(at(run, s), norm) for s in breaking(run))
    return f"{having(norm)} the network trains from no initialiser" if dead else ""


def ends_by_initializer(run: Run, arms: tuple[str, ...]) -> str:
    """The accuracies behind the range, mean over seeds."""
    means, names = by_initializer(run).mean("seed"), [s.initializer for s in breaking(run)]
    parts = []
    for norm in arms:
        each = zip(names, means.sel(norm=norm).values.tolist(), strict=True)
        shown = ", ".join(f"{name} {percent(mean)}" for name, mean in each)
        parts.append(f"{having(norm)} {shown}")
    return f"Test accuracies {'; '.join(parts)}"


INITIALISER = Difference(
    identifier="initialiser-{norm}",
    says="{norm} makes the result less sensitive to the initialiser",
    quantity=Quantity(
        lambda run: (
            "the range of final test accuracies over the initialisers that break the "
            f"symmetry ({usual(run):g} of the usual learning rate)"
        ),
        lambda run: by_initializer(run).reduce(np.ptp, "variant"),
        show=percent,
        definition=f"the largest minus the smallest of the variants' {FINAL}",
    ),
    when=lambda run, norm: len(breaking(run)) > 1,
    gate=Gate(
        why_from_none,
        "a network that does not train counts with the accuracy it has (0 if it diverged); "
        f"inconclusive if from each of them one of the two, in some seed, {DIVERGED} or is {DEAD}",
    ),
    notes=ends_by_initializer,
    source=TEXTBOOK,
)


def last(run: Run, name: str) -> xarray.DataArray:
    """A field of the measurement at the last probed step; NaN of a network that diverged."""
    return run[f"ending_{name}"].isel(probe_step=-1).astype(float)


def plain_accuracy(run: Run) -> xarray.DataArray:
    """Test accuracy there, of each image by itself."""
    return last(run, "accuracy").isel(averaged=0)


def both_accuracies(run: Run, arms: tuple[str, ...]) -> str:
    """The accuracies that the gap lies between, mean over seeds."""
    fits, tests = (x.mean("seed") for x in (last(run, "train_accuracy"), plain_accuracy(run)))
    shown = (
        f"{arm} {percent(float(fits.sel(variant=arm)))}, {percent(float(tests.sel(variant=arm)))}"
        for arm in arms
    )
    return f"Training and test accuracy: {'; '.join(shown)}"


def why_fits_less(run: Run, arms: tuple[str, ...]) -> str:
    """That the second setting fits the training set less, so that it has less to lose."""
    fits = last(run, "train_accuracy").mean("seed")
    first, second = (float(fits.sel(variant=arm)) for arm in arms)
    if not first - second > EQUAL_FIT_POINTS:
        return ""
    shown = f"{percent(second)} of the training images in place of {percent(first)}"
    return f"{arms[1]} it fits {shown}; a network that fits less has less to lose"


def narrower_gap(run: Run) -> Iterator[Verdict]:
    """Whether dropout or augmentation narrows the generalisation gap, for each normaliser."""
    swept = [(factor, s) for factor in REGULARISED for s in around(run, factor)[1:]]
    for factor, setting in swept:
        pair = {REGULARISED[factor](s): s for s in (base(run), setting)}
        first, second = pair
        name = f"dropout{setting.dropout}" if factor == "dropout" else "augmentation"
        claim = Difference(
            identifier=f"gap-{{norm}}-{name}",
            says=f"{second} the generalisation gap is narrower than {first} ({{norm}})",
            quantity=Quantity(
                "training minus test accuracy (last probed step, running statistics, no dropout, "
                f"{usual(run):g} of the usual learning rate)",
                lambda here: last(here, "train_accuracy") - plain_accuracy(here),
                show=percent,
                definition="ending_train_accuracy minus ending_accuracy, averaged original",
            ),
            axis="variant",
            above=first,
            below=second,
            gate=NETWORK_TRAINS,
            conditions=(
                Condition(
                    "the training accuracy (mean over seeds) falls by more than 3 points",
                    why_fits_less,
                ),
            ),
            notes=both_accuracies,
            source=TEXTBOOK,
        )
        yield from claim(renamed(run.sel(multiple=usual(run)), pair))


def steps_at_best(run: Run) -> xarray.DataArray:
    """Steps to the target at the learning rate of the grid with the fewest, `[variant, seed]`."""
    steps = curves.steps_to_target(run)
    return steps.isel(multiple=steps.mean("seed").argmin("multiple"))


def why_never(run: Run, arm: str, axis: str, name: str) -> str:
    reached = np.isfinite(steps_at_best(run).sel(variant=arm)).all()
    return "" if reached else f"{name} the target is not reached at any learning rate"


def best_multiples(run: Run, arms: tuple[str, ...]) -> str:
    """The learning rates of the grid with the fewest steps."""
    best = steps_at_best(run).sel(variant=[*arms])
    if not np.isfinite(best).all():
        return ""
    each = zip(arms, best["multiple"].values, strict=True)
    shown = ", ".join(f"{arm} at {multiple:g} of its usual rate" for arm, multiple in each)
    return f"Best learning rates: {shown}"


SOONER = Ratio(
    identifier="adam-{norm}",
    says="Adam gets to a training loss sooner than SGD, each at its best rate ({norm})",
    quantity=Quantity(
        curves.target,
        steps_at_best,
        show=curves.count,
        definition=lambda run: (
            f"{curves.target_definition(run)}, at the rate with the fewest, mean over seeds"
        ),
    ),
    axis="variant",
    above="SGD",
    below="Adam",
    arm="with {arm}",
    at=(),
    gate=Gate(why_never, "inconclusive if some seed does not get there at the best learning rate"),
    notes=best_multiples,
    source=TEXTBOOK,
)


def adam_sooner(run: Run) -> Iterator[Verdict]:
    """Whether Adam gets to a loss sooner than SGD, each at its best learning rate of the grid."""
    found = {OPTIMIZERS[s.optimizer]: s for s in around(run, "optimizer")}
    return SOONER(renamed(run, found))


def hidden(run: Run, name: str) -> xarray.DataArray:
    """A field of all kernels but the classifier's, whose channels have labels of their own."""
    kernels = [k for k in run.values("kernel") if not k.startswith("output")]
    return run[f"symmetry_{name}"].sel(kernel=kernels)


def relative_differences(run: Run) -> xarray.DataArray:
    """Largest difference of two channels over the largest weight; 0 of a kernel of zeros."""
    differences, sizes = hidden(run, "differences"), hidden(run, "sizes")
    return xarray.where(differences == 0, 0.0, differences / sizes.where(sizes != 0, 1.0))


def symmetry(run: Run) -> Iterator[Verdict]:
    """Whether a symmetric initialiser fails because channels stay alike, for each normaliser."""
    first, *others = around(run, "initializer")
    symmetric = [s for s in others if s.initializer in SYMMETRIC]
    if first.initializer in SYMMETRIC:
        return
    reference, n = first.initializer, len(run.seeds)
    for norm, setting in itertools.product(run.norms, symmetric):
        here, name = run.sel(norm=norm), setting.initializer
        own, other = at(here, setting), at(here, first)
        ends, expected = final_accuracy(own), final_accuracy(other)
        behind, stays = expected - ends, float(relative_differences(own).max())
        decision: Decision = "supported"
        reason = why_not_trained(other, norm, name=f"{label(norm)} from {reference}")
        if reason:
            decision = "inconclusive"
        elif not (behind > FAILS).all():
            decision, reason = "not supported", f"it does not end {100 * FAILS:g} points lower"
        elif stays > ALIKE:
            decision, reason = "inconclusive", "it ends lower, but its channels do not stay alike"
        rates = curves.test_accuracy(here.sel(variant=setting.name)).mean("seed", skipna=False)
        shown = (f"at {float(rate['multiple']):g} {percent(float(rate))}" for rate in rates)
        yield Verdict(
            f"symmetry-{norm}-{name}",
            f"From the initialiser {name} the network fails, because the channels of each hidden "
            f"layer stay alike ({label(norm)})",
            "a textbook sentence (Goodfellow et al. 2016, §8.4); no published number",
            f"Supported if each seed ends more than {100 * FAILS:g} points of test accuracy below "
            f"the same from {reference}, and no two channels of a hidden layer ever differ by more "
            f"than {ALIKE:g} of its largest weight; not supported if it does not end so far below; "
            f"else inconclusive; at {usual(run):g} of the usual learning rate; inconclusive if in "
            f"some seed the one from {reference} {DIVERGED} or is {DEAD}; accuracy is {FINAL}; the "
            "difference is symmetry_differences over symmetry_sizes of all kernels but output, "
            "0 where both are",
            f"The largest relative difference of two channels is {stays:.2g}"
            f"{', so they are equal bit for bit' * (stays == 0)}; the test accuracy is "
            f"{percent(float(ends.mean()))}, from {reference} {percent(float(expected.mean()))}; "
            f"by learning rate {', '.join(shown)}; {left_to_it(own)} ({seeds(n)})",
            "",
            decision,
            reason,
            (
                single("relative difference of two channels, largest", stays, n, ALIKE),
                SHARE.average(f"test accuracy below {reference}", behind.values.tolist(), FAILS),
            ),
        )


def left_to_it(run: Run) -> str:
    """What gradient and variance hidden layers are left with."""
    text = f"largest gradient norm of a hidden kernel {hidden(run, 'gradient_norms').max():.3g}"
    variances = hidden(run, "variances")
    if np.isfinite(variances).any():
        text += f"; smallest of the layers' largest variances {float(variances.min()):.3g}"
    return text


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p value of as many or more one-sided changes under equal odds.

    Example:
      >>> round(mcnemar(8, 1), 4)
      0.0391
    """
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def paired(gained: np.ndarray, lost: np.ndarray, images: float) -> tuple[Number, float]:
    """The paired difference of accuracies of the same images, and the p value of McNemar's test.

    One seed: Wald's 95 % interval of a paired difference of shares over the test images. Several
    seeds share their images, so the interval is that over seeds, and p is NaN.

    Args:
      gained: images that only the average gets right, `[seeds]`.
      lost: images that only the plain prediction gets right, `[seeds]`.
      images: in the test set.
    """
    found = SHARE.average("accuracy gained", ((gained - lost) / images).tolist(), 0.0)
    if found.n > 1:
        return found, np.nan
    up, down = float(gained[0]), float(lost[0])
    half = NORMAL_QUANTILE * (up + down - (up - down) ** 2 / images) ** 0.5 / images
    interval = found._replace(low=found.estimate - half, high=found.estimate + half)
    return interval, np.nan if np.isnan(up + down) else mcnemar(int(up), int(down))


def gained_by_copies(run: Run, kind: str) -> tuple[Number, float]:
    """What averaging over a kind of copies gains in one network."""
    gained, lost = (last(run, name).sel(averaged=kind).values for name in ("gained", "lost"))
    return paired(gained, lost, float(last(run, "images")[0]))


def averaging(run: Run) -> Iterator[Verdict]:
    """Whether averaging over copies of a test image raises the accuracy of each network."""
    for norm, setting, kind in itertools.product(run.norms, around(run, "augment"), COPIES):
        own, trained = at(run, setting).sel(norm=norm), REGULARISED["augment"](setting)
        found, p = gained_by_copies(own, kind)
        centre, low, high = (100 * value for value in found[1:4])
        plain = float(plain_accuracy(own).mean(skipna=False))
        over = f"over images, p = {p:.2g}; one seed" if found.n == 1 else f"over {seeds(found.n)}"
        # One seed: the exact test decides, the interval shows the size.
        clear = p < SIGNIFICANT if found.n == 1 else not found.low <= 0 <= found.high
        decision: Decision = "supported" if centre > 0 else "not supported"
        reason = why_not_trained(own, norm) or "the difference may be chance" * (not clear)
        yield Verdict(
            f"copies-{norm}-{kind}-{trained.replace(' ', '-')}",
            f"Averaging predictions over {COPIES[kind]} raises the test accuracy of a network "
            f"trained {trained} ({label(norm)})",
            "Krizhevsky et al. 2012, §4.1 (ten patches an image); no published number here",
            "Same network, same test images; one seed: supported or not by the sign, if the exact "
            f"McNemar test has p < {SIGNIFICANT}; several seeds: if the 95 % t interval over them "
            "leaves 0; else inconclusive; at the last probe ending_gained minus ending_lost images "
            f"of ending_images; inconclusive if in some seed the network {DIVERGED} or is {DEAD}",
            f"Averaging changes the test accuracy from {percent(plain)} by {centre:.2f} points "
            f"[{low:.2f}, {high:.2f}] ({over})",
            "",
            "inconclusive" if reason else decision,
            reason,
            (found,),
        )


CLAIMS = (wider_range, INITIALISER, symmetry, narrower_gap, averaging, adam_sooner)
