"""Rules changed in one place, as a slip would change them: a recomputation has to notice each.

A mutant is a text of `bnjax/judge` or of a study's `claims.py` put in the place of another one. The
changed module, and all that builds on it, are executed anew beside those that are imported.
"""

import ast
import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import drawn_runs
import pytest
import recomputed

from bnjax.draw import quiet

ROOT = Path(__file__).parents[1] / "bnjax"
# Studies that others import come first.
BASES = ("landscape", "distributions", "vgg_training")
ORDER = (
    *(f"bnjax.judge.{name}" for name in ("verdict", "compare", "kit", "curves")),
    *(f"bnjax.studies.{name}.claims" for name in dict.fromkeys((*BASES, *drawn_runs.MAKE))),
)


class Mutant(NamedTuple):
    module: str
    old: str
    new: str

    def __str__(self) -> str:
        return (
            f"{self.module.split('.')[-2 if 'studies' in self.module else -1]}: {self.new.strip()}"
        )


def path_of(module: str) -> Path:
    return ROOT.parent / f"{module.replace('.', '/')}.py"


# Module, then pairs of texts. What decides nothing (words, notes, numbers that are shown) is left.
CHANGES: dict[str, tuple[tuple[str, str], ...]] = {
    "judge.verdict": (
        ("CONFIDENCE = 0.95", "CONFIDENCE = 0.9"),
        ("centre, half = float(own.mean())", "centre, half = float(np.median(own))"),
        ("ddof=1", "ddof=0"),
        ("stdtrit(len(own) - 1", "stdtrit(len(own)"),
        ("low, high = min(low, least), max(high, most)", "low, high = low, high"),
        ("low, high = min(low, least), max(high, most)", "low, high = least, most"),
        ("number.estimate / self.minimal, number", "number.estimate, number"),
        ("if len(set(sides)) == 1 and sides[0]", "if sides[0]"),
        ("if all(scale.bounds(n)[0]", "if any(scale.bounds(n)[0]"),
        (">= self.threshold / scale.minimal for", ">= self.threshold for"),
        ("if all(scale.side(number, self.threshold)", "if any(scale.side(number, self.threshold)"),
        ("if all(self.low < low", "if any(self.low < low"),
        ("if a > self.threshold or b < self.low", "if b > self.threshold or a < self.low"),
        ("RATIO = Scale(MINIMAL_FACTOR, ratio=True)", "RATIO = Scale(MINIMAL_FACTOR)"),
    ),
    "judge.compare": (
        ('"step", LAST_TENTH).median(', '"step", LAST_TENTH).mean('),
        ("if not final < TRAINED * chance", "if not final < chance"),
        ('axis)["train_loss"]:', 'axis)["train_loss"][:1]:'),
        ("(left < TRAINED * chance) & (right", "(left < TRAINED * chance) | (right"),
        ("np.log(left[first])[:, None] - np.log(right[second])",
         "left[first][:, None] - right[second]"),
        ("order = gaps + 1e-9 *", "order = gaps - 1e-9 *"),
        ("mutual = back[nearest] ==", "mutual = back[nearest] >= 0 *"),
        ("first[mutual & near], second[nearest[mutual & near]]",
         "first[mutual], second[nearest[mutual]]"),
        ('"equal step", equal_step, f', '"equal step", equal_loss, f'),
        ('"equal step", equal_step, f', '"equal step", same_step, f'),
        ("    equal_loss,\n", "    equal_step,\n"),
        ("ratio = left / right", "ratio = right / left"),
        ("np.exp(np.median(np.log(ratio)))", "np.median(ratio)"),
        ("np.exp(np.median(np.log(ratio)))", "np.exp(np.mean(np.log(ratio)))"),
        ("min(len(left), ratio.size)", "ratio.size"),
        ('step=run.values("probe_step"))', 'step=[x + 1 for x in run.values("probe_step")])'),
        ("[rows[1]]", "[rows[0]]"),
    ),
    "judge.kit": (
        ("= (EQUAL_STEP, EQUAL_LOSS)", "= (EQUAL_STEP,)"),
        ("= (EQUAL_STEP, EQUAL_LOSS)", "= (EQUAL_LOSS,)"),
        ('above: Any = "none"\n    below: Any = "{norm}"',
         'above: Any = "{norm}"\n    below: Any = "none"'),
        ("np.where(np.isinf(side), steps,", "np.where(np.isinf(side), 2 * steps,"),
        ("if at_least and at_most", "if at_least or at_most"),
        (" or (self.scale.ratio and not positive)",
         " or (self.scale.ratio and (found <= 0).any())"),
        ("gate: Gate = TRAINS", "gate: Gate = FINITE"),
        ('"inconclusive" if barred else found.decision', "found.decision"),
        ("if found.decision in c.of and (why := c.why_not(run, arms))",
         "if (why := c.why_not(run, arms))"),
        ("n not in apart and (not self.only or n in self.only)", "n not in apart"),
        ('late(values, "probe_step").median("seed"', 'values.median("seed"'),
        ('late(values, "probe_step").median("seed"', 'late(values, "probe_step").mean("seed"'),
        ("(np.abs(last - self.target) < self.within).all()",
         "(np.abs(last - self.target) < self.within).any()"),
        ("float(own.mean()) for own in values", "float(own.fillna(0).mean()) for own in values"),
        ("largest, n = float(values.max())", "largest, n = float(values.median())"),
        ("found = left / right if", "found = right / left if"),
        ("else left - right", "else right - left"),
    ),
    "judge.curves": (
        ('smooth(curve.values, run.options["window"])', "curve.values"),
        ('reached.argmax("step") + 1.0', 'reached.argmax("step") + 0.0'),
        ("values.shape[:-1], window - 1)", "values.shape[:-1], window)"),
        ('LAST_TENTH).median("step"', 'LAST_TENTH).mean("step"'),
        ("rows[-1] = True", "rows[:] = True"),
        ("(spread > EQUAL_FIT_POINTS).any()", "(spread > EQUAL_FIT_POINTS).all()"),
        ("fitted_accuracy(run) - test_accuracy(run)", "test_accuracy(run) - fitted_accuracy(run)"),
    ),
    "landscape": (
        (' - losses.min("step_size", skipna=False)', ""),
        ('"gradient_distances").max(', '"gradient_distances").median('),
        ('"smoothness").max(', '"smoothness").min('),
        ('{name}"].sel(direction="gradient")', '{name}"].isel(direction=-1)'),
        ("argmin(\"step_size\")", "argmax(\"step_size\")"),
        (" and cosine < -1 + EDGE_TOLERANCE:", ":"),
        (" and left < VANISHED:", ":"),
        ('return late(along(run, name).isel(step_size=nearest), "probe_step")',
         "return along(run, name).isel(step_size=nearest)"),
        ("        conditions=(PLAIN_SGD,),\n", ""),
        ('"cosines").median())', '"cosines").max())'),
    ),
    "shift": (
        ("slice(1, None)", "slice(0, None)"),
        ("NotBelow(),", "NotBelow(1.1),"),
        ('above="{norm}",\n        below="none"', 'above="none",\n        below="{norm}"'),
    ),
    "spectrum": (
        ('run["spectrum_largest"].isel(rank=0)', 'run["spectrum_largest"].isel(rank=1)'),
        ('/ run["spectrum_largest"].isel(rank=-1)', '/ run["spectrum_largest"].isel(rank=1)'),
        ('fraction"].isel(rank=-1)', 'fraction"].isel(rank=0)'),
        ("quantity.of(run).isel(statistics=0)", "quantity.of(run).isel(statistics=-1)"),
        ("first(ISOLATION),\n        loss=LOSS,\n", "first(ISOLATION),\n"),
        ("            at=(EQUAL_STEP,),\n", ""),
        ('above=kind,\n            below="batch"', 'above="batch",\n            below=kind'),
        (".where(below)", ""),
        ('                of=("supported",),\n', ""),
        ('* run.options["lr"] / 2', '* run.options["lr"]'),
        ("within=EDGE_TOLERANCE", "within=2 * EDGE_TOLERANCE"),
        ("        conditions=(PLAIN_SGD,),\n", ""),
        ("            when=keeps_statistics,\n", ""),
        ("np.sqrt(variance.mean(", "np.sqrt(variance.max("),
    ),
    "theory": (
        ("(values >= 0).where(reached(values))", "(values >= 0)"),
        ("convex(run) * aligned(run)", "convex(run)"),
        ("                loss=PROBED_LOSS,\n", ""),
        (', of=("not supported",)', ""),
        ("run[field].isnull() & reached(run[field])", "run[field].isnull() & False"),
        ("        gate=WHEREVER,\n", ""),
        ('above="none",\n                below="batch"',
         'above="batch",\n                below="none"'),
        ("abs(run[field])", "run[field]"),
        ('1e-10 if run.options["float64"] else 1e-3', "1e-10"),
    ),
    "sharpness": (
        ('["sharpness_mean"] * run["update_learning_rate"] / 2', '["sharpness_mean"] / 20.0'),
        ('/ run["update_edge"]', "/ 20.1"),
        ('run["spherical_product"] / 2', 'run["spherical_product"]'),
        ('.median("hidden_layer", skipna=False)', '.max("hidden_layer", skipna=False)'),
        ("smooth(values.values, PROBES)", "values.values"),
        ('.min("probe_step") + 1)', '.min("probe_step"))'),
        ('"probe_step").median("probe_step", skipna', '"probe_step").max("probe_step", skipna'),
        ('late(of(run), "probe_step")', "of(run)"),
        ('["spherical_invariance"].median()', '["spherical_invariance"].min()'),
        (' and run.options["weight_decay"] > 0', ""),
        ('above="{norm}",\n        below="none"', 'above="none",\n        below="{norm}"'),
        ("        at=(EQUAL_STEP,),\n", ""),
        ('above="running",\n        below="recalibrated"',
         'above="recalibrated",\n        below="running"'),
        ('sel(statistics="batch")', 'sel(statistics="frozen")'),
        ("method=\"nearest\")", 'method="bfill")'),
    ),
    "gradient_magnitudes": (
        ("        at=(SAME_STEP,),\n", ""),
        ('above=kind,\n        below="kernel"', 'above="kernel",\n        below=kind'),
        ('"cancelled_bias") / mean(run, "shift")', '"cancelled_bias") / mean(run, "kernel")'),
        ("        gate=ANY_NETWORK,\n", ""),
    ),
    "noisy_batchnorm": (
        ('LAST_TENTH).mean("step"', 'LAST_TENTH).median("step"'),
        ("max(5, num_steps // 50)", "max(3, num_steps // 50)"),
        (" + (window - 1)", ""),
        ('above=other,\n        below="noisy_batch"', 'above="noisy_batch",\n        below=other'),
        ('< float("inf")', '<= float("inf")'),
        ('"inconclusive" if standard else found', "found"),
        ('"supported" if noise else "not supported"', '"not supported" if noise else "supported"'),
        ("        scale=MINIBATCHES,\n", ""),
        ('            each="shown_layer",\n', ""),
    ),
    "distributions": (
        ('.mean("percentile", skipna=False)', '.max("percentile", skipna=False)'),
        ('run["distributions_deviation"] ** 2', 'run["distributions_deviation"]'),
        ("(deviation.shift(probe_step=-1) + deviation)", "(2 * deviation)"),
        ('        "each": "shown_layer",\n', ""),
        ("        each=PLACE,\n", ""),
        ('("drift", "mean", "variance"):', '("drift", "mean"):'),
        ("        but=LP_NORMS,\n", ""),
        ('drift(run, "channel_percentiles")', "drift(run)"),
        ("Within(1 / MARGINAL, MARGINAL)", "Within(0.0, MARGINAL)"),
    ),
    "earth_mover": (
        ("np.median(left / right, axis=0)", "np.mean(left / right, axis=0)"),
        ("arms, EQUAL_STEP, run.facts", "arms, compare.EQUAL_LOSS, run.facts"),
        ("np.polyfit(np.log(dims)", "np.polyfit(dims"),
        ('        but=("unitize",),\n', ""),
        ("        rule=NotBelow(),\n", ""),
        ("scale=Scale(0.1)", "scale=Scale(0.2)"),
        ('values.median("probe_step"', 'values.mean("probe_step"'),
        ("if any(RATIO.side(number, BINDING)", "if all(RATIO.side(number, BINDING)"),
        ("elif any(RATIO.side(number, LOOSE)", "elif all(RATIO.side(number, LOOSE)"),
        ('above=rival,\n        below="unitize"', 'above="unitize",\n        below=rival'),
        ('run["earth_mover_scaled"] / run["earth_mover_deviation"]', 'run["earth_mover_scaled"]'),
        ('run["earth_mover_norm_bound"] / run["earth_mover_exact"]',
         'run["earth_mover_norm_bound"]'),
    ),
    "sigmoid_mnist": (
        (".clip(min=1)", ""),
        ("values = values.where(measured)", "values = values.fillna(0)"),
        ("values.isel(percentile=-1) - values", "values.isel(percentile=1) - values"),
        ("return width.where(width > 0)", "return width"),
        ('wander(run).median("channel")', 'wander(run).mean("channel")'),
        ('spreads(values)).median("channel")', 'spreads(values)).mean("channel")'),
        ("share == 1 and relative", "relative"),
        ("0.5 * together", "0.6 * together"),
        ("(values < 0.5 * together).all()", "(values < 0.5 * together).any()"),
        ('where={"statistics": "running"}', 'where={"statistics": "batch"}'),
        (' / last(run, "largest")', ""),
        ('spreads(values).mean("probe_step")', 'spreads(values).max("probe_step")'),
    ),
    "surface": (
        ('mean.median("line"', 'mean.mean("line"'),
        ('np.fmax(NEAR, places.where(places != 0).min("column"))', "NEAR"),
        (") / 4\n", ") / 2\n"),
        ("slice(2)).sum", "slice(3)).sum"),
        ("== (error > other)]", "== (error < other)]"),
        ("        scale=RATIO,\n", ""),
        ("norm for norm in fates if not fates[norm]", "norm for norm in fates"),
        ('values.median("seed", skipna=False) for', 'values.mean("seed", skipna=False) for'),
        ("np.mean(lowest < -NEGATIVE * largest", "np.mean(lowest < -NEGATIVE"),
        ('- at_centre(run, "losses")', '- run["lines_losses"].isel(column=0)'),
        ('len({*agree}) == 1', "agree"),
    ),
    "batchnorm_only": (
        ('name: str, end: str = "after"', 'name: str, end: str = "before"'),
        ('ended(run, "zeros") - ended(run, "zeros", "before")', 'ended(run, "zeros")'),
        ('"axis": "trained", "above": "bn"', '"axis": "trained", "above": "all"'),
        ("- FAR * chance_accuracy(run)", "- chance_accuracy(run)"),
        ('ended(run, "clamped_accuracy", threshold=SWITCHED_OFF)',
         'ended(run, "clamped_accuracy", threshold=0.0)'),
        ("run.data.sizes[factor] > 1", "run.data.sizes[factor] > 2"),
    ),
    "batch_size": (
        ("above=large,\n        below=small,\n        when",
         "above=small,\n        below=large,\n        when"),
        ("arms, EQUAL_STEP)", "arms, EQUAL_STEP._replace(minimum=1))"),
        ('arms = "none", "batch"', 'arms = "batch", "none"'),
        ('above="{norm}",\n        below="batch"', 'above="batch",\n        below="{norm}"'),
        (")(run.sel(batch_size=small))", ')(run.sel(batch_size=run.values("batch_size")[-1]))'),
        ("return models.norms.by_name(norm).batch_statistics", "return True"),
        ("above=large,\n        below=small,\n        at",
         "above=small,\n        below=large,\n        at"),
    ),
    "vgg_training": (
        ("        conditions=(EQUALLY_FITTED,),\n", ""),
        ("if none and not own", "if none"),
        ("if ahead and behind", "if False"),
        ("if all(reasons)", "if any(reasons)"),
        ('"quantity": ACCURACY, "above": "{norm}"', '"quantity": LOSS, "above": "{norm}"'),
        ('"above": "batch", "only": LP_NORMS, "rule"', '"above": "batch", "rule"'),
        ('return bool(run.options["model"] != "dln")', "return True"),
        ('        only=("l1",),\n', ""),
    ),
    "optimizers": (
        ("curves.test_accuracy(run).fillna(0.0)", "curves.test_accuracy(run)"),
        ("(behind > FAILS).all()", "(behind > FAILS).any()"),
        ('argmin("multiple")', 'argmax("multiple")'),
        ("reduce(np.ptp", "reduce(np.std"),
        ("isel(averaged=0)", "isel(averaged=1)"),
        ("min(1.0, 2 * float(", "min(1.0, float("),
        ("(up + down - (up - down) ** 2 / images)", "(up + down)"),
        ("not found.low <= 0 <= found.high", "found.estimate != 0"),
        ("np.isfinite(steps_at_best(run).sel(variant=arm)).all()", "True"),
        ('"supported" if own > none', '"supported" if own < none'),
        ("differences / sizes.where(sizes != 0, 1.0)", "differences"),
        ("k for k in run.values(\"kernel\") if not k.startswith(\"output\")",
         "k for k in run.values(\"kernel\")"),
        ("elif stays > ALIKE", "elif False"),
        ("dead = all(", "dead = any("),
        ('above="SGD",\n    below="Adam"', 'above="Adam",\n    below="SGD"'),
        ("if not first - second > EQUAL_FIT_POINTS",
         "if not abs(first - second) > EQUAL_FIT_POINTS"),
        ("(norm for norm in run.norms if norm != \"none\")", "run.norms"),
        ('decision: Decision = "supported" if centre > 0',
         'decision: Decision = "supported" if centre < 0'),
    ),
}  # fmt: skip
# Bare numbers of the modules that decide nothing.
SHOWN = {("landscape", "EARLY[0]"), ("surface", "PUBLISHED_SHARE[1]")}


def full(name: str) -> str:
    return f"bnjax.{name}" if name.startswith("judge.") else f"bnjax.studies.{name}.claims"


def written() -> Iterator[Mutant]:
    for name, changes in CHANGES.items():
        for old, new in changes:
            yield Mutant(full(name), old, new)


def of_constants() -> Iterator[Mutant]:
    """Every bare number that a module gives a name in capitals, larger by a third."""
    for module in ORDER:
        source = path_of(module).read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.Assign):
                yield from larger(module, source, node)


def larger(module: str, source: str, node: ast.Assign) -> Iterator[Mutant]:
    target, several = node.targets[0], isinstance(node.value, ast.Tuple)
    values = node.value.elts if several else [node.value]
    names = [f"{ast.unparse(target)}[{place}]" for place, _ in enumerate(values)]
    if isinstance(target, ast.Tuple):
        names = [ast.unparse(one) for one in target.elts]
    old = ast.get_source_segment(source, node)
    for name, value in zip(names, values, strict=False):
        shown = (module.split(".")[-2], name) in SHOWN
        if isinstance(value, ast.Constant) and type(value.value) in (int, float) and not shown:
            begin, end = value.col_offset - node.col_offset, value.end_col_offset - node.col_offset
            yield Mutant(module, old, f"{old[:begin]}{4 / 3 * value.value}{old[end:]}")


CODE = {}


def code_of(module: str) -> types.CodeType:
    if module not in CODE:
        path = path_of(module)
        CODE[module] = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    return CODE[module]


def load(mutant: Mutant, patch: pytest.MonkeyPatch) -> dict[str, types.ModuleType]:
    """The changed module and all that come after it; others are those that are imported."""
    source = path_of(mutant.module).read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1, f"{mutant.module} has {mutant.old!r} not once: renew it"
    found = {}
    for name in ORDER[ORDER.index(mutant.module) :]:
        module = types.ModuleType(name)
        parent, _, child = name.rpartition(".")
        importlib.import_module(parent)
        patch.setitem(sys.modules, name, module)
        patch.setattr(sys.modules[parent], child, module, raising=False)
        changed = name == mutant.module
        exec(source.replace(mutant.old, mutant.new) if changed else code_of(name), module.__dict__)
        found[name] = module
    return found


def first_difference(mutant: Mutant, count: int) -> str:
    """What the recomputation says first against a mutant; empty if it never notices."""
    with pytest.MonkeyPatch.context() as patch:
        changed = load(mutant, patch)
        kit = changed.get("bnjax.judge.kit", sys.modules["bnjax.judge.kit"])
        own = {name.split(".")[2]: module for name, module in changed.items() if "studies" in name}
        if "studies" in mutant.module:
            users = {"landscape": "batch_size", "distributions": "noisy_batchnorm"}
            users["vgg_training"] = "lp_norms"
            study = mutant.module.split(".")[2]
            own = {name: own[name] for name in (study, users.get(study, study))}
        for place in range(count):
            for study, module in own.items():
                run, expected = cases(study, count)[place]
                try:
                    with quiet():
                        said = [as_saved(one) for one in kit.verdicts(run, module.CLAIMS)]
                except Exception as error:  # a mutant that cannot judge
                    return f"{study}: {error!r}"
                if found := recomputed.differences(expected, said):
                    return f"{study} {place}: {found[0]}"
    return ""


def as_saved(verdict) -> dict:
    return verdict._asdict() | {"numbers": [number._asdict() for number in verdict.numbers]}


CASES = {}


def cases(study: str, count: int) -> list:
    """Runs of a study, each with what the recomputation says of it."""
    if len(CASES.get(study, ())) < count:
        runs = drawn_runs.drawn(study, count)
        CASES[study] = [(run, recomputed.recompute(study, plain(run))) for run in runs]
    return CASES[study]


def plain(run) -> recomputed.Run:
    return recomputed.Run(run.data, dict(run.options), dict(run.facts))
