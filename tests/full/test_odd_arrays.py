"""Every figure is drawn and every claim judged from odd arrays, and the page shows them."""

import pytest
from faults.trials import counted, number
from odd_arrays import KINDS, kept

from bnjax.frame import folder, results
from bnjax.frame import study as studies
from bnjax.report.publish import VERDICTS, publish

PAIRS = [(name, kind) for name in studies.names() for kind in KINDS]
# Few of them: each study with some kinds, each kind with some studies.
CHOSEN = PAIRS[:: max(1, len(PAIRS) // number("drawing"))]


@pytest.mark.parametrize(("name", "kind"), CHOSEN)
def test_all_is_judged_and_drawn_and_shown(name, kind, tmp_path):
    study, made = studies.find(name), KINDS[kind](kept(name))
    path = tmp_path / name / folder.digest_of(made.options, [])
    path.mkdir(parents=True)
    results.write(made, path)
    before = (path / folder.RESULTS).read_bytes()
    with counted("drawing"):
        publish(study, {}, path, [])
        assert (path / folder.RESULTS).read_bytes() == before
        summary = folder.read_summary(path)
        assert not summary.failed
        assert {one["verdict"] for one in summary.verdicts} <= {*VERDICTS}
        assert {name.rpartition(".")[2] for name in summary.files} >= {"png", "pdf", "svg", "csv"}
