"""Published numbers; made by `python tools/published_numbers.py CSV forensics`."""

# The numbers of `readings.NUMBER_NAMES` at the first point of each curve.
NUMBERS: dict[str, tuple[float, ...]] = {
    "none": (4.266, 4.288, 0.02147, 1.183, 2.413, 11.52),
    "batch": (4.192, 5.195, 1.003, 125.2, 144.7, 25.32),
    "l1": (4.075, 4.616, 0.5412, 74.17, 79.89, 25.25),
    "l2": (4.09, 4.338, 0.2478, 90.37, 107.3, 25.58),
    "linf": (4.163, 4.21, 0.04684, 22.63, 26.05, 28.5),
}
# The slope, C and the start of `readings.Penalty`.
PENALTIES: dict[str, tuple[float, ...]] = {
    "none": (-6.913e-05, 0.0001728, 1.975),
    "batch": (-7.973e-05, 0.0001993, 2.021),
    "l1": (-7.979e-05, 0.0001995, 2.025),
    "l2": (-8.05e-05, 0.0002012, 2.033),
    "linf": (-7.995e-05, 0.0001999, 2.034),
}
