"""The recomputation of verdicts notices each change of a rule.

    BNJAX_TRIALS=full python -m pytest -n 2 tests/full/test_verdict_mutants.py    # all of them

CI takes every twelfth: all take some ten minutes on two cores.
"""

import os

import mutants
import pytest

ALL = [*mutants.written(), *mutants.of_constants()]
ALL_OF_THEM = os.environ.get("BNJAX_TRIALS") == "full"
MUTANTS = ALL if ALL_OF_THEM else ALL[::12]
RUNS = 100 if ALL_OF_THEM else 25  # drawn for each study; a few mutants need more than 25


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_changed_rule_is_noticed(mutant):
    assert mutants.first_difference(mutant, count=RUNS)
