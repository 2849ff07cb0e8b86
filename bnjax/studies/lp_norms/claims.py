"""The claims of `vgg_training`: those on ℓp norms beside BatchNorm are among them."""

from bnjax.studies.vgg_training.claims import CLAIMS as CLAIMS
