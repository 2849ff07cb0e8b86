"""The claims of `vgg_training` but for that on learning rates: here there is one."""

from bnjax.studies.vgg_training.claims import CLAIMS as ALL
from bnjax.studies.vgg_training.claims import learning_rates

CLAIMS = tuple(claim for claim in ALL if claim is not learning_rates)
