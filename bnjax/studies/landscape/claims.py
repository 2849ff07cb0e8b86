"""The claims of Santurkar et al. 2018, Fig. 4, at equal step and at equal loss.

Steps are paired by the bare training loss, which has no penalty: a probed loss that contains the
L2 term never falls below chance.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import xarray

from bnjax.frame.results import Run, late
from bnjax.judge.kit import PLAIN_SGD, Decided, OneArm, Quantity, Ratio, single
from bnjax.judge.verdict import Decision, label, seeds
from bnjax.studies.landscape.published import NUMBERS

EARLY = 1500  # steps, where the paper's networks have not yet fitted their training set
EDGE_TOLERANCE = 0.25  # how near to 2 (edge) or to 1 (saturation) ‖g(lr) − g‖ / ‖g‖ must be
VANISHED = 0.25  # ‖g(lr)‖ / ‖g‖ below which a step has used the gradient up
PAPER = "Santurkar et al. 2018, Fig. 4"


def along(run: Run, name: str) -> xarray.DataArray:
    """A field of the line along the gradient."""
    return run[f"line_{name}"].sel(direction="gradient")


def band_width(run: Run) -> xarray.DataArray:
    """Largest minus smallest loss over the step sizes."""
    losses = along(run, "losses")
    return losses.max("step_size", skipna=False) - losses.min("step_size", skipna=False)


def largest_distance(run: Run) -> xarray.DataArray:
    """Largest ‖g(η) − g‖ over the step sizes."""
    return along(run, "gradient_distances").max("step_size", skipna=False)


def largest_smoothness(run: Run) -> xarray.DataArray:
    """Largest β(η) over the step sizes."""
    return along(run, "smoothness").max("step_size", skipna=False)


OVER = "over the step sizes, direction gradient"
LOSS_BAND = Quantity(
    "the loss band",
    band_width,
    "narrower",
    "wider",
    definition=f"the largest minus the smallest of line_losses {OVER}",
)
PREDICTIVENESS = Quantity(
    "the largest change of the gradient ‖g(η) − g‖",
    largest_distance,
    definition=f"the largest of line_gradient_distances {OVER}",
)
SMOOTHNESS = Quantity(
    "the largest β(η)",
    largest_smoothness,
    definition=f"the largest of line_smoothness {OVER}",
)

# A curve in a few numbers, of a run and of a publication alike: `[probe_step]`.
SUMMARIES: dict[str, Callable[[xarray.DataArray], xarray.DataArray]] = {
    "first": lambda curve: curve[0],
    f"median to step {EARLY}": lambda curve: curve[curve.probe_step <= EARLY].median(),
    "largest": lambda curve: curve.max(),
    "median of the last quarter": lambda curve: curve[
        curve.probe_step >= 0.75 * curve.probe_step[-1]
    ].median(),
}
FIRST, TO_EARLY, LARGEST, LATE = SUMMARIES
SUMMED_UP = {
    ("vgg", "fig4a"): (LARGEST, LATE),
    ("vgg", "fig4b"): (FIRST, LARGEST, LATE),
    ("vgg", "fig4c"): (FIRST, TO_EARLY, LARGEST, LATE),
    **{("dln", f"fig4{panel}"): (LARGEST, LATE) for panel in "abc"},
}
EDGES = {
    "dln": "late β 2.2e6 without normalisation, 2.02e6 with BatchNorm (‖g(lr) − g‖/‖g‖ 1.99: edge)",
    "vgg": "saturation, β = 1/η_min = 19.96 to 19.98 for all five networks",
}


def family(run: Run) -> str:
    """The published network that a run may be compared with: `vgg`, `dln`, or one of no such."""
    return str(run.options["model"])[:3]


def in_words(names: tuple[str, ...], rows: Mapping[str, tuple[float, ...]]) -> str:
    """Numbers of some arms in one line."""
    parts = [f"{label(norm)} {' / '.join(f'{x:.3g}' for x in row)}" for norm, row in rows.items()]
    return f"{' / '.join(names)}: {', '.join(parts)}" if parts else ""


def rough(figure: str, says: str, quantity: Quantity) -> Ratio:
    """The claim that a quantity is larger without normalisation."""

    def measured(run: Run, arms: tuple[str, ...]) -> str:
        names = SUMMED_UP.get((family(run), figure), ())
        short = run["probe_step"].max() <= EARLY
        titles = tuple(
            "median over the run" if short and name == TO_EARLY else name for name in names
        )
        rows: dict[str, tuple[float, ...]] = {}
        for norm in arms:
            curves = [c for c in quantity.of(run).sel(norm=norm) if np.isfinite(c).any()]
            numbers = [[float(SUMMARIES[name](curve)) for name in names] for curve in curves]
            rows |= {norm: tuple(np.median(numbers, axis=0))} if numbers and names else {}
        return in_words(titles, rows)

    def published(run: Run, norm: str) -> str:
        names, rows = (
            SUMMED_UP.get((family(run), figure), ()),
            NUMBERS.get((family(run), figure), {}),
        )
        found = in_words(names, {arm: rows[arm] for arm in ("none", norm) if arm in rows})
        return found or ("curves without numbers" if family(run) in ("vgg", "dln") else "")

    return Ratio(
        identifier=figure + "-{norm}",
        says=says,
        quantity=quantity,
        source=f"{PAPER}{figure[-1]}",
        published=published,
        notes=measured,
    )


def at_learning_rate(run: Run, name: str) -> xarray.DataArray:
    """A field of the line at η = lr, over the last quarter of probes."""
    sizes = run["line_step_sizes"].sel(direction="gradient")
    sizes = sizes.max([axis for axis in sizes.dims if axis != "step_size"])
    nearest = int(np.abs(np.log(sizes / run.options["lr"])).fillna(np.inf).argmin("step_size"))
    return late(along(run, name).isel(step_size=nearest), "probe_step")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Edge(OneArm):
    """Which reference line a late plateau of β is: 2/lr (edge of stability) or 1/η_min."""

    def decide(self, run: Run, noun: str, values: xarray.DataArray) -> Decided:
        """Late medians over seeds and probes at η = lr."""
        before = late(along(run, "gradient_norm"), "probe_step")
        turn = float((values / before).median())
        left = float((at_learning_rate(run, "gradient_norms") / before).median())
        cosine = float(at_learning_rate(run, "cosines").median())
        rule = (
            f"{noun} at η = lr (the step size whose ratio to it is nearest to 1), median over the "
            "last quarter of the probes (rounded down) and all seeds: edge (supported) if "
            f"within {EDGE_TOLERANCE} of 2 and the cosine of the two gradients below "
            f"{-1 + EDGE_TOLERANCE}; saturation (not supported) if within {EDGE_TOLERANCE} of 1 "
            f"and ‖g(lr)‖/‖g‖ below {VANISHED}; else inconclusive; cosine and ‖g(lr)‖/‖g‖ are "
            "medians too"
        )
        decision: tuple[Decision, str] = "inconclusive", "late β is neither edge nor saturation"
        if abs(turn - 2) < EDGE_TOLERANCE and cosine < -1 + EDGE_TOLERANCE:
            decision = "supported", "the gradient turns round in one step (edge of stability)"
        elif abs(turn - 1) < EDGE_TOLERANCE and left < VANISHED:
            decision = "not supported", "the gradient vanishes in one step (saturation)"
        count = len(run.seeds)
        named = {noun: (turn, 2.0), "cosine": (cosine, -1.0), "‖g(lr)‖/‖g‖": (left, VANISHED)}
        numbers = [single(name, value, count, limit) for name, (value, limit) in named.items()]
        measured = (
            f"{noun} is {turn:.3g} at η = lr, with cosine {cosine:.3g} and ‖g(lr)‖/‖g‖ {left:.3g} "
            f"({seeds(count)})"
        )
        return Decided(rule, numbers, measured, *decision)


CLAIMS = (
    rough("fig4a", "{norm} makes the loss vary less along the gradient", LOSS_BAND),
    rough("fig4b", "{norm} makes the gradient more predictive", PREDICTIVENESS),
    rough("fig4c", "{norm} makes the loss smoother", SMOOTHNESS),
    Edge(
        identifier="edge-{norm}",
        says="the late smoothness of {norm} is that of the edge of stability, 2/lr",
        quantity=Quantity(
            "‖g(η) − g‖/‖g‖",
            lambda run: at_learning_rate(run, "gradient_distances"),
            definition="line_gradient_distances over line_gradient_norm, direction gradient; the "
            "cosine is line_cosines, ‖g(lr)‖ is line_gradient_norms",
        ),
        source="Cohen et al. 2021 (2103.00065); the plateau of Santurkar et al. 2018, Fig. 4c",
        published=lambda run, norm: EDGES.get(family(run), ""),
        conditions=(PLAIN_SGD,),
    ),
)
