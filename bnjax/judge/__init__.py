"""Claims: a sentence, the rule that decides it (stated before the run), numbers, a verdict."""

from bnjax.judge.claim import Claim, Comparison, Interval, Verdict, decide_ratio, interval

__all__ = ["Claim", "Comparison", "Interval", "Verdict", "decide_ratio", "interval"]
