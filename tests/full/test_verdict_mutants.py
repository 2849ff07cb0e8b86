"""The recomputation of verdicts notices each change of a rule.

    BNJAX_TRIALS=full python -m pytest -n 2 tests/full/test_verdict_mutants.py    # all of them

CI takes every twelfth: all take some ten minutes on two cores.
"""

import os

import mutants
import pytest

ALL = [*mutants.written(), *mutants.of_constants()]
MUTANTS = ALL if os.environ.get("BNJAX_TRIALS") == "full" else ALL[::12]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_changed_rule_is_noticed(mutant):
    assert mutants.first_difference(mutant, count=100)
