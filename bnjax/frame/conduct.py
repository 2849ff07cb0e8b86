"""The options of how a run is carried out, kept and shown; none of them changes its results."""

import dataclasses
import math
from pathlib import Path

from bnjax.errors import require

MOST_DEVICES = 65_536


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConductOptions:
    """None of them is in the digest that names a run's folder."""

    published: Path | None = None
    """CSV of published curves to draw beside the measured ones (panel,series,step,low,high)."""
    plan: bool = False
    """Measure what the run would take (time, memory, disk), say so and stop; no run is begun."""
    tensorboard: bool = False
    """Write event files for TensorBoard into the run's folder, too."""
    checkpoint_minutes: float = 1.0
    """Minutes between checkpoints of an arm, more where saving would take 2 % of the time (0: after
    every step)."""
    checkpoint_steps: int = 0
    """Steps between checkpoints, if that is sooner (0: by time only)."""
    checkpoints_kept: int = 2
    """Checkpoints kept of each arm; one that is damaged is passed over for the one before."""
    data_devices: int = 1
    """Devices over which a batch is spread; statistics stay those of the whole batch. Devices that
    are left over take other arms and seeds at the same time."""
    probe_devices: int = 1
    """Devices over which the points of a probe are spread."""
    distributed: bool = False
    """One of several processes of a job (SLURM, Open MPI, GKE, TPU pod, or JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES, JAX_PROCESS_ID)."""
    heartbeat_seconds: int = 20
    """Seconds without a sign of life after which a process of a job counts as dead."""
    deterministic: bool = False
    """The same bits on a GPU each time, somewhat slower; a CPU gives them always."""
    out: Path = Path("runs")
    """Folder of all runs; this one goes to OUT/<experiment>/<digest of the options>."""
    fresh: bool = False
    """Set an existing run of the same options aside and begin anew."""
    redraw: bool = False
    """Draw and judge a finished run anew, from what it measured."""
    debug: bool = False
    """Show tracebacks."""

    def validate_conduct(self) -> None:
        """Refuse impossible values of options that do not change results."""
        minutes = self.checkpoint_minutes
        require("--checkpoint-minutes", minutes, 0 <= minutes < math.inf, "0 or more")
        require(
            "--checkpoint-steps", self.checkpoint_steps, self.checkpoint_steps >= 0, "0 or more"
        )
        kept = self.checkpoints_kept
        require("--checkpoints-kept", kept, 2 <= kept <= 1000, "from 2 to 1000")
        beat = self.heartbeat_seconds
        require("--heartbeat-seconds", beat, 5 <= beat <= 3600, "from 5 to 3600")
        for name in ("data_devices", "probe_devices"):
            value = getattr(self, name)
            legal = 1 <= value <= MOST_DEVICES
            require(f"--{name.replace('_', '-')}", value, legal, f"from 1 to {MOST_DEVICES}")


NAMES = frozenset(field.name for field in dataclasses.fields(ConductOptions))
