"""Runs any study and knows none: options, arms, results, checkpoints, folder, devices."""
