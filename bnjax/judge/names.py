"""Normalisers by the names that people use."""

LABELS = {
    "none": "no normalisation",
    "batch": "BatchNorm",
    "l1": "ℓ₁ norm",
    "l2": "ℓ₂ norm",
    "linf": "ℓ∞ norm",
    "noisy_batch": "BatchNorm + noise",
    "noise": "noise alone",
    "layer": "LayerNorm",
    "group": "GroupNorm",
    "instance": "InstanceNorm",
    "rms": "RMSNorm",
    "unitize": "Unitization",
    "weight_standard": "weight standardisation",
    "weight_norm": "weight normalisation",
}


def label(norm: str) -> str:
    """A normaliser as a reader calls it; one of a user's own keeps its name."""
    return LABELS.get(norm, norm)


def having(norm: str) -> str:
    """An arm as an adverb: `with BatchNorm`, `without normalisation`."""
    return "without normalisation" if norm == "none" else f"with {label(norm)}"


def sentence(text: str) -> str:
    """The text with a capital at its beginning, unless a symbol stands there.

    Example:
      >>> sentence("no normalisation"), sentence("ℓ₁ norm")
      ('No normalisation', 'ℓ₁ norm')
    """
    return text[:1].upper() + text[1:] if text[:1].isascii() else text
