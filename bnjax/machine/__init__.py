"""Where a run runs: devices, processes, signals, compiled programs, and the record of them."""
