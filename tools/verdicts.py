"""Keep the arrays of finished runs, and judge all that are kept.

    python tools/verdicts.py runs/landscape/0123456789ab runs/shift/*    # take in, then judge
    python tools/verdicts.py                                             # judge what is kept

`figures/results/` holds a compressed `results.nc` of each run; `docs/verdicts.md` is what today's
rules say of them. Whoever has the arrays reaches the same verdicts.
"""

import gzip
import sys
from collections import Counter
from pathlib import Path

from bnjax.commands.command_line import guarded
from bnjax.draw import quiet
from bnjax.errors import RunError
from bnjax.frame import folder, results
from bnjax.frame import study as studies
from bnjax.frame.results import Run
from bnjax.judge import kit
from bnjax.judge.verdict import Number, Verdict
from bnjax.report.page import command

ROOT = Path(__file__).parents[1]
ARRAYS, PAGE = ROOT / "figures" / "results", ROOT / "docs" / "verdicts.md"
SUFFIX = ".nc.gz"
HEAD = """# Verdicts from arrays that are kept

Each row is judged by today's rules from the arrays in `figures/results/`;
`python tools/verdicts.py` judges them anew. The networks and data are those of each study's
default, which anybody can repeat in minutes on two CPU cores. They say what holds at that scale;
[findings](findings.md) has the paper's.

"""
COUNT = """{claims} claims were tested in {runs} runs: {supported} supported, {refused} not
supported, {open} inconclusive. An interval of 95 % misses in one case of twenty, so a few of so
many verdicts are wrong by chance: look at the size of a ratio, and how far its interval is from 1.

"""


def take(run: Path) -> None:
    """Keep the arrays of a finished run, in place of those of its study that are there."""
    if not folder.is_finished(run) or folder.damaged_results(run):
        raise RunError(f"{run} is not finished, or damaged: give the command that made it again")
    record = folder.read_config(run)
    content = (run / folder.RESULTS).read_bytes()
    ARRAYS.mkdir(exist_ok=True)
    # Without a name and a time inside, equal arrays are equal files.
    (ARRAYS / f"{record.study}{SUFFIX}").write_bytes(gzip.compress(content, mtime=0))


def kept() -> dict[str, Run]:
    """The runs whose arrays are kept, by study."""
    return {
        path.name.removesuffix(SUFFIX): results.parse(gzip.decompress(path.read_bytes()))
        for path in sorted(ARRAYS.glob(f"*{SUFFIX}"))
    }


def judge(name: str, run: Run) -> list[Verdict]:
    """What a study says of a run, by today's rules."""
    with quiet():
        return list(kit.verdicts(run, studies.find(name).part("CLAIMS", ())))


def page() -> str:
    """The page of all verdicts."""
    runs = kept()
    judged = {name: judge(name, run) for name, run in runs.items()}
    counted = Counter(one.verdict for verdicts in judged.values() for one in verdicts)
    count = COUNT.format(
        claims=counted.total(),
        runs=len(runs),
        supported=counted["supported"],
        refused=counted["not supported"],
        open=counted["inconclusive"],
    )
    return HEAD + count + "".join(section(name, runs[name], judged[name]) for name in runs)


def section(name: str, run: Run, verdicts: list[Verdict]) -> str:
    """A study's part of the page."""
    study = studies.find(name)
    line = command(name, run.options, study).replace(f"bnjax {name}", f"{name}.py", 1)
    seeds = f"{len(run.seeds)} seed{'s' * (len(run.seeds) > 1)}"
    head = (
        f"## [{name}](../bnjax/studies/{name}/page.md)\n\n"
        f"{study.question} `python experiments/{line}`: {run.facts['dataset']}, {seeds}, commit "
        f"{run.facts['commit']}, jax {run.facts['jax']}.\n\n"
        "| claim | verdict | number, 95 % interval over seeds |\n|---|---|---|\n"
    )
    return head + "".join(map(row, verdicts)) + "\n"


def row(verdict: Verdict) -> str:
    """A claim, and what decided it: its numbers, or the reason why none could."""
    numbers = "; ".join(map(told, verdict.numbers))
    reason = verdict.reason if verdict.verdict == "inconclusive" or not numbers else ""
    shown = "; ".join(filter(None, (numbers, reason)))
    cells = (f"{verdict.identifier}: {verdict.sentence}", verdict.verdict, shown)
    return "".join(f"| {cell} ".replace("\n", " ") for cell in map(escaped, cells)) + "|\n"


def escaped(cell: str) -> str:
    """A text that ends no cell."""
    return cell.replace("|", "\\|")


def told(number: Number) -> str:
    """A number with its interval, where there is one."""
    factor = 100 if number.unit == "points" else 1  # numbers are shares
    value, *ends = (factor * x for x in (number.estimate, number.low, number.high))
    interval = "" if any(end != end for end in ends) else " [{:.3g}, {:.3g}]".format(*ends)
    unit = f" {number.unit}" if number.unit else ""
    return f"{number.name} {value:.3g}{interval}{unit}"


def main(names: list[str]) -> int:
    """Take in these runs and write the page; the exit status."""

    def act() -> None:
        for name in names:
            take(Path(name))
        PAGE.write_text(page(), encoding="utf-8")

    return guarded(act, names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
