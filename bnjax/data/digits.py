"""Scikit-learn's handwritten digits: the data set that is at hand everywhere."""

import numpy as np

from bnjax.data.dataset import Dataset, binary, from_arrays

DIGITS_TEST_SIZE = 360


def load_digits() -> Dataset:
    """Scikit-learn's 1,797 handwritten digits, enlarged from 8×8 to 32×32×3 pixels.

    The split is stratified and fixed: 1,437 for training, 360 for testing.
    """
    from PIL import Image

    small, labels, train, test = small_digits()
    # Pillow resizes bytes in integer arithmetic: the same pixels on every machine.
    large = np.stack(
        [
            np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
            for image in small
        ]
    )
    pixels = np.repeat(large[..., None], 3, axis=-1)
    return from_arrays(
        "digits",
        10,
        (pixels[train], labels[train]),
        (pixels[test], labels[test]),
        note="scikit-learn's digits, 8×8 pixels enlarged to 32×32",
    )


def load_binary_digits() -> Dataset:
    """The digits of `load_digits` at their own 8×8 pixels, each 0 or 1."""
    pixels, labels, train, test = small_digits()
    pixels = pixels[..., None]
    return binary(
        "binary_digits",
        (pixels[train], labels[train]),
        (pixels[test], labels[test]),
        note="scikit-learn's digits, 8×8 binary pixels",
    )


def small_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The digits `[1797, 8, 8]` uint8, their labels, and the rows of both splits."""
    from sklearn.datasets import load_digits as load_bunch
    from sklearn.model_selection import train_test_split

    bunch = load_bunch()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(pixels)), test_size=DIGITS_TEST_SIZE, stratify=bunch.target, random_state=0
    )
    return pixels, bunch.target, np.sort(train), np.sort(test)
