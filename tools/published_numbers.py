"""Print the published numbers of the landscape, computed from the published curves.

python tools/published_numbers.py santurkar_published_curves.csv

The functions are those that sum up a run, so that width stands beside width and the same part of a
run beside the same part. The output is `bnjax/studies/landscape/published.py`.
"""

import sys
from pathlib import Path

import xarray

from bnjax.frame.published_curves import read_published
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


def table(path: Path) -> dict[tuple[str, str], dict[str, tuple[float, ...]]]:
    """Numbers by network and figure, and by normaliser, to three digits."""
    found: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {}
    for (panel, norm), curve in read_published(path).items():
        for key in (key for key, name in PANELS.items() if name == panel):
            values = curve.high - curve.low if key[1] == "fig4a" else curve.high
            own = xarray.DataArray(values, {"probe_step": curve.steps}, ["probe_step"])
            numbers = (float(SUMMARIES[name](own)) for name in SUMMED_UP[key])
            found.setdefault(key, {})[norm] = tuple(float(f"{x:.3g}") for x in numbers)
    return found


def main() -> None:
    """Print the table as a module."""
    print('"""Published numbers; made by `python tools/published_numbers.py CSV`."""\n')
    print("NUMBERS: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {")
    for key, rows in table(Path(sys.argv[1])).items():
        print(f'    ("{key[0]}", "{key[1]}"): {{')
        for norm, numbers in rows.items():
            inner = ", ".join(map(repr, numbers))
            print(f'        "{norm}": ({inner}{"," if len(numbers) == 1 else ""}),')
        print("    },")
    print("}")


if __name__ == "__main__":
    main()
