"""Runs of every study whose arrays are drawn by chance, so that each rule meets all its verdicts.

Each run has its own sizes of effects and of noise, some near the limits of the rules; a few arms
die, begin to train late, or diverge halfway, after which their values are NaN.
"""

from collections.abc import Callable

import numpy as np
import synthetic
from synthetic import CHANCE, PROBES, STEPS

from bnjax.frame.results import Run
from bnjax.studies.forensics.published import NUMBERS

MULTIPLES = (0.1, 1.0, 10.0)
LAYERS = ("conv1", "conv2")
SPIKES = [(row, column) for row in (2, 5, 8) for column in (2, 5, 8)]


class Draw:
    """Variables of one run. Arms lie along all leading axes but the seed, the last of them."""

    def __init__(self, seed: int, lead: dict[str, list], seeds: int, **axes) -> None:
        self.rng = np.random.default_rng(seed)
        self.lead, self.seeds = lead, seeds
        self.axes = {**lead, "seed": [*range(seeds)], "step": [*range(STEPS)], **axes}
        self.axes |= {"probe_step": [*range(0, STEPS, STEPS // PROBES)]}
        self.size = self.pick(0.05, 0.1, 0.3, 0.7, 1.5)  # of the differences of arms, in logarithms
        self.apart = self.pick(0.005, 0.05)  # of seeds
        self.noise = self.pick(0.02, 0.02, 0.3)  # of steps

    def pick(self, *values):
        return values[self.rng.integers(len(values))]

    def shape(self, *names: str) -> list[int]:
        return [len(self.axes[name]) for name in names]

    def arms(self, *inner: str, draw: Callable, seeds: bool = False) -> np.ndarray:
        """One number for each arm (and seed), ready to be broadcast to inner axes."""
        shape = [*self.shape(*self.lead), self.seeds if seeds else 1]
        return draw(size=shape).reshape(*shape, *[1] * len(inner))

    def levels(self, *inner: str, values, noise: float = 0.0) -> tuple:
        """Each arm has one of some values, its seeds and places a little more or less."""
        own = self.arms(*inner, draw=lambda size: self.rng.choice(values, size))
        apart = 1 + 0.2 * self.apart * self.arms(*inner, draw=self.rng.normal, seeds=True)
        found = own * apart
        full = [*self.shape(*self.lead, "seed", *inner)]
        return (*self.lead, "seed", *inner), found * (1 + noise * self.rng.normal(size=full))

    def positive(self, *inner: str, size: float | None = None) -> tuple:
        """Arms differ by about e^size, seeds by `apart`, steps and all else by `noise`."""
        own = (self.size if size is None else size) * self.arms(*inner, draw=self.rng.normal)
        own = own + self.apart * self.arms(*inner, draw=self.rng.normal, seeds=True)
        noise = self.noise * self.rng.normal(size=self.shape(*self.lead, "seed", *inner))
        return (*self.lead, "seed", *inner), np.exp(own + noise)

    def chances(self, *inner: str, levels) -> tuple:
        """Shares or accuracies near a level of each arm."""
        dims, values = self.levels(*inner, values=levels, noise=0.01)
        return dims, np.clip(values, 0, 1)

    def losses(self, dead: float = 0.06) -> tuple:
        """Most arms fall from 2.4 to about 0.1, some late, some to about 0.9 of chance."""
        slope = np.exp(0.3 * self.arms("step", draw=self.rng.normal))
        course = 2.4 * np.exp(-3 * slope * np.linspace(0, 1, STEPS))
        begin = self.arms("step", draw=lambda size: self.rng.choice([*[0] * 9, 10, 35, 37], size))
        course = np.where(np.arange(STEPS) < begin, 2.4, course)
        gone = self.arms("step", draw=self.rng.uniform) < dead
        ends = CHANCE * self.arms("step", draw=lambda size: self.rng.uniform(0.85, 0.95, size))
        course = np.where(gone, ends, course)
        noise = self.pick(0.02, 0.1) * self.rng.normal(size=self.shape(*self.lead, "seed", "step"))
        course = course * np.exp(noise)
        if self.pick(True, False, False):  # some losses are equal
            course = np.round(course - 0.03, 1) + 0.03
        return (*self.lead, "seed", "step"), course

    def run(
        self, variables: dict[str, tuple], options: dict | None = None, diverges: float = 0.15
    ) -> Run:
        given = {"train_loss": self.losses(), "train_finite": ((*self.lead, "seed", "step"), 1.0)}
        (arms, values), *_ = self.lead.items()
        axes = {k: v for k, v in self.axes.items() if k not in (arms, "seed", "step", "probe_step")}
        made = synthetic.run(
            given | variables, norms=values, seeds=self.seeds, arms=arms, options=options, **axes
        )
        data = made.data
        if self.rng.uniform() < diverges:
            self.diverge(data)
        return Run(data, made.options, made.facts)

    def diverge(self, data) -> None:
        """One seed of one arm ends at a step: nothing is measured after it."""
        place = {axis: self.rng.integers(len(self.axes[axis])) for axis in (*self.lead, "seed")}
        step = int(self.rng.integers(STEPS))
        for values in data.data_vars.values():
            for axis in {"step", "probe_step", "test_step"} & {*values.dims}:
                own = {key: place[key] for key in place if key in values.dims}
                after = {axis: np.asarray(data[axis]) > step}
                values[{**own, **after}] = np.nan
        data["train_finite"][{**place, "step": step}] = 0


def landscape(seed: int, seeds: int) -> Run:
    line = ("probe_step", "direction", "step_size")
    sizes = [0.05, 0.1, 0.2, 0.4]
    draw = Draw(seed, {"norm": ["none", "batch", "l2"]}, seeds,
                direction=["gradient", "random"], step_size=sizes)  # fmt: skip
    dims, norm = draw.positive(*line[:-1])
    turn = draw.levels(*line, values=[0.7, 0.95, 1.2, 1.3, 1.8, 2.0, 2.2, 2.3], noise=0.02)[1]
    left = draw.levels(*line, values=[0.05, 0.22, 0.3, 1.0], noise=0.02)[1]
    return draw.run(
        {
            **{f"line_{name}": draw.positive(*line) for name in ("losses", "smoothness")},
            "line_gradient_norm": (dims, norm),
            "line_gradient_distances": ((*dims, "step_size"), norm[..., None] * turn),
            "line_gradient_norms": ((*dims, "step_size"), norm[..., None] * left),
            "line_cosines": draw.levels(*line, values=[-0.95, -0.8, -0.7, 0.1], noise=0.02),
            "line_step_sizes": ((*dims, "step_size"), np.array(sizes)),
        },
        {"optimizer": draw.pick("sgd", "sgd", "sgd", "adam")},
    )


def shift(seed: int, seeds: int) -> Run:
    lead = {"norm": ["none", "batch", "layer"], "lr": [0.1, 0.5]}
    draw = Draw(seed, lead, seeds, layer=["conv1", "conv2", "output"])
    distances, cosines = (draw.positive("probe_step", "layer") for _ in range(2))
    distances[1][..., 0] = draw.pick(0.0, 7.0)
    return draw.run({"shift_relative_distances": distances, "shift_cosines": cosines})


def spectrum(seed: int, seeds: int) -> Run:
    draw = Draw(seed, {"norm": ["none", "batch"]}, seeds,
                statistics=["batch", "running", "frozen"], rank=[1, 2, 3], vector=[0, 1],
                node=range(4))  # fmt: skip
    probe = ("probe_step", "statistics")
    top = draw.levels(*probe, "rank", values=[10, 15.5, 20, 24, 25.5], noise=0.03)[1]
    course = np.exp(draw.pick(0.0, 0.2) * np.linspace(-1, 1, PROBES)).reshape(-1, 1, 1)
    dims, spread = draw.positive(*probe, "rank")
    largest = top[..., :1] * course * np.exp(np.array([0, -0.3, -0.7]) * spread)
    largest[:, :, :, 1:, -1:] *= draw.pick(1.0, 0.7, 1.5)
    largest[..., -1:] *= draw.pick(1, 1, 1, -1)
    shares = draw.chances(*probe, "rank", levels=[0.1, 0.45, 0.5, 0.53, 0.9])[1]
    shares[..., :3, :, :] = np.maximum(shares[..., :3, :, :], draw.pick(0.0, 0.6))
    loss = draw.losses()
    probed = loss[1][..., :: STEPS // PROBES, None] * np.exp(
        0.05 * draw.rng.normal(size=(PROBES, 3))
    )
    for values in (largest, shares, probed):
        values[0, :, :, 1:] = values[0, :, :, :1]  # without normalisation there are no statistics
    weights = draw.positive(*probe, "vector", "node")[1]
    nodes = largest[..., :1, None] * draw.rng.uniform(size=weights.shape)
    nodes[..., -1] = np.nan
    weights[..., -1] = 0
    return draw.run(
        {
            "train_loss": loss,
            "spectrum_loss": (dims[:-1], probed),
            "spectrum_largest": (dims, largest),
            "spectrum_gradient_fraction": (dims, shares),
            "spectrum_nodes": ((*dims[:-1], "vector", "node"), nodes),
            "spectrum_weights": (
                (*dims[:-1], "vector", "node"), weights / weights.sum(-1, keepdims=True)
            ),
        },
        {"optimizer": draw.pick("sgd", "sgd", "sgd", "adam")},
    )  # fmt: skip


def theory(seed: int, seeds: int) -> Run:
    draw = Draw(seed, {"norm": ["none", "batch"]}, seeds, probed_layer=LAYERS, channel=range(3))
    layer = ("probe_step", "probed_layer")
    channel = (*layer, "channel")
    high = draw.pick(-14.0, -10.1, -9.5, -4.0, -3.1, -2.5)

    def residual(*axes):
        sign, shape = draw.pick(-1, 1), draw.shape(*draw.lead, "seed", *axes)
        found = sign * 10.0 ** (high - 2 * draw.rng.uniform(size=shape))
        found[draw.rng.uniform(size=shape) < draw.pick(0, 0, 0.01)] = np.nan
        return (*draw.lead, "seed", *axes), found

    def flags(*axes):
        """Numbers that are positive in about nineteen of twenty cases, or more, or fewer."""
        positive = draw.pick(0.8, 0.94, 0.97, 1.0)
        values = draw.rng.uniform(size=draw.shape(*draw.lead, "seed", *axes))
        return (*draw.lead, "seed", *axes), positive - values

    loss = draw.losses()
    probed = loss[1][..., :: STEPS // PROBES, None] * draw.positive(*layer, size=0.0)[1]
    curvature = draw.positive(*layer)
    curvature[1][draw.rng.uniform(size=curvature[1].shape) < draw.pick(0.0, 0.1, 0.5)] *= -1
    fields = {
        "gradient_squared": draw.positive(*layer),
        "curvature": curvature,
        "variance": draw.positive(*layer),
        "lipschitz_residual": residual(*layer),
        "channel_curvature_residual": residual(*channel),
        "channel_worst_residual": residual(*channel),
        "printed_share": draw.chances(*layer, levels=[0.5, 0.94, 0.96, 1.0]),
        "aligned_share": draw.chances(*layer, levels=[0.5, 0.94, 0.96, 1.0]),
        "channel_alignment": flags(*channel),
        "channel_quadratic": flags(*channel),
    }
    return draw.run(
        {f"theory_{name}": values for name, values in fields.items()}
        | {"train_loss": loss, "theory_loss": ((*draw.lead, "seed", *layer), probed)},
        {"float64": draw.pick(True, False), "epsilon": draw.pick(0.0, 1e-5)},
    )


def gradient_magnitudes(seed: int, seeds: int) -> Run:
    kinds = ["kernel", "bias", "cancelled_bias", "scale", "shift", "other"]
    draw = Draw(seed, {"norm": ["none", "batch"]}, seeds, kind=kinds)
    dims, means = draw.positive("probe_step", "kind")
    means *= np.exp(draw.size * draw.rng.normal(size=(2, 1, 1, len(kinds))))
    least = draw.rng.uniform(0.8, 1.0, means[..., 2].shape)
    means[..., 2] = means[..., 4] * draw.pick(1e-8, 9e-4, 1.2e-3, 0.1) * least
    means[0, ..., 2:5] = np.nan
    means[..., 5] = np.nan
    return draw.run({"magnitudes_mean": (dims, means)})


def stability(draw: Draw) -> dict[str, tuple]:
    """Percentiles that move from probe to probe, and changes by a step."""
    layer = ("probe_step", "shown_layer")
    dims, deviation = draw.positive(*layer)
    fields = {"deviation": (dims, deviation), "mean_change": draw.positive(*layer)}
    fields["variance_change"] = draw.positive(*layer)
    for name in ("percentiles", "channel_percentiles"):
        moves = draw.positive(*layer)[1].cumsum(2)[..., None]
        spread = np.sort(draw.rng.normal(size=19)) * (1 + 0.1 * draw.rng.normal(size=moves.shape))
        fields[name] = ((*dims, "percentile"), moves + spread)
    return {f"distributions_{name}": values for name, values in fields.items()}


def distributions(seed: int, seeds: int) -> Run:
    draw = Draw(seed, {"norm": ["none", "batch", "linf"]}, seeds, shown_layer=LAYERS,
                percentile=range(5, 100, 5))  # fmt: skip
    return draw.run(stability(draw))


def noisy_batchnorm(seed: int, seeds: int) -> Run:
    norms = ["none", "batch", "noisy_batch", "noise"]
    draw = Draw(seed, {"norm": norms}, seeds, shown_layer=LAYERS, percentile=range(5, 100, 5),
                test_step=[0, 20, 40])  # fmt: skip
    losses = draw.losses()
    if draw.pick(True, False):
        losses[1][-1] = CHANCE * draw.pick(0.88, 0.92, 0.95, 1.0)
    late = draw.levels("step", values=[0.9, 0.888, 0.885, 0.866])
    late[1][..., : -STEPS // 10] = 0.3
    late[1][...] -= 0.003 * draw.rng.exponential(size=late[1].shape)
    return draw.run(
        {**stability(draw), "train_loss": losses, "train_accuracy": late}
        | {"test_accuracy": draw.chances("test_step", levels=[0.5, 0.9])}
    )


def earth_mover(seed: int, seeds: int) -> Run:
    layers = ["conv1", "conv2", "conv3"]
    draw = Draw(seed, {"norm": ["none", "batch", "unitize", "layer"]}, seeds, shown_layer=layers)
    probe = ("probe_step", "shown_layer")
    names = ("scaled", "deviation", "channel", "channel_deviation")
    fields = {x: draw.positive(*probe) for x in (*names, "skewness_change", "kurtosis_change")}
    sizes = np.array(draw.pick([10.0, 100.0, 1000.0], [30.0, 20.0, 500.0], [64.0] * 3))
    fields["scaled"][1][1] *= sizes ** draw.pick(-0.5, -0.12, 0.08, 0.12, 0.5)
    dims, exact = draw.positive(*probe)
    far = draw.levels(*probe, values=[1.5, 1.95, 2.1, 5.0, 10.5, 12.0, 50.0], noise=0.01)[1]
    far[..., 0] = draw.pick(1.0, 1.7, np.nan, 30.0) * far[..., 0]
    exact[draw.rng.uniform(size=exact.shape) < draw.pick(0, 0, 0, 0.1)] = np.nan
    fields |= {
        "dimension": (dims, sizes),
        "exact": (dims, exact),
        "norm_bound": (dims, far * exact),
    }
    return draw.run({f"earth_mover_{name}": values for name, values in fields.items()})


def sigmoid_mnist(seed: int, seeds: int) -> Run:
    draw = Draw(seed, {"norm": ["none", "batch"]}, seeds, channel=range(4),
                percentile=[15.0, 50.0, 85.0], statistics=["running", "batch"],
                test_step=[0, 10, 20, 30, 36, 40])  # fmt: skip
    inputs = draw.positive("probe_step", "channel", "percentile")
    speed = 2 * draw.size * draw.arms(*inputs[0][2:], draw=draw.rng.normal)
    course = np.linspace(0, 1, PROBES).reshape(-1, 1, 1) * np.exp(speed)
    inputs = inputs[0], 0.2 * inputs[1] + np.array([0, 1, 2]) + 2 * course
    if draw.pick(True, False):
        inputs[1][0, 0, 2:5, 1] = 1.0  # a sigmoid that gets one number
    rise = np.sort(draw.chances("test_step", levels=[0.8, 0.88, 0.93, 0.97])[1], axis=-1)
    rise[..., 0] = draw.pick(0.1, 0.95)
    rise[..., 1] -= draw.arms(draw=lambda size: draw.rng.choice([0, 0.5], size))
    at = ("probe_step", "statistics")
    single = {
        "difference": draw.levels(*at, values=[1e-5, 9e-4, 1.2e-3], noise=0.01),
        "largest": draw.levels(*at, values=[10.0], noise=0.001),
        "agreement": draw.chances(*at, levels=[1.3, 1.3, 0.99]),
        "accuracy": draw.chances(*at, levels=[0.1, 0.4, 0.448, 0.452, 0.47]),
        "accuracy_together": draw.chances(*at, levels=[0.9]),
    }
    return draw.run(
        {"inputs_percentiles": inputs, "test_accuracy": ((*draw.lead, "seed", "test_step"), rise)}
        | {f"single_{name}": values for name, values in single.items()},
        {"target_accuracy": draw.pick(0.9, 0.94), "singles": 10},
    )


def surface(seed: int, seeds: int) -> Run:
    axis = np.linspace(-1, 1, 11)
    norms = ["none", "batch", "layer", "l2"]
    draw = Draw(seed, {"norm": norms}, seeds, line=range(3), column=range(11),
                row=range(11), path=["other", "principal"], component=[1, 2, 3],
                test_step=[0, 40])  # fmt: skip
    scale = draw.pick(1.0, 0.4, 5.0)
    sharp = draw.positive("line", "column")
    plane = draw.positive("row", "column", size=0.0)
    bent = draw.levels("row", "column", values=[1.0, 1.0, 0.1, 0.1, -0.05, -0.12, -0.3, -1.0])[1]
    flat = (
        0.5 * (axis[:, None] ** 2 + bent * axis**2) + 0.3 * draw.pick(0, 1) * axis[:, None] * axis
    )
    for place in range(4):  # points at which it bends down
        for row, column in SPIKES[: draw.pick(0, 0, 3, 5)]:
            flat[place, ..., row, column] += 0.05
    shares = draw.chances("path", "component", levels=[0.17, 0.2, 0.23, 0.35])
    shares[1][..., 2] = 0.5
    return draw.run(
        {
            "lines_losses": (sharp[0], 0.3 * draw.pick(1, -1, 1) * sharp[1] * axis**2 + 0.1),
            "lines_columns": (sharp[0], scale * axis),
            "lines_accuracies": draw.chances("line", "column", levels=[0.99]),
            "plane_losses": (plane[0], flat + 1e-3 * draw.pick(0, 1, 10) * plane[1]),
            "principal_shares": shares,
            "test_accuracy": draw.levels(
                "test_step", values=draw.pick([0.8, 0.806], [0.8, 0.803, 0.806, 0.82])
            ),
        }
    )


def batchnorm_only(seed: int, seeds: int) -> Run:
    trained = ["all", "bn", "output", "random"]
    lead = {"trained": trained, "depth": [14, 20], "norm_every": [1], "scale_init": ["uniform"]}
    draw = Draw(seed, lead, seeds, end=["before", "after"], threshold=[0.0, 0.01])
    dataset = draw.pick("digits", "cifar100")
    high = [0.021, 0.045, 0.06] if dataset == "cifar100" else [0.18, 0.21, 0.23, 0.5]
    small = draw.chances(
        "end", "threshold", levels=[0.05, 0.1, 0.1, 0.1, 0.1, 0.12, 0.2, 0.26, 0.28, 0.4, 0.49, 0.6]
    )
    plain, lost = draw.chances("end", "threshold", levels=[0.5]), [0.0, 0.012, 0.02, 0.04, 0.06]
    lost = draw.arms("end", draw=lambda size: draw.rng.choice(lost, size))
    plain[1][..., 1] = plain[1][..., 0] - lost
    zeros = draw.chances("end", levels=[0.5, 0.51, 0.53, 0.6])
    zeros[1][..., 0] -= draw.pick(-0.06, -0.025, 0.01, 0.025, 0.06)
    return draw.run(
        {
            "ends_test_accuracy": draw.chances("end", levels=high),
            "ends_train_accuracy": draw.chances("end", levels=[0.6]),
            "ends_zeros": zeros,
            "ends_small": small,
            "ends_clamped_accuracy": plain,
        },
        {"dataset": dataset},
        diverges=0.4,
    )


def batch_size(seed: int, seeds: int) -> Run:
    lead = {"norm": ["none", "batch", "group"], "batch_size": [2, 8, 64]}
    draw = Draw(seed, lead, seeds, direction=["gradient"], step_size=[0.1, 0.4],
                test_step=[0, 20, 36, 38, 40])  # fmt: skip
    line = ("probe_step", "direction", "step_size")
    names = ("losses", "gradient_distances", "smoothness")
    return draw.run(
        {f"line_{name}": draw.positive(*line) for name in names}
        | {"train_loss": draw.losses(draw.pick(0.06, 0.3))}
        | {"test_accuracy": draw.chances("test_step", levels=[0.9, 0.892, 0.885, 0.87, 0.8])}
    )


def training_curves(seed: int, seeds: int, lead: dict) -> Run:
    draw = Draw(seed, {"norm": ["none", "batch", "l1", "linf"], **lead}, seeds,
                test_step=[0, 20, 36, 38, 40])  # fmt: skip
    accuracy = draw.levels("step", values=[1.0, 0.95, 0.8], noise=0.03)
    begins = draw.arms("step", draw=lambda size: draw.rng.choice([2, 8, 10, 12, 30, 37], size))
    accuracy[1][np.broadcast_to(np.arange(STEPS) < begins, accuracy[1].shape)] = 0.2
    options = {"target_loss": draw.pick(None, 0.5), "window": draw.pick(3, 5)}
    return draw.run(
        {
            "train_loss": draw.losses(draw.pick(0.06, 0.06, 0.4)),
            "train_accuracy": accuracy,
            "test_accuracy": draw.chances("test_step", levels=[0.9, 0.885, 0.87, 0.86, 0.8]),
            "fit_accuracy": draw.chances("probe_step", levels=[0.99, 0.97, 0.95]),
        },
        {**options, "model": draw.pick("vgg11", "vgg11", "dln"), "target_accuracy": 0.9},
    )


def vgg_training(seed: int, seeds: int) -> Run:
    return training_curves(seed, seeds, {"lr": [0.1, 0.5]})


def lp_norms(seed: int, seeds: int) -> Run:
    return training_curves(seed, seeds, {})


def optimizers(seed: int, seeds: int) -> Run:
    variants = ["sgd+he_normal+0+plain", "adam+he_normal+0+plain", "sgd+small_normal+0+plain"]
    variants += ["sgd+zeros+0+plain", "sgd+he_normal+0.5+plain", "sgd+he_normal+0+augmented"]
    lead = {"norm": ["none", "batch"], "variant": variants, "multiple": [*MULTIPLES]}
    draw = Draw(seed, lead, seeds, kernel=["conv1/kernel", "output/kernel"], test_step=[0, 40],
                averaged=["none", "flips", "translations", "both"])  # fmt: skip
    probed = ("probe_step", "averaged")
    gained, lost = (
        np.round(draw.levels(*probed, values=values, noise=0.1)[1])
        for values in ([2, 8, 12, 30], [1, 2, 4, 12])
    )
    dims = (*draw.lead, "seed", *probed)
    differences = draw.levels("probe_step", "kernel", values=[0.0, 8e-4, 1.2e-3, 1.0], noise=0.01)
    accuracy = draw.chances("test_step", levels=[0.9, 0.86, 0.83, 0.8, 0.5])
    accuracy[1][:, 3] -= draw.pick(0.0, 0.05, 0.06, 0.2)  # from zeros
    losses = draw.losses(draw.pick(0.06, 0.2))
    never = draw.pick(0, 1)  # SGD or Adam gets to no loss below this
    losses[1][:, never] = np.maximum(losses[1][:, never], draw.pick(0.0, 1.1))
    sizes = draw.levels("probe_step", "kernel", values=[0.0, 1.0, 1.0])
    return draw.run(
        {
            "train_loss": losses,
            "test_accuracy": accuracy,
            "ending_train_accuracy": draw.chances("probe_step", levels=[0.99, 0.97, 0.95]),
            "ending_accuracy": draw.chances(*probed, levels=[0.9, 0.88, 0.85]),
            "ending_gained": (dims, gained),
            "ending_lost": (dims, lost),
            "ending_images": ((*draw.lead, "seed", "probe_step"), 360.0),
            "symmetry_differences": differences,
            "symmetry_sizes": sizes,
            "symmetry_gradient_norms": draw.positive("probe_step", "kernel"),
            "symmetry_variances": draw.positive("probe_step", "kernel"),
        },
        {"window": 3, "target_loss": 1.0},
        diverges=0.5,
    )


def forensics(seed: int, seeds: int) -> Run:
    """Starts that are some factors away from the published ones, a few of them no numbers."""
    lead = {"candidate": ["base", "vgg16", "nohead", "bias0.1"], "norm": ["none", "batch", "l2"]}
    sizes = [0.05, 0.1, 0.2, 0.4]
    draw = Draw(seed, lead, seeds, direction=["gradient"], step_size=sizes)
    line = ("probe_step", "direction", "step_size")
    full = draw.shape(*lead, "seed", *line)
    start = np.array([NUMBERS[norm] for norm in lead["norm"]]).T.reshape(6, 1, 3, 1, 1, 1, 1)
    factor = draw.pick(1.0, 1.0, 1.18, 1.25, 1.3, 2.0)
    apart = [
        factor ** draw.rng.choice([-1, 1], (4, 3, 1, 1, 1, 1))
        * np.exp(draw.apart * draw.rng.normal(size=(4, 3, seeds, 1, 1, 1)))
        for _ in range(6)
    ]
    # Between the least and the greatest number of a line, whichever step size has it.
    place = draw.rng.permuted(np.broadcast_to([0, 1 / 3, 2 / 3, 1.0], full), axis=-1)
    low, high, _, least, most, beta = (x * y for x, y in zip(start, apart, strict=True))
    values = {
        "line_losses": low + (high - low) * place,
        "line_gradient_distances": least + (most - least) * place,
        "line_smoothness": beta * (0.5 + place / 2),
    }
    if draw.pick(True, False):
        values["line_smoothness"] = np.where(draw.rng.uniform(size=full[:2] + [1] * 4) < 0.2, 0.0,
                                             values["line_smoothness"])  # fmt: skip
    dims = (*lead, "seed", *line)
    return draw.run({name: (dims, own + np.zeros(full)) for name, own in values.items()})


def sharpness(seed: int, seeds: int) -> Run:
    """Arms at 2/lr, near the limits of its band and elsewhere; some come there late or never."""
    sizes = [0.05, 0.099, 0.2, 0.4]
    draw = Draw(seed, {"norm": ["none", "batch", "layer"]}, seeds, hidden_layer=LAYERS,
                step_size=sizes, direction=["gradient"], batch=[0, 1],
                statistics=["batch", "running", "frozen", "recalibrated"])  # fmt: skip
    probe, line = ("probe_step",), ("probe_step", "direction", "step_size")
    levels = [0.4, 0.72, 0.8, 1.0, 1.2, 1.28, 2.0]
    dims, late = draw.levels(*probe, values=levels, noise=0.02)
    begin = draw.arms(*probe, draw=lambda size: draw.rng.choice([0, 0, 2, 4, 6], size))
    batch = np.where(np.arange(PROBES) < begin, 0.5, 1.0) * late
    batch[draw.rng.uniform(size=batch.shape) < draw.pick(0, 0, 0.05)] = np.nan
    others = {x: draw.levels(*probe, values=levels, noise=0.02) for x in ("critical", "spherical")}
    kappa = draw.arms(*probe, draw=lambda size: draw.rng.choice([1e-4, 9e-3, 1.2e-2, 0.5], size))
    losses = draw.positive(*probe, "statistics")[1]
    losses[0] = draw.pick(np.nan, 1.0)
    turn = draw.positive(*line)
    return draw.run(
        {
            "sharpness_mean": (dims, 20 * batch),
            "update_learning_rate": draw.levels(*probe, values=[0.1, 0.1, 0.11]),
            "update_critical_sharpness": (dims, 20 * others["critical"][1]),
            "update_edge": (dims, 20.0),
            "update_rotation_ratios": draw.levels(
                *probe, "hidden_layer", values=levels, noise=0.02
            ),
            "spherical_product": (dims, 2 * others["spherical"][1]),
            "spherical_invariance": (dims, kappa * draw.positive(*probe, size=0.0)[1]),
            "statistics_losses": ((*dims, "statistics"), losses),
            "line_gradient_distances": turn,
            "line_smoothness": draw.positive(*line),
            "line_gradient_norm": draw.positive(*line[:-1]),
        },
        {"optimizer": draw.pick("sgd", "sgd", "sgd", "adam"), "weight_decay": draw.pick(0.0, 1e-3)},
    )


STUDIES = (
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
MAKE = {function.__name__: function for function in STUDIES}


# With these the first fourteen runs meet all verdicts of every rule.
FIRST = {"distributions": 900, "earth_mover": 200, "noisy_batchnorm": 300, "sigmoid_mnist": 100}
FIRST |= {"spectrum": 400, "theory": 100}


def drawn(study: str, count: int, first: int | None = None) -> list[Run]:
    """Runs of a study of one to four seeds, the same at each call."""
    base = FIRST.get(study, 0) if first is None else first
    return [MAKE[study](base + place, (1, 3, 1, 2, 4)[place % 5]) for place in range(count)]
