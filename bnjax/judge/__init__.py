"""Claims: a sentence, the rule that decides it (stated before the run), numbers, a verdict."""

from bnjax.judge.verdict import Number, Verdict

__all__ = ["Number", "Verdict"]
