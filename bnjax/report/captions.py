"""Captions: what figures draw, in words and formulas, and what each experiment asks.

Notation as in Santurkar et al. 2018: L the loss on one fixed batch, θ the parameters, g = ∇L(θ),
d the direction (the gradient unless said), g(η) = ∇L(θ − ηd).
"""

import re
from collections.abc import Mapping
from typing import NamedTuple


class Definition(NamedTuple):
    """What is drawn, and where it is defined."""

    title: str
    text: str
    source: str = ""


RATE = re.compile(r"_lr([0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]+)?)$")


def kind(name: str) -> str:
    """The key of `FIGURES` in the name of a figure: without the learning rate at its end."""
    return RATE.sub("", name)


def rate(name: str) -> float:
    """The learning rate at the end of the name of a figure, or 0."""
    found = RATE.search(name)
    return float(found[1]) if found else 0.0


def caption(name: str) -> Definition | None:
    """What a figure of this name draws, or nothing where it is not known.

    Args:
      name: of its files, without their suffix; `_lr0.1` at its end is the learning rate.
    """
    known = FIGURES.get(kind(name))
    if known and kind(name) != name:
        return known._replace(title=f"{known.title}, learning rate {rate(name):g}")
    return known


LINE = (
    "Band: least and greatest over the step sizes η of the loss L(θ − ηd) (a) and of ‖g(η) − "
    "g‖₂ (b), both on the batch of the step. (c) Effective smoothness β(η) = ‖g(η) − g‖₂ / "
    "‖ηd‖₂, the greatest over η; dotted: its limit ‖Hd‖₂/‖d‖₂ for η → 0; grey: 2/lr, the edge "
    "of stability, and 1/η_min, the value of a gradient that has vanished after the smallest "
    "step (saturation). (d) Training loss."
)
FIGURES: Mapping[str, Definition] = {
    "landscape": Definition(
        "Loss landscape along the gradient", LINE, "Santurkar et al. 2018, Fig. 4, 10, 12, 13"
    ),
    "landscape_random": Definition(
        "Loss landscape along random directions of the gradient's norm",
        LINE,
        "Santurkar et al. 2018, Section 3.1 (claimed there, not shown)",
    ),
    "gradient_difference": Definition(
        "Gradient difference against the step size",
        "‖g(η) − g‖₂ against η at some training steps; it grows linearly at an edge of "
        "stability and stays at ‖g‖ where the gradient has vanished.",
        "Santurkar et al. 2018, Fig. 11",
    ),
    "shift": Definition(
        "Internal covariate shift of the layers",
        "For a layer i with weights Wᵢ: G = ∇L by Wᵢ before a step; G′ = the same after the layers "
        "below took the optimiser's actual update, on the same batch. Cosine of both (ideal 1) and "
        "‖G − G′‖₂ (ideal 0).",
        "Santurkar et al. 2018, Definition 2.1 and Fig. 3",
    ),
    "training": Definition(
        "Training curves",
        "Loss and accuracy against the training step: minibatches of training (running median over "
        "the stated window) and the whole test set.",
        "Santurkar et al. 2018, Fig. 1, 3, 5",
    ),
    "noisy_batchnorm": Definition(
        "Training with noise after BatchNorm",
        "Accuracy and loss of networks whose activations get noise of a mean and a variance "
        "that are redrawn at every step, a ← s·a + m, after BatchNorm; beside those without.",
        "Santurkar et al. 2018, Fig. 2 and Algorithm 1",
    ),
    "distributions": Definition(
        "Distributions of activations over training",
        "For each probed step the histogram of a layer's activations before the non-linearity "
        "on the batch of the step, as grey levels, and percentiles of all units and of one unit.",
        "Santurkar et al. 2018, Fig. 1, 2, 6, 9; Ioffe & Szegedy 2015, Fig. 1",
    ),
    "stability": Definition(
        "How stable the distributions are",
        "Change of a layer's activations from probe to probe (earth mover distance) and in one "
        "step (average over units of the change of mean and variance), relative to the "
        "deviation.",
        "Santurkar et al. 2018, Fig. 2, 8",
    ),
    "theory": Definition(
        "Theorems 4.1, 4.2 and 4.4, with the printed errors corrected",
        "(a) Largest relative difference of both sides over units and layers; 4.1: ‖v‖² = γ²/σ² "
        "· (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/m), 4.2: vᵀĤv = γ²/σ² · vᵀHv − γ/(mσ²) · ⟨g, ŷ⟩ · ‖v‖². "
        "(b) Share of units at which their assumptions hold. (c) Share of γ²/σ² ‖g‖² that the "
        "two projections take away.",
        "Santurkar et al. 2018, Section 4",
    ),
    "theory_comparison": Definition(
        "Lipschitz and curvature terms, with and without BatchNorm",
        "‖v‖² and vᵀĤv with v = ∂L/∂y by all of a layer's activations y (before BatchNorm, "
        "where there is one) against the step, and their ratio where both networks have equal "
        "loss.",
        "Santurkar et al. 2018, Theorems 4.1 and 4.2",
    ),
    "sigmoid": Definition(
        "The sigmoid network",
        "(a) Test accuracy against the step. Others: 15th, 50th and 85th percentile of the "
        "input to one typical sigmoid of the last hidden layer.",
        "Ioffe & Szegedy 2015, Fig. 1",
    ),
    "batchnorm_only": Definition(
        "Training γ and β alone",
        "(a) Test accuracy where a part of the parameters is trained. (b) Distribution of γ "
        "before and after. (c) Test accuracy with small γ set to 0. (d) Shares of zero outputs "
        "of ReLUs and of features that are switched off.",
        "Frankle, Schwab & Morcos 2020",
    ),
    "batchnorm_only_variants": Definition(
        "Training γ and β alone: all networks",
        "Test accuracy and generalisation gap (training − test accuracy) of each network.",
        "Frankle, Schwab & Morcos 2020",
    ),
    "gradient_magnitudes": Definition(
        "Gradient magnitudes by kind of parameter",
        "Mean of |∂L/∂θ| over all parameters of a kind, on the batch of the step. Biases that a "
        "normaliser cancels have no gradient and are kept apart.",
        "Frankle, Schwab & Morcos 2020, and its follow-up",
    ),
    "batch_size": Definition(
        "Normalisers against the batch size",
        "Test accuracy, training loss, and the greatest ‖g(η) − g‖₂ and β(η) against the batch "
        "size; all arms see the same number of examples.",
        "Ba, Kiros & Hinton 2016; Wu & He 2018",
    ),
    "earth_mover": Definition(
        "Internal covariate shift as an earth mover distance",
        "Distance W₁ of a layer's outputs on the batch before and after the step's actual "
        "update, with the bounds ‖μ₁ − μ₂‖ ≤ W₁ ≤ √(‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂); sliced over "
        "random directions; of single units; change of the third and fourth standardised moment.",
        "Huang & Yu 2020",
    ),
    "surface_lines": Definition(
        "Loss and accuracy on random lines",
        "Along Gaussian directions normalised filter by filter, dᵢⱼ ← dᵢⱼ/‖dᵢⱼ‖ · ‖θᵢⱼ‖, around "
        "the trained network; biases and parameters of normalisers are not moved.",
        "Li et al. 2018",
    ),
    "surface_plane": Definition(
        "Loss surface: contours",
        "The loss on the plane of two filter-normalised random directions around the trained "
        "network, with levels that all arms share.",
        "Li et al. 2018",
    ),
    "surface_3d": Definition(
        "Loss surface in three dimensions",
        "The loss on the plane of two filter-normalised random directions around the trained "
        "network.",
        "Li et al. 2018",
    ),
    "surface_path": Definition(
        "The path of training in its plane",
        "The loss on the plane of the two principal components of the parameters along "
        "training, and the path.",
        "Li et al. 2018",
    ),
    "spectrum": Definition(
        "The Hessian's spectrum along training",
        "Greatest eigenvalues λ (Lanczos), the share of the gradient in their eigenvectors "
        "‖P∇L‖²/‖∇L‖², the trace (Hutchinson), and the training loss; for each kind of "
        "statistics that BatchNorm normalises with.",
        "Ghorbani, Krishnan & Xiao 2019",
    ),
    "spectrum_density": Definition(
        "Density of the Hessian's eigenvalues",
        "Stochastic Lanczos quadrature, broadened by a Gaussian kernel; ticks: greatest "
        "eigenvalues.",
        "Ghorbani, Krishnan & Xiao 2019",
    ),
    "learning_rates": Definition(
        "The end against the learning rate",
        "Final test accuracy of each optimiser at multiples of its usual learning rate.",
    ),
    "initializers": Definition(
        "The end by initialiser, and symmetry",
        "Final test accuracy, and the greatest difference of two units of a hidden layer "
        "relative to its largest weight: units that start alike stay alike.",
    ),
    "regularisation": Definition(
        "Generalisation gap, and averages over copies",
        "Training and test accuracy with dropout and augmentation; test accuracy gained by "
        "averaging predictions over moved copies of each image.",
    ),
}
EXPERIMENTS: Mapping[str, str] = {
    "landscape": (
        "Does normalisation make the loss vary less, its gradient more predictive and the loss "
        "smoother along the gradient?"
    ),
    "shift": "Does BatchNorm reduce internal covariate shift?",
    "distributions": "Does BatchNorm make the distributions of activations more stable?",
    "noisy_batchnorm": "Does BatchNorm still help when noise makes its distributions less stable?",
    "lp_norms": "Do ℓp norms, which fix no variance, train as well as BatchNorm?",
    "vgg_training": "Does BatchNorm train faster, and at higher learning rates?",
    "theory": "Do the theorems on BatchNorm hold, and how often are their assumptions met?",
    "sigmoid_mnist": "Does BatchNorm keep the inputs of sigmoids in place?",
    "batchnorm_only": "How far does a network get that trains γ and β alone?",
    "gradient_magnitudes": "How large are the gradients of each kind of parameter?",
    "batch_size": "How do normalisers depend on the batch size?",
    "earth_mover": (
        "How far does a step move the distribution of a layer, as an earth mover distance?"
    ),
    "surface": "What does the loss look like around the trained network?",
    "spectrum": "What do the eigenvalues of the Hessian do along training?",
    "optimizers": "How do optimisers, learning rates, initialisers and regularisers end?",
}
