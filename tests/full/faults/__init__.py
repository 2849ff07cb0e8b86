"""Faults on purpose: real processes that are killed, stopped, starved, and then started again."""
