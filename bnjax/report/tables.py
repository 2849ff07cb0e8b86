"""Tables of a page: facts of a run, how each arm ended, options, and two runs side by side."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bnjax.frame.folder import NOT_IN_DIGEST
from bnjax.frame.messages import printable
from bnjax.frame.results import Run, late
from bnjax.report import curves, overlays, thinning
from bnjax.report.command import file_names
from bnjax.report.finished import FinishedRun

LATE = 0.1  # share of the steps over which minibatches are averaged
AXES = ("step", "test_step", "probe_step")
TRAINING = {
    "optimizer": "{}",
    "lr": "learning rate {}",
    "steps": "{} steps",
    "batch_size": "batch {}",
}
# What an arm varies in place of an option of the run, by the name of its axis.
VARIED = {"variant": "optimizer", "multiple": "lr"}
VERSIONS = ("bnjax", "jax", "jaxlib", "flax", "optax", "numpy", "python")


class End(NamedTuple):
    """The end of one quantity over seeds."""

    middle: float
    low: float
    high: float
    seeds: int

    @property
    def text(self) -> str:
        """As a person reads it."""
        if not np.isfinite(self.middle):
            return "not finite"
        if self.seeds == 1:
            return f"{self.middle:.4g}"
        return f"{self.middle:.4g} [{self.low:.4g}, {self.high:.4g}]"


def ends(run: Run) -> dict[str, dict[str, End]]:
    """How each arm ended, by arm and quantity: median and range over seeds.

    Minibatch numbers are means over the last tenth of the steps; test numbers those of the last
    evaluation; numbers of probes those of the last probe, where they are one number.
    """
    lead = curves.leading(run)
    if not lead or lead[-1] != "seed":
        return {}
    names = [name for name in thinning.drawable(run) if run[name].dims[len(lead) :] in zip(AXES)]
    names.sort(key=lambda name: run[name].dims[-1] == "probe_step")
    found: dict[str, dict[str, End]] = {}
    arms = {index[:-1]: arm for index, arm in curves.name_arms(run).items()}
    for name in names:
        axis = str(run[name].dims[-1])
        last = late(run[name], axis, LATE if axis == "step" else 0)
        means = last.mean(axis, dtype=np.float64, skipna=False).values
        for index, arm in arms.items():
            own = means[index]
            finite = own[np.isfinite(own)] if np.isfinite(own).any() else np.array([np.nan])
            end = End(float(np.median(finite)), float(finite.min()), float(finite.max()), len(own))
            quantities = found.setdefault(arm, {})
            label = printable(run[name].attrs.get("long_name") or name, 200)
            quantities[f"{label} ({name})" if label in quantities else label] = end
    return found


def value(content: Any) -> str:
    """An option's value as text: a list without brackets, anything nested as JSON."""
    if content is None:
        return "none given"
    if isinstance(content, bool):
        return "yes" if content else "no"
    if isinstance(content, list) and not any(isinstance(part, list | dict) for part in content):
        return " ".join(map(str, content)) or "none"
    if isinstance(content, list | dict):
        return json.dumps(content, sort_keys=True)
    return f"{content:g}" if isinstance(content, float) else str(content) or "none"


def deciding(options: Mapping[str, Any]) -> dict[str, str]:
    """The options that make a difference to results; of plugins the names of the files."""
    return {
        name: value(file_names(content) if name == "plugins" else content)
        for name, content in options.items()
        if name not in NOT_IN_DIGEST
    }


def facts(one: FinishedRun) -> list[tuple[str, str]]:
    """What was run on what, in a few words each."""
    options, found = one.run.options, one.run.facts
    factors = {factor.name: factor for factor in curves.factors(one.run)}
    seeds = factors.pop("seed").values if "seed" in factors else ()
    varied = {*factors, *(VARIED[name] for name in factors if name in VARIED)}
    training = (
        form.format(value(options[name]))
        for name, form in TRAINING.items()
        if name in options and name not in varied
    )
    device = ", ".join(
        filter(None, dict.fromkeys(str(found.get(name, "")) for name in ("device", "platform")))
    )
    count = found.get("num_devices", 1)
    precision = f"training {options.get('precision', '')}"
    if "probe_precision" in options:
        precision += f", probes {options['probe_precision']}"
    drawn = any(map(overlays.has_published, one.figures))
    listed = {
        "Source": one.source,
        "Data set": value(found.get("dataset", options.get("dataset"))),
        "Network": f"{options.get('model', '')}, width {value(options.get('width'))}",
        "Arms": "; ".join(
            f"{factor.label}: {', '.join(map(html.unescape, factor.values))}"
            for factor in factors.values()
        ),
        "Training": ", ".join(training),
        "Seeds": " ".join(seeds) or "none",
        "Device": f"{count} × {device}" if count != 1 else device,
        "Precision": f"{precision}, {64 if found.get('float64') else 32} bits",
        "Versions": ", ".join(f"{name} {found[name]}" for name in VERSIONS if name in found),
        "Commit": value(found.get("commit") or "not known"),
        "Published curves": "drawn in the figures" if drawn else "none given",
        "Finished": one.date,
    }
    return [(name, text) for name, text in listed.items() if text]


class Claim(NamedTuple):
    """One claim in both runs; an empty mapping where a run does not have it."""

    identifier: str
    sentence: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]

    @property
    def changed(self) -> bool:
        """Whether both runs have it with different verdicts."""
        return self.is_common and self.first["verdict"] != self.second["verdict"]

    @property
    def is_common(self) -> bool:
        """Whether both runs have it."""
        return bool(self.first and self.second)


class Row(NamedTuple):
    """One quantity of one arm in both runs."""

    arm: str
    quantity: str
    first: str
    second: str
    change: str


class Comparison(NamedTuple):
    """All that differs between two runs, and what they have in common to be looked at."""

    options: Sequence[tuple[str, str, str]]
    surroundings: Sequence[tuple[str, str, str]]
    claims: Sequence[Claim]
    numbers: Sequence[Row]
    only_first: Sequence[str]  # arms
    only_second: Sequence[str]

    @property
    def common(self) -> int:
        """The number of claims that both runs have."""
        return sum(claim.is_common for claim in self.claims)

    @property
    def changed(self) -> int:
        """The number of claims whose verdicts differ."""
        return sum(claim.changed for claim in self.claims)


def compare(first: FinishedRun, second: FinishedRun) -> Comparison:
    """Set two runs side by side; runs of two studies have fewer things in common."""
    here, there = ends(first.run), ends(second.run)
    rows = [
        Row(arm, quantity, a.text, b.text, change(a, b))
        for arm in here
        for quantity, a in here[arm].items()
        if (b := there.get(arm, {}).get(quantity)) is not None
    ]
    runs = (first, second)
    options = ({"study": one.name, **deciding(one.run.options)} for one in runs)
    surroundings = ({name: value(v) for name, v in one.run.facts.items()} for one in runs)
    return Comparison(
        options=differences(*options),
        surroundings=differences(*surroundings),
        claims=pair_claims(first.verdicts, second.verdicts),
        numbers=rows,
        only_first=[arm for arm in here if arm not in there],
        only_second=[arm for arm in there if arm not in here],
    )


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The entries in which two mappings differ: name, first value, second value."""
    pairs = (
        (name, first.get(name, "not there"), second.get(name, "not there"))
        for name in {**first, **second}
    )
    return [(name, a, b) for name, a, b in pairs if a != b]


def pair_claims(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]
) -> list[Claim]:
    """The claims of both runs by identifier, in the first one's order."""
    own, other = ({claim["identifier"]: claim for claim in claims} for claims in (first, second))
    return [
        Claim(
            name, (own.get(name) or other[name])["sentence"], own.get(name, {}), other.get(name, {})
        )
        for name in {**own, **other}
    ]


def change(first: End, second: End) -> str:
    """What became of a number: the difference, and by how much of the first."""
    if not (math.isfinite(first.middle) and math.isfinite(second.middle)):
        return "" if np.isnan([first.middle, second.middle]).all() else "one is not finite"
    difference = second.middle - first.middle
    if difference == 0:
        return "equal"
    share = f" ({difference / abs(first.middle):+.1%})" if first.middle else ""
    return f"{difference:+.3g}{share}"
