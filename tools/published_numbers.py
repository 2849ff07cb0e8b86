"""Print the published numbers of a study, computed from the published curves.

python tools/published_numbers.py santurkar_published_curves.csv              # of the landscape
python tools/published_numbers.py santurkar_published_curves.csv forensics

The functions are those that sum up a run, so that width stands beside width and the same part of a
run beside the same part. The output is `bnjax/studies/landscape/published.py`, or that of
`forensics`.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import xarray

from bnjax.frame.published_curves import Published, read_published
from bnjax.studies.forensics import readings
from bnjax.studies.landscape.claims import SUMMARIES, SUMMED_UP

# Panels by network and figure; of a loss band the width counts, of the others the upper edge.
PANELS = {
    ("vgg", "fig4a"): "fig12b_vgg_loss",
    ("vgg", "fig4b"): "fig12c_vgg_gradpred",
    ("vgg", "fig4c"): "fig12d_vgg_beta",
    ("dln", "fig4a"): "fig10a_dln_loss",
    ("dln", "fig4b"): "fig10b_dln_gradpred",
    ("dln", "fig4c"): "fig10c_dln_beta",
}
MODULE = '''"""Published numbers; made by `python tools/published_numbers.py CSV{study}`."""\n'''


def table(path: Path) -> dict[tuple[str, str], dict[str, tuple[float, ...]]]:
    """Numbers by network and figure, and by normaliser, to three digits."""
    found: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {}
    for (panel, norm), curve in read_published(path).items():
        for key in (key for key, name in PANELS.items() if name == panel):
            values = curve.high - curve.low if key[1] == "fig4a" else curve.high
            own = xarray.DataArray(values, {"probe_step": curve.steps}, ["probe_step"])
            numbers = (float(SUMMARIES[name](own)) for name in SUMMED_UP[key])
            found.setdefault(key, {})[norm] = digits(numbers, 3)
    return found


def forensics(published: Published) -> dict[str, dict[str, tuple[float, ...]]]:
    """First points and penalties by normaliser, to four digits."""
    penalties = {
        norm: readings.penalty(curve)
        for (panel, norm), curve in published.items()
        if panel == readings.LOSS
    }
    return {
        "NUMBERS": {n: digits(row, 4) for n, row in readings.first_numbers(published).items()},
        "PENALTIES": {norm: digits(found, 4) for norm, found in penalties.items()},
    }


def digits(numbers: Iterable[float], count: int) -> tuple[float, ...]:
    return tuple(float(f"{x:.{count}g}") for x in numbers)


def rows(numbers: Mapping[str, tuple[float, ...]], indent: str) -> str:
    lines = []
    for norm, row in numbers.items():
        inner = ", ".join(map(repr, row))
        lines.append(f'{indent}"{norm}": ({inner}{"," if len(row) == 1 else ""}),\n')
    return "".join(lines)


def main(path: Path, study: str = "landscape") -> None:
    """Print the table as a module."""
    print(MODULE.format(study="" if study == "landscape" else f" {study}"))
    if study == "forensics":
        comments = {
            "NUMBERS": "# The numbers of `readings.NUMBER_NAMES` at the first point of each curve.",
            "PENALTIES": "# The slope, C and the start of `readings.Penalty`.",
        }
        for name, numbers in forensics(read_published(path)).items():
            print(comments[name])
            print(f"{name}: dict[str, tuple[float, ...]] = {{\n{rows(numbers, '    ')}}}")
        return
    print("NUMBERS: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {")
    for key, numbers in table(path).items():
        print(f'    ("{key[0]}", "{key[1]}"): {{')
        print(rows(numbers, "        ") + "    },")
    print("}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
