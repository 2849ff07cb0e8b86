"""The claims on the stability of activations: Santurkar et al. 2018, Fig. 1c, 6, 8 and 9.

Stability is measured in two ways: how far a layer's distribution moves from one probe to the next,
and how far a single step moves the mean and variance of its channels. All is relative to the
layer's own deviation, since a network whose activations are small moves them little in absolute
terms. Behind BatchNorm a channel's mean and variance over its own batch are β and γ² by
construction, so that a step changes them only by its change of β and γ².
"""

import dataclasses
from typing import Any

import xarray

from bnjax.frame.results import Run
from bnjax.judge.kit import Measured, Quantity, Ratio, Within

LP_NORMS = ("l1", "l2", "linf")
MARGINAL = 2.0  # a difference of stability is marginal within this factor


def drift(run: Run, levels: str = "percentiles") -> xarray.DataArray:
    r"""How far a layer's distribution moves to the next probe, in its own deviations.

    $W_1(p, q) / \bar\sigma$ with the earth mover distance $W_1 = \int_0^1 |P^{-1} - Q^{-1}| du$
    taken as the mean distance of the percentiles 5, 10, …, 95 of the two probes, and
    $\bar\sigma$ the mean of the two deviations. The batch differs from probe to probe in every arm
    alike, so a drift holds the sampling of the batches too.

    Args:
      run: with the probe `distributions`.
      levels: `percentiles`, or `channel_percentiles` for those of one channel.

    Returns:
      `[norm, seed, probe_step, shown_layer]`; NaN at the last probe.
    """
    quantiles, deviation = run[f"distributions_{levels}"], run["distributions_deviation"]
    moved = abs(quantiles.shift(probe_step=-1) - quantiles).mean("percentile", skipna=False)
    return 2 * moved / (deviation.shift(probe_step=-1) + deviation)


def mean_change(run: Run) -> xarray.DataArray:
    """|μ'_j − μ_j| of one step, averaged over channels, in the layer's deviations."""
    return run["distributions_mean_change"] / run["distributions_deviation"]


def variance_change(run: Run) -> xarray.DataArray:
    """|σ'_j² − σ_j²| of one step, averaged over channels, over the layer's squared deviation."""
    return run["distributions_variance_change"] / run["distributions_deviation"] ** 2


DRIFT = (
    "the mean over percentiles of the distance of {} to those of the next probe, over the mean of "
    "distributions_deviation at both probes"
)
# By the word that stands in the names of claims; larger means less stable.
MEASURES = {
    "drift": Quantity(
        "the earth mover distance of the layer to the next probe",
        drift,
        definition=DRIFT.format("distributions_percentiles"),
    ),
    "unit": Quantity(
        "the earth mover distance of one channel to the next probe",
        lambda run: drift(run, "channel_percentiles"),
        definition=DRIFT.format("distributions_channel_percentiles"),
    ),
    "mean": Quantity(
        "the change of the channels' means in a step",
        mean_change,
        definition="distributions_mean_change over distributions_deviation",
    ),
    "variance": Quantity(
        "the change of the channels' variances in a step",
        variance_change,
        definition="distributions_variance_change over the square of distributions_deviation",
    ),
}
PLACE = "measure_and_layer"
OF_BATCHNORM = {"mean": "β", "variance": "γ²"}


def all_measures(run: Run) -> xarray.DataArray:
    """Drift and both changes of every layer, along one axis."""
    parts = []
    for name in ("drift", "mean", "variance"):
        values = MEASURES[name].of(run)
        places = [f"{name} in {layer}" for layer in run.values("shown_layer")]
        parts.append(values.rename(shown_layer=PLACE).assign_coords({PLACE: places}))
    return xarray.concat(parts, PLACE)


def behind_batchnorm(name: str, arms: tuple[Any, ...]) -> str:
    """Of a channel's moments, what the measure comes to behind BatchNorm."""
    said = f"Behind BatchNorm this is the change of {OF_BATCHNORM.get(name)}"
    return said if name in OF_BATCHNORM and "batch" in arms else ""


def stability(name: str, measure: Quantity) -> tuple[Ratio, Ratio]:
    """The claims on one measure: normalisers make for stability, ℓp norms for less of it."""
    common: dict[str, Any] = {
        "quantity": measure,
        "each": "shown_layer",
        "published": "curves without numbers",
        "notes": lambda run, arms: behind_batchnorm(name, arms),
    }
    more = Ratio(
        identifier=f"stable-{name}-{{norm}}",
        says=f"{{norm}} has more stable activations than no normalisation, by {measure.noun}",
        but=LP_NORMS,
        source="Ioffe & Szegedy 2015, Fig. 1b, c; Santurkar et al. 2018, Fig. 1c, 8, 9 doubts it",
        **common,
    )
    less = Ratio(
        identifier=f"fig6-{name}-{{norm}}",
        says=f"{{norm}} has less stable activations than no normalisation, by {measure.noun}",
        above="{norm}",
        below="none",
        only=LP_NORMS,
        source="Santurkar et al. 2018, §3.3 and Fig. 6",
        **common,
    )
    return more, less


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Marginal(Ratio):
    """Are all measures in all layers alike, within a factor? The sentence has only the extremes."""

    def tell(self, run: Run, arms: tuple[Any, ...], quantity: Quantity, found: Measured) -> str:
        """The lowest and highest end of all intervals."""
        ends = [end for number in found.numbers for end in self.scale.bounds(number)]
        if not ends:
            return "not measured"
        first, second = map(self.named, arms)
        return f"{first} / {second} from {min(ends):.3g} to {max(ends):.3g}, with intervals"


CLAIMS = (
    *(claim for name, measure in MEASURES.items() for claim in stability(name, measure)),
    Marginal(
        identifier="fig1c-{norm}",
        says="the difference in distributional stability that {norm} makes is marginal",
        quantity=Quantity(
            "the earth mover distance to the next probe, the change of the channels' means and "
            "that of their variances in a step",
            all_measures,
            definition="; ".join(
                str(MEASURES[name].definition) for name in ("drift", "mean", "variance")
            ),
        ),
        only=("batch",),
        each=PLACE,
        rule=Within(1 / MARGINAL, MARGINAL),
        source="Santurkar et al. 2018, §2 and Fig. 1c",
        published="'marginal', without a number",
    ),
)
