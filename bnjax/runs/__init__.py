"""The run folder, checkpoints, the frame of an experiment."""
