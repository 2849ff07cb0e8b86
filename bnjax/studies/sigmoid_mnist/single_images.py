"""Whether an image that comes alone is classified as among others (Ioffe & Szegedy 2015, §3.1)."""

from bnjax import models
from bnjax.frame.results import Results
from bnjax.judge.claim import Claim
from bnjax.judge.pairs import why_not_trained

PAPER = "Ioffe & Szegedy 2015"
SAME_LOGIT = 1e-4  # of the largest logit: sums in another order round otherwise
DEAD = "inconclusive if an arm is dead or diverged"


def single_images(results: Results, norm: str) -> list[Claim]:
    """Whether an image alone is classified as among others: running and own statistics."""
    reason = why_not_trained(results, norm)
    last = {
        name: results.select(f"single.{name}", norm=norm)[:, -1]  # [seed, statistics]
        for name in ("difference", "largest", "agreement", "accuracy", "accuracy_together")
    }
    count = results.config["singles"]
    running, own = ({name: values[:, i] for name, values in last.items()} for i in (0, 1))
    relative = float((running["difference"] / running["largest"]).max())
    same = bool((running["agreement"] == 1).all()) and relative <= SAME_LOGIT
    found = [
        Claim(
            identifier=f"single-{norm}",
            sentence=f"{norm} classifies an image alone through running averages as among others",
            source=f"{PAPER}, §3.1",
            rule=(
                f"{count} test images, last probe, every seed: supported if each gets the same "
                f"class and logits differ by at most {SAME_LOGIT:g} of the largest, else not "
                f"supported; {DEAD}"
            ),
            measured=(
                f"same class {running['agreement'].min():.0%}; logits differ by at most "
                f"{running['difference'].max():.2g}, {relative:.2g} of the largest"
            ),
            published="by construction",
            verdict="inconclusive" if reason else "supported" if same else "not supported",
            reason=reason,
        )
    ]
    if models.norms.by_name(norm).batch_statistics:
        lost = bool((own["accuracy"] < 0.5 * own["accuracy_together"]).all())
        found.append(
            Claim(
                identifier=f"single-own-{norm}",
                sentence=f"statistics of an image alone cannot serve {norm} to classify it",
                source=f"{PAPER}, §3.1",
                rule=(
                    f"{count} test images, last probe, every seed: supported if the accuracy with "
                    "each image's own statistics is below half of that with statistics of all "
                    f"together, else not supported; {DEAD}"
                ),
                measured=(
                    f"accuracy {own['accuracy'].max():.0%} alone, "
                    f"{own['accuracy_together'].min():.0%} together"
                ),
                published="by construction",
                verdict="inconclusive" if reason else "supported" if lost else "not supported",
                reason=reason,
            )
        )
    return found
