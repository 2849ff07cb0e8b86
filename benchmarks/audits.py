"""Times `bnjax.audit` in float64 on eight small transformers, a VGG and a ResNet.

    python benchmarks/audits.py [--toy]

Each is audited once, compilation included. The transformers are those of the tests, of two blocks
of width 16; the others are audited as by `bnjax audit --model`, on digits.
"""

import argparse
import sys
import time
from pathlib import Path

import jax

from bnjax import probes
from bnjax.commands import audit

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from made_transformers import TOKENS, TRANSFORMERS

NETWORKS = {
    "VGG-11 ×¼, BatchNorm": audit.Options(model="vgg11"),
    "ResNet-20 ×¼, BatchNorm": audit.Options(model="resnet"),
}
TOY = audit.Options(model="mlp", depth=3, width=0.1, dataset="binary_digits")


def audit_transformer(name: str) -> probes.Audit:
    """The audit of one of the tests' transformers."""
    with jax.enable_x64(True):
        loss, params = TRANSFORMERS[name]()
        return probes.audit(loss, params, jax.random.key(0), batches=[TOKENS])


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="two small ones, to see that it runs")
    toy = parser.parse_args(argv).toy
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    print("| network | seconds | leaves | scale-invariant |\n|---|---|---|---|")
    jobs = {f"transformer, {name}": (audit_transformer, name) for name in TRANSFORMERS}
    jobs |= {name: (audit.audit, options) for name, options in NETWORKS.items()}
    if toy:
        jobs = {"transformer, none": jobs["transformer, none"], "perceptron": (audit.audit, TOY)}
    total = 0.0
    for name, (make, given) in jobs.items():
        begun = time.perf_counter()
        found = make(given)
        seconds = time.perf_counter() - begun
        total += seconds
        leaves = {group.parameter for group in found.groups if group.kind != "rescaling"}
        invariant = len(found.scale_invariant)
        print(f"| {name} | {seconds:.1f} | {len(leaves)} | {invariant} |", flush=True)
    print(f"| all | {total:.1f} | | |")


if __name__ == "__main__":
    main()
