"""Loss and accuracy on as many training images as the test set has, read as the test set is."""

from collections.abc import Mapping
from typing import Any

from bnjax import data, train
from bnjax.frame.arm import Arm
from bnjax.train import Measurement, TrainState, every


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """The fit of one arm: an evaluation on training images."""
    evaluate = train.make_evaluate(arm.model, arm.dataset, objective=arm.objective)
    images, count = arm.dataset.train, len(arm.dataset.test.labels)
    fitted = data.Split(images.pixels[:count], images.labels[:count])

    def measure(state: TrainState, batch: Any, gradient: Any) -> train.Evaluation:
        del batch, gradient  # other images
        return evaluate(state.params, state.batch_stats, fitted)

    return {"fit": Measurement(every(arm.options.probe_every), measure)}
