"""Verdicts are those of a recomputation that shares nothing with the kit but the rules' text."""

import ast
import collections
import json
import re
from pathlib import Path

import drawn_runs
import mutants
import pytest
import recomputed
from synthetic import N, S, U

from bnjax.draw import quiet
from bnjax.frame import files, folder, results
from bnjax.frame import study as studies
from bnjax.judge import kit
from bnjax.report.publish import plain_verdict

RUNS = 14


def judged(study, run):
    """The verdicts of a study's claims as a summary has them."""
    with quiet():
        found = kit.verdicts(run, studies.find(study).part("CLAIMS"))
    return [plain_verdict(one) for one in found]


@pytest.mark.parametrize("study", drawn_runs.MAKE)
def test_arrays_and_text_give_every_verdict_and_all_its_numbers(study):
    seen = collections.defaultdict(set)
    for run, expected in mutants.cases(study, RUNS):
        found = judged(study, run)
        assert recomputed.differences(expected, found) == []
        for one in found:
            seen[kind_of(one["identifier"])].add(one["verdict"])
    for kind, verdicts in seen.items():
        assert verdicts >= MEETS.get(kind, {S, N, U}), kind


def kind_of(identifier):
    """An identifier without its normaliser, layer, rate and network."""
    own = "none|batch|noisy_batch|noise|l1|l2|linf|layer|group|unitize"
    return re.sub(rf"(?<!fig2)-({own})(?=-|$)|-lr[\d.]+|-depth-\d+|-conv\d", "", identifier)


# Rules without one of the three verdicts.
MEETS = {"edge": {S, U}, "cancelled": {S, N}, "lr0.1": {N}, "lr0.5": {N}}


def test_every_study_is_recomputed_by_code_that_imports_nothing_of_bnjax():
    assert [*recomputed.STUDIES] == [*drawn_runs.MAKE] == studies.names()
    tree = ast.parse(Path(recomputed.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in imports}
    standard = {"ast", "collections.abc", "itertools", "json", "math", "pathlib", "sys"}
    standard |= {"typing", "warnings"}
    assert names - standard == {"numpy", "xarray"}


def test_a_stranger_recomputes_a_folder_and_sees_what_was_changed_in_it(tmp_path, capsys):
    place = tmp_path / "landscape" / "0123456789ab"
    place.mkdir(parents=True)
    (run,) = drawn_runs.drawn("landscape", 1)
    (place / folder.RESULTS).write_bytes(results.encode(run))
    verdicts = judged("landscape", run)
    files.write_json(place / folder.SUMMARY, {"verdicts": verdicts})
    assert recomputed.main([str(place)]) == 0
    changed = json.loads((place / folder.SUMMARY).read_text())
    one = next(one for one in changed["verdicts"] if one["numbers"])
    one["numbers"][0]["estimate"] *= 1.00001
    files.write_json(place / folder.SUMMARY, changed)
    assert recomputed.main([str(place)]) == 1
    assert one["identifier"] in capsys.readouterr().out
