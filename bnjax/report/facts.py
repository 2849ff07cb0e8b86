"""What was run on what, in a few words each."""

import html

import numpy as np

from bnjax.frame.results import Run as Results
from bnjax.report import beside, curves, tables
from bnjax.report.content import Run

TRAINING = {
    "optimizer": "{}",
    "lr": "learning rate {}",
    "steps": "{} steps",
    "batch_size": "batch {}",
}


def draws_published(run: Run) -> bool:
    """Whether its figures were drawn with published curves."""
    return bool(run.published) or any(map(beside.has_published, run.figures))


def facts(run: Run) -> list[tuple[str, str]]:
    """What was run on what."""
    config, found = run.results.config, run.results.facts
    seeds = run.results.axes.get("seed", np.empty(0)).tolist()
    count = found.get("num_devices", 1)
    kinds = (str(found.get("device", "")), str(found.get("platform", "")))
    device = ", ".join(filter(None, dict.fromkeys(kinds)))
    versions = ("bnjax", "jax", "jaxlib", "flax", "optax", "numpy", "python")
    listed = [
        ("Data set", tables.value(found.get("dataset", config.get("dataset")))),
        ("Network", f"{config.get('model', '')}, width {tables.value(config.get('width'))}"),
        ("Arms", arms(run.results)),
        ("Training", training(run.results)),
        ("Seeds", " ".join(map(str, seeds)) or "none"),
        ("Device", f"{count} × {device}" if count != 1 else device),
        (
            "Precision",
            f"training {config.get('precision', '')}"
            + (f", probes {config['probe_precision']}" if "probe_precision" in config else "")
            + (", 64 bits" if found.get("float64") else ", 32 bits"),
        ),
        ("Versions", ", ".join(f"{name} {found[name]}" for name in versions if name in found)),
        ("Commit", tables.value(found.get("commit") or "not known")),
        (
            "Published curves",
            f"{len(run.published)} given"
            if run.published
            else "drawn in the figures"
            if draws_published(run)
            else "none given",
        ),
    ]
    return [*listed, *([("Finished", run.date)] if run.date else [])]


def arms(results: Results) -> str:
    """The factors in which arms differ, each with its values."""
    return "; ".join(
        f"{factor.label}: {', '.join(map(html.unescape, factor.values))}"
        for factor in curves.factors(results)
        if factor.name != "seed"
    )


def training(results: Results) -> str:
    """How all arms were trained; in what they differ is said of the arms."""
    config, varied = results.config, set(curves.outer(results))
    if "variant" in varied:
        varied |= {"optimizer"}
    if "multiple" in varied:
        varied |= {"lr"}
    return ", ".join(
        form.format(tables.value(config[name]))
        for name, form in TRAINING.items()
        if name in config and name not in varied
    )
