"""The recomputation of verdicts notices each change of a rule."""

import mutants
import pytest

MUTANTS = [*mutants.written(), *mutants.of_constants()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_changed_rule_is_noticed(mutant):
    assert mutants.first_difference(mutant, count=25)
