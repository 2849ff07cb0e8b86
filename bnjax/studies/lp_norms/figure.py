"""The figure of `vgg_training`."""

from bnjax.studies.vgg_training.figure import FIGURES as FIGURES
