"""Each verdict of a run once more, from its arrays and the text of its rules alone.

    python tests/recomputed.py runs/landscape/0123456789ab ...

Nothing here comes from bnjax: `results.nc` is opened by xarray, what counts as trained, paired,
above or near is written from the words that stand with each verdict in `summary.json`. A study's
function tells all identifiers of a run with their verdicts and numbers, so a claim that is missing
or added is seen, too.
"""

import ast
import itertools
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray

S, N, U = "supported", "not supported", "inconclusive"
# Two-sided 95 % points of Student's t for 1, 2, 3, … degrees of freedom.
STUDENT = (
    *(12.706204736432095, 4.302652729749464, 3.182446305283709, 2.776445105198054),
    *(2.570581835636314, 2.446911851144970, 2.364624251592785, 2.306004135204166),
)
LP = ("l1", "l2", "linf")
OVER_THE_BATCH = {"batch", "noisy_batch", "unitize", *LP}
Array = xarray.DataArray


class Number(NamedTuple):
    estimate: float
    low: float = math.nan
    high: float = math.nan
    n: int = 1  # seeds


class Result(NamedTuple):
    verdict: str
    numbers: list[Number]

    def unless(self, barred: Any) -> "Result":
        return self._replace(verdict=U) if barred else self


class Run(NamedTuple):
    data: xarray.Dataset
    options: dict[str, Any]
    facts: dict[str, Any]

    def __getitem__(self, name: str) -> Array:
        return self.data[name].astype(float)

    def at(self, **where: Any) -> "Run":
        """The run at values of the axes that training has; an option of the same name follows."""
        own = {axis: value for axis, value in where.items() if axis in self["train_loss"].dims}
        options = {name: value for name, value in own.items() if name in self.options}
        return self._replace(data=self.data.sel(own, drop=True), options=self.options | options)

    def axis(self, name: str) -> list[Any]:
        return self.data[name].values.tolist() if name in self.data.coords else []

    @property
    def steps(self) -> int:
        return self.data.sizes["step"]


def open_run(folder: Path) -> Run:
    with xarray.open_dataset(folder / "results.nc", engine="scipy") as opened:
        data = opened.load()
    return Run(data, json.loads(data.attrs["options"]), json.loads(data.attrs["facts"]))


# --- Numbers over seeds, and on which side of a limit they lie -----------------------------------


class Kind(NamedTuple):
    least: float  # the effect that counts: a factor, or a difference
    factor: bool = False


RATIO, POINTS = Kind(1.1, factor=True), Kind(0.02)


def single(value: Any, run: Run) -> Number:
    return Number(float(value), n=len(run.axis("seed")))


def over_seeds(values: Iterable[float], kind: Kind) -> Number:
    """Mean (of ratios geometric) and 95 % t interval."""
    own = np.array([*values], float)
    own = np.log(own) if kind.factor else own
    n, centre, half = len(own), own.mean(), math.nan
    if n > 1:
        half = STUDENT[n - 2] * math.sqrt(((own - centre) ** 2).sum() / (n - 1) / n)
    ends = np.array([centre, centre - half, centre + half])
    estimate, low, high = np.exp(ends) if kind.factor else ends
    return Number(float(estimate), float(low), float(high), n)


def either_way(estimate: float, kind: Kind) -> tuple[float, float]:
    if kind.factor:
        return estimate / kind.least, estimate * kind.least
    return estimate - kind.least, estimate + kind.least


def interval(number: Number, kind: Kind) -> tuple[float, float]:
    """That of several seeds; of one the least effect either way."""
    return (number.low, number.high) if number.n > 1 else either_way(number.estimate, kind)


def side(number: Number, limit: float, kind: Kind) -> int:
    """1 above the limit, −1 below, 0 not for sure: by the interval and by the least effect."""
    ends = interval(number, kind), either_way(number.estimate, kind)
    return all(low > limit for low, _ in ends) - all(high < limit for _, high in ends)


Rule = Callable[[list[Number], Kind], str]


def above(limit: float) -> Rule:
    def decide(numbers: list[Number], kind: Kind) -> str:
        sides = {side(number, limit, kind) for number in numbers}
        return {(1,): S, (-1,): N}.get(tuple(sides), U)

    return decide


def not_below_one(numbers: list[Number], kind: Kind) -> str:
    if all(interval(number, kind)[0] >= 1 / 1.1 for number in numbers):
        return S
    return N if all(side(number, 1.0, kind) < 0 for number in numbers) else U


def within(lowest: float, highest: float) -> Rule:
    def decide(numbers: list[Number], kind: Kind) -> str:
        ends = [interval(number, kind) for number in numbers]
        if all(lowest < low and high < highest for low, high in ends):
            return S
        return N if any(low > highest or high < lowest for low, high in ends) else U

    return decide


# --- Did it train, and which steps are compared --------------------------------------------------


def last(values: Array, axis: str, part: int) -> Array:
    """The last quarter (4) or tenth (10) of an axis, rounded down, at least one."""
    return values.isel({axis: slice(-max(1, values.sizes[axis] // part), None)})


def finite(run: Run, **arm: Any) -> bool:
    return not (run.at(**arm)["train_finite"] == 0).any()


def trains(run: Run, **arm: Any) -> bool:
    """No seed diverged, and each one's median loss over its last tenth is below 0.9 of chance."""
    ends = last(run.at(**arm)["train_loss"], "step", 10).median("step", skipna=False)
    return finite(run, **arm) and bool((ends < 0.9 * run.facts["chance_loss"]).all())


def equal_step(left: np.ndarray, right: np.ndarray, chance: float) -> list[tuple[int, int]]:
    limit = 0.9 * chance
    return [(i, i) for i in range(len(left)) if left[i] < limit and right[i] < limit]


def equal_loss(left: np.ndarray, right: np.ndarray, chance: float) -> list[tuple[int, int]]:
    """Pairs of steps that are each other's nearest by the ratio of losses, then by step."""
    first, second = (
        [i for i, x in enumerate(own) if 0 < x < 0.9 * chance] for own in (left, right)
    )
    if not first or not second:
        return []

    def far(i: int, j: int) -> tuple[float, int]:
        return round(abs(math.log(left[i] / right[j])), 9), abs(i - j)

    found = []
    for i in first:
        j = min(second, key=lambda j, i=i: far(i, j))
        back = min(first, key=lambda k, j=j: far(k, j))
        if back == i and far(i, j)[0] <= math.log(1.25):
            found.append((i, j))
    return found


def same_step(left: np.ndarray, right: np.ndarray, chance: float) -> list[tuple[int, int]]:
    return [(i, i) for i in range(len(left))]


def minibatch_loss(run: Run) -> Array:
    """`train_loss` at the probed steps."""
    return run["train_loss"].isel(step=run.axis("probe_step")).rename(step="probe_step")


def ratio_of_seed(left: Array, right: Array, losses: list[Array], pairs: Any, chance: float) -> Any:
    """The median ratio over pairs and further axes, by logarithm; None of fewer than three."""
    found = pairs(*(own.values for own in losses), chance)
    left, right = (own.transpose("probe_step", ...).values for own in (left, right))
    first, second = (
        np.array([own[i] for i in rows]).ravel()
        for own, rows in ((left, [i for i, _ in found]), (right, [j for _, j in found]))
    )
    kept = (first > 0) & (second > 0)
    if min(len(found), kept.sum()) < (1 if pairs is same_step else 3):
        return None
    return math.exp(np.median(np.log(first[kept] / second[kept])))


def ratios(
    run: Run,
    values: Array,
    arms: tuple[Any, Any],
    axis: str = "norm",
    at: tuple[Any, ...] = (equal_step, equal_loss),
    losses: Array | None = None,
    each: str = "",
) -> tuple[list[Number], bool]:
    """A number for each place and pairing that has enough pairs in every seed; whether all have."""
    losses = minibatch_loss(run) if losses is None else losses
    numbers, whole = [], True
    for place, pairs in itertools.product(values[each].values if each else [None], at):
        here, found = values.sel({each: place}) if each else values, []
        for seed in run.axis("seed"):
            own, loss = here.sel(seed=seed), losses.sel(seed=seed)
            both = [loss.sel({axis: arm}) if axis in loss.dims else loss for arm in arms]
            left, right = (own.sel({axis: arm}) for arm in arms)
            found.append(ratio_of_seed(left, right, both, pairs, run.facts["chance_loss"]))
        if None in found:
            whole = False
        else:
            numbers.append(over_seeds(found, RATIO))
    return numbers, whole


def paired(
    run: Run,
    values: Array,
    arms: tuple[Any, Any],
    rule: Rule | None = None,
    shows: tuple[Array, ...] = (),
    axis: str = "norm",
    **how: Any,
) -> Result:
    """A ratio of two arms that train, at pairs of steps; `shows` is told and decides nothing."""
    numbers, whole = ratios(run, values, arms, axis, **how)
    decision = (rule or above(1.0))(numbers, RATIO) if whole else U
    for shown in shows:
        numbers += ratios(run, shown, arms, axis, **how)[0]
    return Result(decision, numbers).unless(not all(trains(run, **{axis: arm}) for arm in arms))


def ends(
    run: Run,
    values: Array,
    arms: tuple[Any, Any],
    rule: Rule,
    kind: Kind,
    axis: str = "norm",
    gate: Callable[..., bool] = trains,
) -> Result:
    """A ratio or difference of two arms of one value a run.

    An infinite one was not reached: it counts as the run's steps and decides one way only.
    """
    left, right = (values.sel({axis: arm}).values.copy() for arm in arms)
    bounds = np.isinf(left).any(), np.isinf(right).any()
    for own in (left, right):
        own[np.isinf(own)] = run.steps
    if all(bounds) or np.isnan([left, right]).any() or (kind.factor and min(*left, *right) <= 0):
        return Result(U, [])
    numbers = [over_seeds(left / right if kind.factor else left - right, kind)]
    decision = rule(numbers, kind)
    barred = (bounds[0] and decision == N) or (bounds[1] and decision == S)
    alive = all(gate(run, **{axis: arm}) for arm in arms)
    return Result(decision, numbers).unless(barred or not alive)


def level(values: Array, rule: Rule, kind: Kind, alive: bool) -> Result:
    """One value a run of one arm."""
    if not np.isfinite(values).all():
        return Result(U, [])
    numbers = [over_seeds(values.values, kind)]
    return Result(rule(numbers, kind), numbers).unless(not alive)


def at_most(values: Array, limit: float, run: Run) -> Result:
    if values.isnull().all():
        return Result(U, [])
    largest = values.max()
    return Result(S if largest <= limit else N, [single(largest, run)])


def near(values: Array, target: float, tolerance: float, run: Run, alive: bool) -> Result:
    """Median over seeds, at every probe of the last quarter."""
    late = last(values, "probe_step", 4).median("seed", skipna=False)
    if not np.isfinite(late).all():
        return Result(U, [])
    numbers = [single(late.min(), run), single(late.max(), run)]
    holds = bool((abs(late - target) < tolerance).all())
    return Result(S if holds and alive else U, numbers)


def share(values: Array, at_least: float, alive: bool) -> Result:
    """The share of measured values, one for each seed that measured any."""
    found = [float(own.mean()) for own in values if own.notnull().any()]
    if not found:
        return Result(U, [])
    held = {one >= at_least for one in found}
    decision = U if len(held) > 1 else S if True in held else N
    return Result(decision, [over_seeds(found, POINTS)]).unless(not alive)


# --- Training curves -----------------------------------------------------------------------------


def running_median(values: Array, window: int) -> Array:
    """Over the last `window` values along `step`, fewer at the start, without NaN."""
    own = values.transpose(..., "step").values
    found = np.full(own.shape, np.nan)
    for place in np.ndindex(own.shape):
        if not np.isnan(own[place]):
            row = own[place[:-1]][max(0, place[-1] + 1 - window) : place[-1] + 1]
            found[place] = np.nanmedian(row)
    return values.transpose(..., "step").copy(data=found)


def first(flags: Array) -> Array:
    """How many steps it takes until a flag is set, that step included; infinite if never."""
    flags = flags.transpose(..., "step")
    found = [
        [*np.flatnonzero(row), math.inf][0] + 1 for row in flags.values.reshape(-1, len(flags.step))
    ]
    return flags.isel(step=0, drop=True).copy(data=np.reshape(found, flags.shape[:-1]))


def steps_to_target(run: Run) -> Array:
    goal, window = run.options["target_loss"], run.options["window"]
    if goal is None:
        curve = running_median(run["train_accuracy"], window)
        return first(curve >= run.options["target_accuracy"])
    return first(running_median(run["train_loss"], window) <= goal)


def evaluated(run: Run, name: str, axis: str) -> Array:
    """Median of the evaluations in the last tenth of the steps, at least of the last one."""
    late = [i for i, step in enumerate(run.axis(axis)) if step >= 0.9 * run.steps]
    return run[name].isel({axis: late or [-1]}).median(axis, skipna=False)


def accuracy(run: Run) -> Array:
    return evaluated(run, "test_accuracy", "test_step")


def end_loss(run: Run) -> Array:
    return last(run["train_loss"], "step", 10).median("step", skipna=False)


def rates(run: Run) -> Iterator[tuple[str, Run]]:
    """Each learning rate of a run with an axis of them, and how identifiers end."""
    if "lr" not in run.data.dims:
        yield "", run
    for lr in run.axis("lr") if "lr" in run.data.dims else ():
        yield f"-lr{lr:g}", run.at(lr=lr)


def others(run: Run, *apart: str) -> list[str]:
    """The normalisers that are compared with none."""
    return [n for n in run.axis("norm") if n not in ("none", *apart)] if has(run, "none") else []


def has(run: Run, *norms: str) -> bool:
    return {*norms} <= {*run.axis("norm")}


# --- The studies ---------------------------------------------------------------------------------

Found = Iterator[tuple[str, Result]]


def along(run: Run, name: str) -> Array:
    return run[f"line_{name}"].sel(direction="gradient")


def landscape_quantities(run: Run) -> dict[str, Array]:
    highest = {"fig4b": "gradient_distances", "fig4c": "smoothness"}
    losses = along(run, "losses")
    width = losses.max("step_size", skipna=False) - losses.min("step_size", skipna=False)
    return {"fig4a": width} | {
        figure: along(run, name).max("step_size", skipna=False) for figure, name in highest.items()
    }


def landscape(run: Run) -> Found:
    for figure, values in landscape_quantities(run).items():
        for norm in others(run):
            yield f"{figure}-{norm}", paired(run, values, ("none", norm))
    for norm in run.axis("norm"):
        yield f"edge-{norm}", edge_or_saturation(run.at(norm=norm))


def edge_or_saturation(run: Run) -> Result:
    sizes = run["line_step_sizes"].sel(direction="gradient")
    sizes = sizes.max([axis for axis in sizes.dims if axis != "step_size"]).values
    nearest = int(np.nanargmin(abs(np.log(sizes / run.options["lr"]))))

    def late(name: str) -> Array:
        return last(along(run, name).isel(step_size=nearest), "probe_step", 4)

    norm = last(along(run, "gradient_norm"), "probe_step", 4)
    turn, left = (
        float((late(name) / norm).median()) for name in ("gradient_distances", "gradient_norms")
    )
    cosine = float(late("cosines").median())
    decision = U
    if abs(turn - 2) < 0.25 and cosine < -0.75:
        decision = S
    elif abs(turn - 1) < 0.25 and left < 0.25:
        decision = N
    numbers = [single(x, run) for x in (turn, cosine, left)]
    return Result(decision, numbers).unless(not trains(run) or run.options["optimizer"] != "sgd")


def shift(run: Run) -> Found:
    for rate, here in rates(run):
        values = here["shift_relative_distances"].isel(layer=slice(1, None))
        for norm in others(run):
            yield f"fig3-{norm}{rate}", paired(here, values, (norm, "none"), not_below_one)


def spectrum(run: Run) -> Found:
    largest, loss = run["spectrum_largest"], run["spectrum_loss"]
    isolation = largest.isel(rank=0) / largest.isel(rank=-1)
    nodes, weights = run["spectrum_nodes"].fillna(0), run["spectrum_weights"]
    mean = (weights * nodes).sum("node", skipna=False)
    variance = (weights * (nodes - mean) ** 2).sum("node", skipna=False)
    spread = largest.isel(rank=0) / variance.mean("vector", skipna=False) ** 0.5
    share = run["spectrum_gradient_fraction"].isel(rank=-1, statistics=0)
    own = {"losses": loss.isel(statistics=0)}
    for norm in others(run):
        arms = ("none", norm)
        shows = (spread.isel(statistics=0),)
        yield (
            f"outliers-{norm}",
            paired(run, isolation.isel(statistics=0), arms, shows=shows, **own),
        )
        below = own["losses"].sel(norm=norm) < 0.9 * run.facts["chance_loss"]
        left = share.sel(norm=norm).where(below).median("probe_step").median(skipna=False)
        found = paired(run, share, arms, **own)
        yield f"gradient-{norm}", found.unless(found.verdict == S and not left < 0.5)
    for norm in run.axis("norm"):
        here, values = run.at(norm=norm), largest.sel(norm=norm)
        ends = (values.isel(statistics=place, drop=True) for place in (0, -1))
        differ = not np.array_equal(*(one.values for one in ends), equal_nan=True)
        for kind in ("running", "frozen", "recalibrated") if differ else ():
            if {kind, "batch"} <= {*run.axis("statistics")}:
                how = {"at": (equal_step,), "axis": "statistics", "shows": (values.isel(rank=0),)}
                how["losses"] = loss.sel(norm=norm, statistics="batch")
                own_isolation = isolation.sel(norm=norm)
                yield f"return-{norm}-{kind}", paired(here, own_isolation, (kind, "batch"), **how)
        edge = values.isel(rank=0, statistics=0) * run.options["lr"] / 2
        alive = trains(here) and run.options["optimizer"] == "sgd"
        yield f"edge-{norm}", near(edge, 1.0, 0.25, run, alive)


def theory(run: Run) -> Found:
    if has(run, "batch"):
        yield from theorems(run.at(norm="batch"))
    if not has(run, "none", "batch"):
        return
    terms = {"lipschitz": ("theory_gradient_squared", 1), "curvature": ("theory_curvature", 2)}
    for name, (field, power) in terms.items():
        for layer in run.axis("probed_layer"):
            term, own = (run[name].sel(probed_layer=layer) for name in (field, "theory_variance"))
            losses, term = run["theory_loss"].sel(probed_layer=layer), term.where(term > 0)
            shows = (term * own**power,)
            arms = ("none", "batch")
            yield f"{name}-{layer}", paired(run, term, arms, shows=shows, losses=losses)


def theorems(run: Run) -> Found:
    limit, epsilon = 1e-10 if run.options["float64"] else 1e-3, run.options["epsilon"]
    fields = ("lipschitz_residual", "channel_curvature_residual", "channel_worst_residual")
    for number, field in zip(("4.1", "4.2", "4.4"), fields, strict=True):
        values = run[f"theory_{field}"]
        found = at_most(abs(values), limit, run)
        gone = (values.isnull() & measured(values)).any()
        yield f"theorem-{number}", found.unless(gone or (found.verdict == N and epsilon > 0))
    quadratic, alignment = (run[f"theory_channel_{x}"] for x in ("quadratic", "alignment"))
    convex = (quadratic >= 0).where(measured(quadratic)).astype(float)
    aligned = (alignment > 0).where(measured(alignment)).astype(float)
    shares = {"printed-4.1": run["theory_printed_share"], "convex": convex}
    shares |= {"aligned": run["theory_aligned_share"], "assumptions": convex * aligned}
    for name, values in shares.items():
        yield name, share(values.transpose("seed", ...), 0.95, trains(run))


def measured(values: Array) -> Array:
    """Probed steps of which there is any value."""
    return values.notnull().any(
        [axis for axis in values.dims if axis not in ("seed", "probe_step")]
    )


def gradient_magnitudes(run: Run) -> Found:
    mean = run["magnitudes_mean"]
    for norm in run.axis("norm"):
        here, own = run.at(norm=norm), mean.sel(norm=norm)
        known = {kind for kind in run.axis("kind") if np.isfinite(own.sel(kind=kind)).any()}
        for kind in {"scale", "shift"} & known:
            how = {"axis": "kind", "at": (same_step,)}
            yield f"{kind}-{norm}", paired(here, own, (kind, "kernel"), **how)
        if {"cancelled_bias", "shift"} <= known:
            relative = own.sel(kind="cancelled_bias") / own.sel(kind="shift")
            yield f"cancelled-{norm}", at_most(relative, 1e-3, run)
    if has(run, "none", "batch"):
        yield "kernel-batch", paired(run, mean.sel(kind="kernel"), ("none", "batch"))


def stabilities(run: Run) -> dict[str, Array]:
    """Measures in units of a layer's deviation, `[norm, seed, probe_step, shown_layer]`."""
    deviation = run["distributions_deviation"]
    between = (deviation + deviation.shift(probe_step=-1)) / 2

    def moved(levels: str) -> Array:
        here = run[f"distributions_{levels}"]
        apart = abs(here.shift(probe_step=-1) - here)
        return apart.mean("percentile", skipna=False) / between

    return {
        "drift": moved("percentiles"),
        "unit": moved("channel_percentiles"),
        "mean": run["distributions_mean_change"] / deviation,
        "variance": run["distributions_variance_change"] / deviation**2,
    }


def distributions(run: Run) -> Found:
    found = stabilities(run)
    for name, values in found.items():
        for norm in others(run):
            stable, arms = ("fig6", (norm, "none")) if norm in LP else ("stable", ("none", norm))
            yield f"{stable}-{name}-{norm}", paired(run, values, arms, each="shown_layer")
    if has(run, "none", "batch"):
        together = xarray.concat(
            [
                found[name].sel(shown_layer=layer, drop=True)
                for name in ("drift", "mean", "variance")
                for layer in run.axis("shown_layer")
            ],
            "place",
        ).assign_coords(place=range(3 * run.data.sizes["shown_layer"]))
        rule = within(1 / 2, 2.0)
        yield "fig1c-batch", paired(run, together, ("none", "batch"), rule, each="place")


def noisy_batchnorm(run: Run) -> Found:
    chance, how = run.facts["chance_loss"], {"each": "shown_layer"}
    for name in ("unit", "mean", "variance") if has(run, "noisy_batch", "none") else ():
        arms = ("noisy_batch", "none")
        yield f"fig2-{name}", paired(run, stabilities(run)[name], arms, **how)
    accuracies = last(run["train_accuracy"], "step", 10).mean("step", skipna=False)
    window = min(run.steps, max(5, run.steps // 50))
    losses = running_median(run["train_loss"], window)
    time = first((losses < 0.5 * chance) & (losses["step"] >= window - 1))
    for other in ("batch", "none") if has(run, "noisy_batch") else ():
        if has(run, other):
            if other == "batch":
                arms = ("noisy_batch", "batch")
                yield "fig2-accuracy", ends(run, accuracies, arms, above(-0.02), Kind(0.01))
            rule = above(1 / 1.5 if other == "batch" else 1.0)
            never = np.isinf(time.sel(norm="noisy_batch")).any()
            found = ends(run, time, (other, "noisy_batch"), rule, RATIO)
            yield f"fig2-time-{other}", found.unless(never)
    if has(run, "none", "noise"):
        found = Result(N if trains(run, norm="noise") else S, [])
        yield "fig2-noise", found.unless(not trains(run, norm="none"))


def earth_mover(run: Run) -> Found:
    def field(name: str) -> Array:
        return run[f"earth_mover_{name}"]

    shifts = {
        "layer": field("scaled") / field("deviation"),
        "layer-absolute": field("scaled"),
        "unit": field("channel") / field("channel_deviation"),
    }
    moments = {name: field(f"{name}_change") for name in ("skewness", "kurtosis")}
    for name, values in (shifts | moments).items():
        for norm in others(run, "unitize"):
            if name in shifts or norm == "batch":
                found = paired(run, values, (norm, "none"), not_below_one)
                yield f"same-{name}-{norm}", found
    rival = "batch" if has(run, "batch") else "none"
    for name, values in shifts.items() if has(run, rival, "unitize") else ():
        yield f"less-{name}-unitize", paired(run, values, (rival, "unitize"))
    if has(run, "none", "batch"):
        yield "dimension-batch", slope(run, shifts["layer"])
    if has(run, "batch"):
        yield "bound-batch", bound(run.at(norm="batch"))


def slope(run: Run, values: Array) -> Result:
    """Of the logarithm of the ratio batch / none against log D, by least squares."""
    sizes = run["earth_mover_dimension"].sel(norm="batch").isel(seed=0, probe_step=0).values
    found, losses = [], minibatch_loss(run)
    for seed in run.axis("seed"):
        own = [losses.sel(seed=seed, norm=arm).values for arm in ("batch", "none")]
        rows = [i for i, _ in equal_step(*own, run.facts["chance_loss"])]
        here = (
            values.sel(seed=seed)
            .transpose("norm", "probe_step", "shown_layer")
            .isel(probe_step=rows)
        )
        medians = (here.sel(norm="batch") / here.sel(norm="none")).median(
            "probe_step", skipna=False
        )
        found.append(medians.values)
    usable = np.isfinite(found).all() and (np.array(found) > 0).all()
    if len({*sizes}) == 1 or not usable:
        return Result(U, [])
    x = np.log(sizes) - np.log(sizes).mean()
    numbers = [over_seeds([(x @ np.log(own)) / (x @ x) for own in found], Kind(0.1))]
    alive = all(trains(run, norm=arm) for arm in ("batch", "none"))
    return Result(above(0.0)(numbers, Kind(0.1)), numbers).unless(not alive)


def bound(run: Run) -> Result:
    """Bound over distance, median over probes: far above it in every layer?"""
    distances = run["earth_mover_exact"]
    if not np.isfinite(distances).all():
        return Result(U, [])
    medians = (run["earth_mover_norm_bound"] / distances).median("probe_step", skipna=False)
    numbers = [
        over_seeds(medians.sel(shown_layer=x).values, RATIO) for x in run.axis("shown_layer")
    ]
    decision = U
    if any(side(number, 2.0, RATIO) < 0 for number in numbers):
        decision = N
    elif all(side(number, 10.0, RATIO) > 0 for number in numbers):
        decision = S
    return Result(decision, numbers).unless(not trains(run))


def sigmoid_mnist(run: Run) -> Found:
    steps = run["test_step"].where(run["test_accuracy"] >= run.options["target_accuracy"])
    reached = np.maximum(steps.min("test_step").fillna(np.inf), 1)
    percentiles = run["inputs_percentiles"]
    known = np.isfinite(percentiles).all(["channel", "percentile"])

    def width(values: Array) -> Array:
        found = values.isel(percentile=-1) - values.isel(percentile=0)
        return found.where(found > 0)

    kept = percentiles.where(known)
    travelled = (kept.max("probe_step") - kept.min("probe_step")).mean("percentile")
    whole_way = (travelled / width(kept).mean("probe_step")).median("channel")
    moved = abs(percentiles.shift(probe_step=-1) - percentiles).mean("percentile", skipna=False)
    next_probe = (moved / width(percentiles)).median("channel")
    for norm in others(run):
        arms = ("none", norm)
        yield f"faster-{norm}-none", ends(run, reached, arms, above(1.0), RATIO)
        yield f"accuracy-{norm}-none", ends(run, accuracy(run), arms[::-1], above(0.0), POINTS)
        yield f"fig1bc-run-{norm}", ends(run, whole_way, arms, above(1.0), RATIO)
        yield f"fig1bc-probe-{norm}", paired(run, next_probe, arms)
    for norm in run.axis("norm"):
        yield from images_alone(run.at(norm=norm), norm)


def images_alone(run: Run, norm: str) -> Found:
    def at_the_end(name: str, statistics: str) -> Array:
        return run[f"single_{name}"].isel(probe_step=-1).sel(statistics=statistics)

    names = ("difference", "largest", "agreement")
    difference, largest, agreement = (at_the_end(name, "running") for name in names)
    relative, same = (difference / largest).max(), agreement.min()
    numbers = [single(relative, run), single(same, run)]
    held = same == 1 and relative <= 1e-4
    yield f"single-{norm}", Result(S if held else N, numbers).unless(not trains(run))
    if norm in OVER_THE_BATCH:
        own, together = (at_the_end(name, "batch") for name in ("accuracy", "accuracy_together"))
        numbers = [single(own.max(), run), single(together.min(), run)]
        found = Result(S if (own < 0.5 * together).all() else N, numbers)
        yield f"single-own-{norm}", found.unless(not trains(run))


def surface(run: Run) -> Found:
    if "lines_losses" in run.data:
        for norm in others(run):
            found = ends(run, nearby_rise(run), ("none", norm), above(1.0), RATIO)
            yield f"flatter-{norm}", found
    if "plane_losses" in run.data:
        for norm in others(run):
            found = ends(run, not_convex(run), ("none", norm), above(0.0), Kind(0.05))
            yield f"convex-{norm}", found
    tested = run["test_accuracy"].isel(test_step=-1)
    several = len(run.axis("norm")) > 1
    if "lines_losses" in run.data and several and run["test_accuracy"].notnull().any():
        yield "sharpness-error", sharper_is_worse(run, tested)
    if "principal_shares" in run.data:
        shares = run["principal_shares"].sel(path="principal").isel(component=slice(2))
        for norm in run.axis("norm"):
            own = shares.sel(norm=norm).sum("component", skipna=False)
            yield f"path-{norm}", level(own, above(0.4), RATIO, trains(run, norm=norm))


def nearby_rise(run: Run) -> Array:
    """Mean rise within half a filter's norm, or at the innermost points; median over lines."""
    losses, places = run["lines_losses"], abs(run["lines_columns"])
    rises = losses - losses.isel(column=losses.sizes["column"] // 2)
    innermost = places.where(places > 0).min("column")
    near = (places > 0) & (places <= np.fmax(innermost, 0.5) * 1.000001)
    values = xarray.where(near, rises, 0).sum("column", skipna=False) / near.sum("column")
    return values.median("line", skipna=False).where(lambda found: np.isfinite(found))


def not_convex(run: Run) -> Array:
    """Share of the inner points of the plane whose lower curvature is clearly negative."""
    losses = run["plane_losses"].transpose(..., "row", "column")

    def at(row: int, column: int) -> np.ndarray:
        size = [losses.sizes[axis] for axis in ("row", "column")]
        return losses.values[..., 1 + row : size[0] - 1 + row, 1 + column : size[1] - 1 + column]

    with np.errstate(all="ignore"):
        a = at(1, 0) + at(-1, 0) - 2 * at(0, 0)
        c = at(0, 1) + at(0, -1) - 2 * at(0, 0)
        b = (at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) / 4
        root = np.sqrt((a - c) ** 2 / 4 + b**2)
        low, high = (a + c) / 2 - root, (a + c) / 2 + root
        size = np.maximum(abs(low), abs(high))
        found = (low < -0.1 * size).mean((-2, -1))
    whole = np.isfinite(size).all((-2, -1))
    return losses.isel(row=0, column=0).copy(data=np.where(whole, found, np.nan))


def sharper_is_worse(run: Run, tested: Array) -> Result:
    """Of each two trained networks that differ in both, by medians over seeds."""
    sharp, error = (
        nearby_rise(run).median("seed", skipna=False),
        1 - tested.median("seed", skipna=False),
    )
    agree = []
    for pair in itertools.combinations([n for n in run.axis("norm") if trains(run, norm=n)], 2):
        (first, second), (worse, better) = (
            [float(x.sel(norm=n)) for n in pair] for x in (sharp, error)
        )
        if first > 0 and second > 0 and abs(worse - better) > 0.005:
            way = side(Number(first / second), 1.0, RATIO)
            agree += [(way > 0) == (worse > better)] if way else []
    return Result(U if len({*agree}) != 1 else S if agree[0] else N, [])


def batchnorm_only(run: Run) -> Found:
    factors = ("depth", "norm_every", "scale_init")
    for values in itertools.product(*map(run.axis, factors)):
        where = dict(zip(factors, values, strict=True))
        several = [name for name in factors if len(run.axis(name)) > 1]
        suffix = "".join(f"-{name.replace('_', '-')}-{where[name]}" for name in several)
        own = run._replace(data=run.data.sel(where, drop=True))
        for identifier, result in one_network(own):
            yield identifier + suffix, result


def one_network(run: Run) -> Found:
    def after(name: str, end: str = "after", **where: Any) -> Array:
        return run[f"ends_{name}"].sel(end=end, **where)

    tested, zeros, before = after("test_accuracy"), after("zeros"), after("zeros", "before")
    rivals = {"output-only": "output", "random": "random", "random-anywhere": "random_anywhere"}
    how = {"axis": "trained", "gate": finite}
    trained = run.axis("trained")
    if "bn" not in trained:
        return
    for name, arm in rivals.items():
        if arm in trained:
            found = ends(run, tested, ("bn", arm), above(0.0), POINTS, **how)
            yield f"above-{name}", found
    if "all" in trained:
        yield "sparser", ends(run, zeros, ("bn", "all"), above(0.0), POINTS, **how)
    chance, alive = 0.01 if run.options["dataset"] == "cifar100" else 0.1, finite(run, trained="bn")

    def of_bn(values: Array, rule: Rule) -> Result:
        return level(values.sel(trained="bn"), rule, POINTS, alive)

    yield "far-above-chance", of_bn(tested - 2 * chance, above(0.0))
    off = after("small", threshold=0.01)
    clamped, plain = (after("clamped_accuracy", threshold=x) for x in (0.01, 0.0))
    few = off.sel(trained="bn").mean() < 0.1
    yield "clamping", of_bn(clamped - plain, above(-0.03)).unless(few)
    yield "sparsified", of_bn(zeros - before, above(0.0))
    yield "switched-off", of_bn(off, within(0.25, 0.5))


def batch_size(run: Run) -> Found:
    sizes = run.axis("batch_size")
    small, large = sizes[0], sizes[-1]
    for norm in run.axis("norm") if large > small else ():
        here, values = run.at(norm=norm), accuracy(run).sel(norm=norm)
        rule = above(0.0) if norm in OVER_THE_BATCH else within(-0.03, 0.03)
        yield f"sizes-{norm}", ends(here, values, (large, small), rule, POINTS, "batch_size")
    here = run.at(batch_size=small)
    for norm in run.axis("norm") if has(run, "batch") else ():
        if norm != "batch":
            found = ends(here, accuracy(here), (norm, "batch"), above(0.0), POINTS)
            yield f"ahead-{norm}-{small}", found
    for figure in (
        ("fig4a", "fig4b", "fig4c") if has(run, "none", "batch") and large > small else ()
    ):
        yield f"shrinks-{figure}", gain_shrinks(run, figure, small, large)


def gain_shrinks(run: Run, figure: str, small: int, large: int) -> Result:
    """The ratio none / batch at equal step, at the largest size over that at the smallest."""
    gains, alive = [], True
    for size in (large, small):
        here = run.at(batch_size=size)
        values, losses, own = landscape_quantities(here)[figure], minibatch_loss(here), []
        for seed in run.axis("seed"):
            pair = [values.sel(seed=seed, norm=arm) for arm in ("none", "batch")]
            loss = [losses.sel(seed=seed, norm=arm) for arm in ("none", "batch")]
            chance = run.facts["chance_loss"]
            own.append(ratio_of_seed(*pair, loss, equal_step, chance) or math.nan)
        gains.append(own)
        alive &= all(trains(here, norm=arm) for arm in ("none", "batch"))
    found = np.divide(*gains)
    if not np.isfinite(found).all():
        return Result(U, [])
    numbers = [over_seeds(found, RATIO)]
    return Result(above(1.0)(numbers, RATIO), numbers).unless(not alive)


def lp_norms(run: Run) -> Found:
    for rate, here in rates(run):
        for identifier, result in training_curves(here):
            yield identifier + rate, result
    for _, here in rates(run):
        if not any(trains(here, norm=norm) for norm in run.axis("norm")):
            yield f"lr{here.options['lr']:g}", Result(N, [])


def training_curves(run: Run) -> Found:
    classifies, steps, losses = run.options["model"] != "dln", steps_to_target(run), end_loss(run)
    for norm in others(run):
        arms = ("none", norm)
        yield f"faster-{norm}-none", ends(run, steps, arms, above(1.0), RATIO)
        if classifies:
            found = ends(run, accuracy(run), arms[::-1], above(0.0), POINTS)
            yield f"accuracy-{norm}-none", found
        else:
            yield f"lower-loss-{norm}-none", ends(run, losses, arms, above(1.0), RATIO)
        if "fit_accuracy" in run.data:
            fitted = evaluated(run, "fit_accuracy", "probe_step")
            found = ends(run, fitted - accuracy(run), arms, above(0.0), POINTS)
            apart = abs(fitted.sel(norm="none") - fitted.sel(norm=norm))
            yield f"gap-{norm}-none", found.unless((apart > 0.03).any())
    for norm in [n for n in run.axis("norm") if n in LP] if has(run, "batch") else ():
        arms = ("batch", norm)
        yield f"as-fast-{norm}-batch", ends(run, steps, arms, above(0.8), RATIO)
        if classifies:
            found = ends(run, accuracy(run), arms[::-1], above(-0.03), POINTS)
            yield f"as-accurate-{norm}-batch", found
        else:
            yield f"as-low-{norm}-batch", ends(run, losses, arms, above(0.8), RATIO)
            if norm == "l1":
                yield f"lower-loss-{norm}-batch", ends(run, losses, arms, above(1.0), RATIO)


def vgg_training(run: Run) -> Found:
    yield from lp_norms(run)
    for norm in others(run):
        fates = [[trains(here, norm=arm) for arm in (norm, "none")] for _, here in rates(run)]
        ahead, behind = ([True, False] in fates), ([False, True] in fates)
        yield f"learning-rates-{norm}", Result(U if ahead == behind else S if ahead else N, [])


class Setting(NamedTuple):
    optimizer: str
    initializer: str
    dropout: str
    augment: str

    @property
    def name(self) -> str:
        return "+".join(self)


def optimizers(run: Run) -> Found:
    every = [Setting(*name.split("+")) for name in run.axis("variant")]
    base, multiples = every[0], run.axis("multiple")
    usual = min(multiples, key=lambda multiple: abs(math.log(multiple)))

    def around(factor: str) -> list[Setting]:
        return [s for s in every if s._replace(**{factor: getattr(base, factor)}) == base]

    if has(run, "none") and len(multiples) > 1:
        for norm, setting in itertools.product(others(run), around("optimizer")):
            found = range_of_rates(run.at(variant=setting.name), norm, multiples)
            yield f"range-{norm}-{setting.optimizer}", found
    here = run.at(multiple=usual)
    from_inits = around("initializer")
    breaking = [s.name for s in from_inits if s.initializer not in ("constant", "zeros")]
    if len(breaking) > 1:
        values = accuracy(here).fillna(0).sel(variant=breaking)
        values = values.max("variant") - values.min("variant")

        def from_any(own: Run, norm: str) -> bool:
            return any(trains(own, norm=norm, variant=name) for name in breaking)

        for norm in others(run):
            found = ends(here, values, ("none", norm), above(0.0), POINTS, gate=from_any)
            yield f"initialiser-{norm}", found
    for norm in run.axis("norm"):
        own = here.at(norm=norm)
        for setting in from_inits[1:] if base.name in breaking else ():
            if setting.name not in breaking:
                found = stays_alike(own, base.name, setting.name)
                yield f"symmetry-{norm}-{setting.initializer}", found
        for factor in ("dropout", "augment"):
            for setting in around(factor)[1:]:
                name = f"dropout{float(setting.dropout)}" if factor == "dropout" else "augmentation"
                yield f"gap-{norm}-{name}", narrower(own, base.name, setting.name)
        for setting, kind in itertools.product(
            around("augment"), ("flips", "translations", "both")
        ):
            word = "with" if setting.augment == "augmented" else "without"
            found = averaged(own.at(variant=setting.name), kind)
            yield f"copies-{norm}-{kind}-{word}-augmentation", found
        by_name = {s.optimizer: s.name for s in around("optimizer")}
        if {"sgd", "adam"} <= {*by_name}:
            found = sooner(run.at(norm=norm), by_name["sgd"], by_name["adam"])
            yield f"adam-{norm}", found


def range_of_rates(run: Run, norm: str, multiples: list[float]) -> Result:
    decades = (math.log10(multiples[-1]) - math.log10(multiples[0])) / (len(multiples) - 1)
    none, own = (
        sum(trains(run, norm=arm, multiple=m) for m in multiples) for arm in ("none", norm)
    )
    numbers = [single(decades * count, run) for count in (none, own)]
    return Result(S if own > none else N if own < none else U, numbers)


def stays_alike(run: Run, reference: str, variant: str) -> Result:
    behind = accuracy(run).fillna(0).sel(variant=reference) - accuracy(run).fillna(0).sel(
        variant=variant
    )
    own, hidden = (
        run.at(variant=variant),
        [k for k in run.axis("kernel") if not k.startswith("output")],
    )
    apart, sizes = (own[f"symmetry_{x}"].sel(kernel=hidden) for x in ("differences", "sizes"))
    stays = xarray.where(apart == 0, 0.0, apart / sizes.where(sizes != 0, 1.0)).max()
    decision = N if not (behind > 0.05).all() else U if stays > 1e-3 else S
    found = Result(decision, [single(stays, run), over_seeds(behind.values, POINTS)])
    return found.unless(not trains(run, variant=reference))


def narrower(run: Run, plain: str, changed: str) -> Result:
    fits = run["ending_train_accuracy"].isel(probe_step=-1)
    tests = run["ending_accuracy"].isel(probe_step=-1, averaged=0)
    lost = fits.sel(variant=plain).mean() - fits.sel(variant=changed).mean()
    found = ends(run, fits - tests, (plain, changed), above(0.0), POINTS, "variant")
    return found.unless(lost > 0.03)


def averaged(run: Run, kind: str) -> Result:
    up, down, images = (
        run[f"ending_{name}"].isel(probe_step=-1) for name in ("gained", "lost", "images")
    )
    up, down, count = up.sel(averaged=kind).values, down.sel(averaged=kind).values, float(images[0])
    centre, low, high, n = over_seeds((up - down) / count, POINTS)
    clear = not low <= 0 <= high
    if n == 1:
        changed = float(up[0] + down[0])
        half = 1.959964 * math.sqrt(changed - (up[0] - down[0]) ** 2 / count) / count
        low, high, clear = centre - half, centre + half, not math.isnan(changed)
        if clear:
            fewer = range(int(min(up[0], down[0])) + 1)
            tail = sum(math.comb(int(changed), k) for k in fewer) / 2**changed
            clear = min(1.0, 2 * tail) < 0.05
    found = Result(S if centre > 0 else N, [Number(centre, low, high, n)])
    return found.unless(not clear or not trains(run))


def sooner(run: Run, sgd: str, adam: str) -> Result:
    steps = steps_to_target(run).transpose("variant", "multiple", "seed")
    best = [min(steps.sel(variant=name).values, key=lambda own: own.mean()) for name in (sgd, adam)]
    values = xarray.DataArray(best, dims=("variant", "seed"), coords={"variant": [sgd, adam]})
    gate = lambda own, variant: bool(np.isfinite(values.sel(variant=variant)).all())  # noqa: E731
    return ends(run, values, (sgd, adam), above(1.0), RATIO, "variant", gate)


# --- forensics -----------------------------------------------------------------------------------


def published_numbers() -> dict[str, tuple[float, ...]]:
    """Six for each normaliser, as the study's own table has them; data, read without importing."""
    place = Path(__file__).parents[1] / "bnjax" / "studies" / "forensics" / "published.py"
    for node in ast.parse(place.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "NUMBERS":
            assert node.value is not None
            return dict(ast.literal_eval(node.value))
    raise AssertionError(f"{place} has no NUMBERS")


def forensics(run: Run) -> Found:
    known = published_numbers()
    norms = [norm for norm in run.axis("norm") if norm in known]
    logarithms = {
        norm: np.array(
            [
                [start_of(run, candidate, norm, seed, known[norm]) for seed in run.axis("seed")]
                for candidate in run.axis("candidate")
            ]
        )  # [candidate, seed, number]
        for norm in norms
    }
    for norm in norms:
        yield f"nearest-{norm}", nearest_of(logarithms[norm])
    if len(norms) > 1:
        yield "nearest-all", nearest_of(np.concatenate([*logarithms.values()], axis=2))


def start_of(
    run: Run, candidate: str, norm: str, seed: int, known: tuple[float, ...]
) -> np.ndarray:
    """ln (measured/published) of the six numbers; infinite of one that is no positive number."""
    where = {"candidate": candidate, "norm": norm, "seed": seed, "direction": "gradient"}
    names = ("line_losses", "line_gradient_distances", "line_smoothness")
    loss, change, beta = (run[name].sel(where).isel(probe_step=0).values for name in names)
    low, high = np.min(loss), np.max(loss)
    found = np.array([low, high, high - low, np.min(change), np.max(change), np.max(beta)])
    legal = np.isfinite(found) & (found > 0)
    return np.where(legal, np.log(np.where(legal, found, 1.0) / known), np.inf)


def nearest_of(logarithms: np.ndarray) -> Result:
    factors = np.exp(np.sqrt((logarithms**2).mean(2)))
    usable = [over_seeds(own, RATIO) for own in factors if np.isfinite(own).all()]
    usable.sort(key=lambda number: number.estimate)
    if not usable:
        return Result(U, [])
    return Result({1: N, -1: S, 0: U}[side(usable[0], 1.25, RATIO)], usable[:3])


# --- sharpness -----------------------------------------------------------------------------------


def sharpness(run: Run) -> Found:
    rate, loss = run["update_learning_rate"], run["statistics_losses"]
    batch = run["sharpness_mean"] * rate / 2
    late = {
        "edge": batch,
        "critical": run["update_critical_sharpness"] / run["update_edge"],
        "spherical": run["spherical_product"] / 2,
        "rotation": run["update_rotation_ratios"].median("hidden_layer", skipna=False),
    }
    for norm in run.axis("norm"):
        here = run.at(norm=norm)
        plain = run.options["optimizer"] == "sgd"
        invariant = run["spherical_invariance"].sel(norm=norm).median() < 0.01
        made = {"spherical": invariant, "rotation": invariant and run.options["weight_decay"] > 0}
        for name, values in late.items():
            if made.get(name, True):
                own = last(values.sel(norm=norm), "probe_step", 4)
                own = own.median("probe_step", skipna=False)
                found = level(own, within(0.75, 1.25), Kind(0.1), trains(here))
                yield f"{name}-{norm}", found.unless(name != "rotation" and not plain)
        if np.isfinite(loss.sel(norm=norm)).any():
            apart = abs(loss - loss.sel(statistics="batch")).sel(norm=norm)
            how = {"axis": "statistics", "at": (equal_step,)}
            losses = minibatch_loss(run).sel(norm=norm)
            found = paired(here, apart, ("running", "recalibrated"), losses=losses, **how)
            yield f"gap-{norm}", found
    smoothed = running_median(batch.rename(probe_step="step"), 5).rename(step="probe_step")
    steps = run["probe_step"].where(smoothed >= 0.75).min("probe_step") + 1
    at_rate = abs(run["step_size"] - run.options["lr"]).argmin("step_size")
    change = along(run, "gradient_distances").isel(step_size=int(at_rate))
    shows = (
        change / along(run, "gradient_norm"),
        along(run, "smoothness").max("step_size", skipna=False),
    )
    for norm in others(run):
        found = ends(run, steps.fillna(np.inf), (norm, "none"), above(1.0), RATIO)
        yield f"later-{norm}", found.unless(run.options["optimizer"] != "sgd")
        yield f"lower-{norm}", paired(run, run["sharpness_mean"], ("none", norm), shows=shows)


STUDIES: dict[str, Callable[[Run], Found]] = {
    function.__name__: function
    for function in (
        *(batch_size, batchnorm_only, distributions, earth_mover, forensics, gradient_magnitudes),
        *(
            landscape,
            lp_norms,
            noisy_batchnorm,
            optimizers,
            sharpness,
            shift,
            sigmoid_mnist,
            spectrum,
            surface,
            theory,
        ),
        vgg_training,
    )
}


def recompute(study: str, run: Run) -> dict[str, Result]:
    """All verdicts of a run, by identifier."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of NaN where an arm had ended
        return dict(STUDIES[study](run))


def differences(own: dict[str, Result], verdicts: Iterable[dict[str, Any]]) -> list[str]:
    """What others say of a run otherwise, a line each: identifiers, verdicts, numbers."""
    said = {one["identifier"]: one for one in verdicts}
    found = [
        f"{name}: only {'here' if name in own else 'there'}" for name in own.keys() ^ said.keys()
    ]
    for name in own.keys() & said.keys():
        decided, (verdict, numbers) = said[name]["verdict"], own[name]
        theirs = [[float(one[key]) for key in Number._fields] for one in said[name]["numbers"]]
        if decided != verdict:
            found.append(f"{name}: {decided}, here {verdict}")
        shape = (-1, len(Number._fields))
        both = (np.reshape(np.array(own, float), shape) for own in (theirs, numbers))
        if len(theirs) != len(numbers) or not np.allclose(*both, 1e-6, 1e-9, equal_nan=True):
            found.append(f"{name}: {theirs}, here {numbers}")
    return found


def main(folders: list[str]) -> int:
    wrong = 0
    for folder in map(Path, folders):
        summary = json.loads((folder / "summary.json").read_text())
        study = folder.absolute().parent.name
        found = differences(recompute(study, open_run(folder)), summary["verdicts"])
        print(
            f"{folder}: {len(summary['verdicts'])} verdicts, {len(found)} differences",
            *found,
            sep="\n  ",
        )
        wrong += len(found)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
