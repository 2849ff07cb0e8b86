"""Tables of a page: facts of a run, ends of arms, options, the line that repeats it, two runs."""

import html
import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnjax.errors import UsageError
from bnjax.frame.files import plain
from bnjax.frame.folder import NOT_IN_DIGEST
from bnjax.frame.messages import printable
from bnjax.frame.results import Run, late
from bnjax.frame.study import Study
from bnjax.report import charts, curves
from bnjax.report.finished import FinishedRun

LATE = 0.1  # share of the steps over which minibatches are averaged
AXES = (("step",), ("test_step",), ("probe_step",))
TRAINING = {"optimizer": "{}", "lr": "learning rate {}", "steps": "{} steps"}
TRAINING |= {"batch_size": "batch {}"}
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
    names = [name for name in curves.drawable(run) if run[name].dims[len(lead) :] in AXES]
    names.sort(key=lambda name: run[name].dims[-1] == "probe_step")
    found: dict[str, dict[str, End]] = {}
    arms = {index[:-1]: arm for index, arm in curves.name_arms(run).items()}
    for name in names:
        axis = str(run[name].dims[-1])
        last = late(run[name], axis, LATE if axis == "step" else 0.0)
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
    drawn = any(map(charts.has_published, one.figures))
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


def compare(first: FinishedRun, second: FinishedRun) -> dict[str, Any]:
    """What differs between two runs, and what they have in common, as the page's template reads it.

    `options` and `surroundings` that differ; `claims` of both, of which `common` are judged in both
    runs and `changed` differently; `numbers` of the arms in both; arms `only_first`, `only_second`.
    """
    runs = (first, second)
    here, there = ends(first.run), ends(second.run)
    options = ({"study": one.name, **deciding(one.run.options)} for one in runs)
    surroundings = ({name: value(v) for name, v in one.run.facts.items()} for one in runs)
    own, other = ({claim["identifier"]: claim for claim in one.verdicts} for one in runs)
    both = own.keys() & other.keys()
    changed = {name for name in both if own[name]["verdict"] != other[name]["verdict"]}
    return {
        "options": differences(*options),
        "surroundings": differences(*surroundings),
        "claims": [
            {"claim": claim, "runs": (own.get(name), other.get(name)), "changed": name in changed}
            for name, claim in {**own, **other, **own}.items()
        ],
        "common": len(both),
        "changed": len(changed),
        "numbers": [
            (arm, quantity, a.text, b.text, change(a, b))
            for arm in here
            for quantity, a in here[arm].items()
            if (b := there.get(arm, {}).get(quantity)) is not None
        ],
        "only_first": [arm for arm in here if arm not in there],
        "only_second": [arm for arm in there if arm not in here],
    }


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The entries in which two mappings differ: name, first value, second value."""
    pairs = (
        (name, first.get(name, "not there"), second.get(name, "not there"))
        for name in {**first, **second}
    )
    return [(name, a, b) for name, a, b in pairs if a != b]


def change(first: End, second: End) -> str:
    """What became of a number: the difference, and by how much of the first."""
    if not (math.isfinite(first.middle) and math.isfinite(second.middle)):
        return "" if np.isnan([first.middle, second.middle]).all() else "one is not finite"
    difference = second.middle - first.middle
    if difference == 0:
        return "equal"
    share = f" ({difference / abs(first.middle):+.1%})" if first.middle else ""
    return f"{difference:+.3g}{share}"


PLACEHOLDERS = {"data_dir": "DIR", "published": "CSV"}
# Folders and display belong to the person who ran it; `deterministic` decides the last bits on a
# GPU.
LEFT_OUT = NOT_IN_DIGEST - {*PLACEHOLDERS, "yes", "deterministic"} | {"model"}
MOST_VALUES = 200  # of one option


def command(name: str, options: Mapping[str, Any], study: Study | None, script: str = "") -> str:
    """The command line of a run, shell-quoted: `bnjax landscape --lr 0.4`.

    Args:
      name: of the study.
      options: plain values of all options, as `config.json` has them.
      study: its presets' values are left out; without it every option is written down.
      script: as `Study.script` has it; a file that is not of bnjax is called by its name.

    Returns:
      A line in which `DIR` and `CSV` stand for folders and files of the person who ran it; plugins
      keep the names of their files.
    """
    preset, model = str(options.get("preset", "")), str(options.get("model", ""))
    presets = study.presets if study is not None else {}
    base: Mapping[str, Any] = {}
    if study is not None:
        try:
            base = plain(vars(study.preset(preset, model)))
        except (UsageError, TypeError):  # a preset of another version
            presets = {}
    foreign = script and not script.startswith("bnjax/studies/")
    line = ["python", script.rpartition(" ")[0]] if foreign else ["bnjax", name]
    if preset and preset != next(iter(presets), ""):
        line += ["--preset", preset]
    if model and (model != base.get("model") or f"{preset} {model}" in presets):
        line += ["--model", model]
    for option, value in options.items():
        own = words(option, value)
        if option not in LEFT_OUT and not (option in base and own == words(option, base[option])):
            line += own
    return shlex.join(line)


def words(name: str, value: Any) -> list[str]:
    """One option as words of a command line; a list of one value is that value."""
    dashed = name.replace("_", "-")
    if name in PLACEHOLDERS:
        return [] if value is None else [f"--{dashed}", PLACEHOLDERS[name]]
    if isinstance(value, bool):
        return [f"--{dashed}" if value else f"--no-{dashed}"]
    values = file_names(value) if name == "plugins" else value
    values = values if isinstance(values, list | tuple) else [values]
    texts = (repr(one) if isinstance(one, float) else str(one) for one in values[:MOST_VALUES])
    return [f"--{dashed}", *texts]


def file_names(paths: Any) -> list[str]:
    """Files without the folders of the person who has them."""
    given = paths if isinstance(paths, list | tuple) else [paths]
    return [Path(str(path)).name for path in given]
