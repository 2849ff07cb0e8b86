"""Floor 4: the run folder, checkpoints, the frame of an experiment."""
