"""Names and units of measured arrays and of their axes, in the notation of `captions`."""

from collections.abc import Mapping
from typing import NamedTuple


class Quantity(NamedTuple):
    """The name and the unit of a measured array."""

    label: str
    unit: str = ""


QUANTITIES: Mapping[str, Quantity] = {
    "train.loss": Quantity("Minibatch loss"),
    "train.accuracy": Quantity("Minibatch accuracy"),
    "train.gradient_norm": Quantity("Minibatch gradient norm"),
    "test.loss": Quantity("Test loss"),
    "test.accuracy": Quantity("Test accuracy"),
    "fit.loss": Quantity("Loss on training images, as the test set is read"),
    "fit.accuracy": Quantity("Accuracy on training images, as the test set is read"),
    "line.losses": Quantity("Loss L(θ − ηd)"),
    "line.step_sizes": Quantity("Step sizes η", "units of θ per unit of d"),
    "line.gradient_norms": Quantity("Gradient norm ‖g(η)‖₂"),
    "line.gradient_distances": Quantity("Gradient difference ‖g(η) − g‖₂"),
    "line.cosines": Quantity("Cosine of g(η) and g"),
    "line.smoothness": Quantity("Effective smoothness β(η)"),
    "line.scaled_smoothness": Quantity("Smoothness of kernels in units of their norm"),
    "line.loss": Quantity("Loss L(θ) on the probed batch"),
    "line.gradient_norm": Quantity("Gradient norm ‖g‖₂"),
    "line.direction_norm": Quantity("Norm of the direction ‖d‖₂"),
    "line.smoothness_limit": Quantity("Smoothness for η → 0, ‖Hd‖₂/‖d‖₂"),
    "line.curvature_limit": Quantity("Sharpness along d, dᵀHd/‖d‖²"),
    "shift.distances": Quantity("‖G − G′‖₂ of the layers"),
    "shift.relative_distances": Quantity("‖G − G′‖₂/‖G‖₂ of the layers"),
    "shift.cosines": Quantity("Cosine of G and G′ of the layers"),
    "spectrum.largest": Quantity("Greatest eigenvalues λ"),
    "spectrum.smallest": Quantity("Least eigenvalues λ"),
    "spectrum.largest_residuals": Quantity("Residuals of the greatest eigenvalues"),
    "spectrum.smallest_residuals": Quantity("Residuals of the least eigenvalues"),
    "spectrum.gradient_fraction": Quantity("Share of ‖∇L‖² in the greatest eigenvectors"),
    "spectrum.nodes": Quantity("Ritz values of the Hessian"),
    "spectrum.weights": Quantity("Weights of the quadrature"),
    "spectrum.residuals": Quantity("Residuals of the Ritz vectors"),
    "spectrum.shares": Quantity("Share of ‖∇L‖² in each Ritz vector"),
    "spectrum.trace": Quantity("Trace of the Hessian"),
    "spectrum.trace_error": Quantity("Standard error of the trace"),
    "spectrum.loss": Quantity("Loss on the probed part"),
    "spectrum.gradient_norm": Quantity("Gradient norm on the probed part"),
    "distributions.histogram": Quantity("Histogram of activations", "share"),
    "distributions.percentiles": Quantity("Percentiles of activations"),
    "distributions.channel_percentiles": Quantity("Percentiles of one unit"),
    "distributions.mean": Quantity("Mean of units"),
    "distributions.deviation": Quantity("Deviation of units"),
    "distributions.mean_change": Quantity("Change of units' mean in one step"),
    "distributions.variance_change": Quantity("Change of units' variance in one step"),
    "magnitudes.mean": Quantity("Mean |∂L/∂θ| by kind"),
    "magnitudes.norm": Quantity("Gradient norm by kind"),
    "theory.loss": Quantity("Loss of the batch"),
    "theory.gradient_squared": Quantity("‖v‖² of the layer"),
    "theory.curvature": Quantity("vᵀĤv of the layer"),
    "theory.variance": Quantity("Variance of y, mean over units"),
    "theory.channel_gradient_squared": Quantity("4.1, left side ‖v‖²"),
    "theory.channel_lipschitz_right": Quantity("4.1, right side"),
    "theory.channel_lipschitz_residual": Quantity("4.1, residual"),
    "theory.channel_curvature": Quantity("4.2, left side vᵀĤv"),
    "theory.channel_curvature_right": Quantity("4.2, right side"),
    "theory.channel_curvature_residual": Quantity("4.2, residual"),
    "theory.channel_worst": Quantity("4.4, left side"),
    "theory.channel_worst_right": Quantity("4.4, right side"),
    "theory.channel_worst_residual": Quantity("4.4, residual"),
    "theory.channel_alignment": Quantity("⟨ŷ, g⟩ of units"),
    "theory.channel_quadratic": Quantity("vᵀHv of units"),
    "theory.lipschitz_right": Quantity("4.1, right side, summed over units"),
    "theory.lipschitz_residual": Quantity("4.1, largest residual of a unit"),
    "theory.printed_residual": Quantity("4.1 as printed, largest residual of a unit"),
    "theory.printed_share": Quantity("4.1 as printed, share of units at which it holds"),
    "theory.aligned_share": Quantity("Share of units with ⟨ŷ, g⟩ > 0"),
    "theory.scaled_gradient_squared": Quantity("γ²/σ² ‖g‖², summed over units"),
    "earth_mover.exact": Quantity("Earth mover distance W₁"),
    "earth_mover.scaled": Quantity("Sliced distance, scaled to all dimensions"),
    "earth_mover.sliced": Quantity("Sliced distance"),
    "earth_mover.sliced_error": Quantity("Standard error of the sliced distance"),
    "earth_mover.paired": Quantity("Distance of each example to itself"),
    "earth_mover.lower": Quantity("Lower bound ‖μ₁ − μ₂‖"),
    "earth_mover.upper": Quantity("Upper bound √(‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂)"),
    "earth_mover.norm_bound": Quantity("Bound by BatchNorm's γ and β"),
    "earth_mover.deviation": Quantity("Deviation of the layer √tr Σ"),
    "earth_mover.dimension": Quantity("Dimension of the layer"),
    "earth_mover.channel": Quantity("Distance of units, mean"),
    "earth_mover.channel_percentiles": Quantity("Distance of units, percentiles"),
    "earth_mover.channel_lower": Quantity("Lower bound of units, mean"),
    "earth_mover.channel_upper": Quantity("Upper bound of units, mean"),
    "earth_mover.channel_deviation": Quantity("Deviation of units, mean"),
    "earth_mover.mean_change": Quantity("Change of units' mean"),
    "earth_mover.variance_change": Quantity("Change of units' variance"),
    "earth_mover.skewness_change": Quantity("Change of units' skewness"),
    "earth_mover.kurtosis_change": Quantity("Change of units' kurtosis"),
    "symmetry.differences": Quantity("Greatest difference of two units"),
    "symmetry.sizes": Quantity("Greatest absolute weight"),
    "symmetry.gradient_norms": Quantity("Gradient norm of each kernel"),
    "symmetry.variances": Quantity("Greatest variance that BatchNorm divides by"),
    "ending.train_accuracy": Quantity("Accuracy on training images at the end"),
    "ending.accuracy": Quantity("Accuracy over averaged copies at the end"),
    "ending.gained": Quantity("Images that only the average gets right"),
    "ending.lost": Quantity("Images that only the plain prediction gets right"),
    "ending.images": Quantity("Number of test images"),
    "ends.scales": Quantity("Distribution of γ", "share"),
    "ends.small": Quantity("Share of |γ| below a threshold"),
    "ends.clamped_accuracy": Quantity("Test accuracy with γ below a threshold set to 0"),
    "ends.zeros": Quantity("Share of zeros among the outputs of ReLUs"),
    "ends.train_accuracy": Quantity("Accuracy on training images, before and after"),
    "ends.test_accuracy": Quantity("Test accuracy, before and after"),
    "single.difference": Quantity("Largest difference of a logit, alone and together"),
    "single.largest": Quantity("Largest |logit|, together"),
    "single.agreement": Quantity("Share of images with the same class alone and together"),
    "single.accuracy": Quantity("Test accuracy of images alone"),
    "single.accuracy_together": Quantity("Test accuracy of images together"),
    "rounding.gradient_error": Quantity("Rounding error of the gradient"),
    "inputs.percentiles": Quantity("Percentiles of the input to each sigmoid"),
    "plane.losses": Quantity("Loss on the plane of two random directions"),
    "plane.accuracies": Quantity("Accuracy on the plane of two random directions"),
    "trajectory.losses": Quantity("Loss on the plane of the path's components"),
    "trajectory.accuracies": Quantity("Accuracy on the plane of the path's components"),
    "lines.losses": Quantity("Loss on random lines"),
    "lines.accuracies": Quantity("Accuracy on random lines"),
    "plane.row": Quantity("Coordinate along the first direction"),
    "plane.columns": Quantity("Coordinate along the second direction"),
    "trajectory.row": Quantity("Coordinate along the second component"),
    "trajectory.columns": Quantity("Coordinate along the first component"),
    "lines.row": Quantity("Coordinate across the line"),
    "lines.columns": Quantity("Coordinate along the line"),
    "principal.shares": Quantity("Share of the path's variance by component"),
    "principal.coordinates": Quantity("The path's coordinates"),
}
AXES: Mapping[str, str] = {
    "norm": "normaliser",
    "lr": "learning rate",
    "seed": "seed",
    "step": "training step",
    "test_step": "training step",
    "probe_step": "training step",
    "step_size": "step size η",
    "direction": "direction",
    "layer": "layer",
    "shown_layer": "layer",
    "probed_layer": "layer",
    "unit": "unit",
    "rank": "rank of the eigenvalue",
    "vector": "random vector",
    "node": "Ritz value",
    "statistics": "statistics",
    "percentile": "percentile",
    "bin": "activation",
    "kind": "kind of parameter",
    "kernel": "kernel",
    "line": "line",
    "column": "coordinate",
    "row": "coordinate",
    "plane_axis": "axis of the plane",
    "component": "component",
    "batch_size": "batch size",
    "trained": "what is trained",
    "optimizer": "optimiser",
    "initializer": "initialiser",
    "multiple": "times the usual learning rate",
    "variant": "setting",
    "depth": "depth",
    "norm_every": "BatchNorm every",
    "scale_init": "γ at the start",
    "threshold": "γ below",
    "averaged": "averaged over",
    "end": "before or after training",
    "path": "path",
}
# One line for each group of arrays: of what, on what.
GROUPS: Mapping[str, str] = {
    "train": "On the minibatch of each step, before its update.",
    "test": "On the whole test set.",
    "fit": "On training images, read as the test set is.",
    "line": "On the batch of the step, from θ along the direction d; g = ∇L(θ), g(η) = ∇L(θ − ηd).",
    "rounding": "‖g at training precision − g at probe precision‖₂, on the batch of the step.",
    "shift": (
        "G: gradient by a layer's weights before a step; G′: the same after the layers below took "
        "the optimiser's update, on the same batch."
    ),
    "spectrum": (
        "Of the Hessian of the loss on the first training images, by Lanczos iterations; ∇L on the "
        "same images."
    ),
    "distributions": "Of what a layer hands to its non-linearity, on the batch of the step.",
    "magnitudes": "Over all parameters of a kind, on the batch of the step.",
    "theory": (
        "On the batch of the step: ŷ = (y − μ)/σ, z = γŷ + β, g = ∂L/∂z, v = ∂L/∂y, H and Ĥ the "
        "Hessians by z and by y."
    ),
    "earth_mover": (
        "Between a layer's outputs on the batch before and after the step's actual update; μ, Σ: "
        "their means and covariances."
    ),
    "symmetry": "Of the units of each layer; units that start alike stay alike.",
    "ending": "At the last probe, with running statistics and without dropout.",
    "inputs": "Of what each sigmoid of the last hidden layer gets, over training images.",
    "single": "Of test images one by one (alone) and in one batch (together).",
    "ends": "Before the first step and after the last, with running statistics.",
    "plane": (
        "Around the trained network, along two Gaussian directions normalised filter by filter, in "
        "units of each filter's norm."
    ),
    "lines": (
        "Around the trained network, along Gaussian directions normalised filter by filter, in "
        "units of each filter's norm."
    ),
    "trajectory": (
        "Around the trained network (at 0, 0), on the plane of the two principal components of the "
        "parameters along training; red: the path of training."
    ),
    "principal": "Of the parameters along training less the trained ones, θₜ − θ at the end.",
}


def quantity(name: str) -> Quantity:
    """The name of an array as a person reads it; its own where none is known."""
    group, _, field = name.replace("_", " ").partition(".")
    group = {"train": "minibatch", "test": "test"}.get(group, f"{group}:")
    return QUANTITIES.get(name, Quantity(f"{group} {field}".strip().capitalize()))


def definition(name: str) -> str:
    """What the numbers of an array are of, in one line; empty where that is not known."""
    return GROUPS.get(name.partition(".")[0], "")


def axis(name: str) -> str:
    """The name of an axis as a person reads it."""
    return AXES.get(name, name.replace("_", " "))
