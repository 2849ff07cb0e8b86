"""Options that a study refuses, each in one line that says what is legal."""

import pytest

from bnjax.commands.command_line import prepare
from bnjax.errors import UsageError
from bnjax.frame import study as studies

REFUSED = {
    "earth_mover": {
        "--layers dense1 dense1": "--layers dense1 dense1: must be one or more different",
        "--slices 1": "--slices 1: must be from 2 to 100000",
        "--pixels 0": "--pixels 0: must be 1 or more",
        "--batch-size 4096": "--batch-size 4096: must be at most 2048 with --exact",
    },
    "forensics": {
        "--candidates vgg16+foo": "--candidates vgg16+foo: 'foo' is no word of a candidate: they",
        "--candidates bias-0.1": "'bias-0.1' is no word of a candidate",
        "--candidates vgg16+vgg19": "--candidates vgg16+vgg19: sets model twice",
        "--candidates base base": "--candidates base base: must be one or more, all different",
        "--candidates vgg38": "--model vgg38: must be vgg5 vgg11 vgg13 vgg16 vgg19",
        "--candidates head0": "--hidden 0 0: must be from 1 to 65536 each",
        "--model lenet": "--model lenet: must be vgg5 vgg11",
    },
    "lp_norms": {
        "--target-loss 0": "--target-loss 0.0: must be above 0",
        "--lr 0": "--lr 0.0: must be above 0 and finite, e.g. 0.1",
    },
    "noisy_batchnorm": {
        "--model dln --dataset gaussian --objective squared_error": "--model dln: must be a VGG",
    },
    "surface": {
        "--points 10": "--points 10: must be odd, from 3 to 1001",
        "--points 1": "--points 1: must be odd",
        "--lines 0": "--lines 0: must be from 1",
        "--span 0": "--span 0.0: must be above 0",
        "--span nan": "--span nan: must be above 0",
        "--images 40": "--images 40: must be a multiple of --batch-size 32",
        "--views plane plane": "--views plane plane: must be one or more",
        "--probe-every 3": "--probe-every 3: must be at most 2: three snapshots",
    },
    "theory": {
        "--layers dense9": "--layers dense9: no such layer with a normaliser; choose from dense1",
        "--layers output": "--layers output: no such layer with a normaliser",
        "--layers dense1 dense1": "--layers dense1 dense1: must be one or more, all different",
        "--channels 0 0": "--channels 0 0: must be one or more, all different",
        "--channels 99": "--channels 99: must be from 0 to 9, the channels of dense1",
        "--units -1": "--channels -1: must be from 0",
        "--epsilon -1": "--epsilon -1.0: must be from 0",
        "--input-norm 0": "--input-norm 0.0: must be above 0",
        "--norms l1": "--norms l1: must be none, batch or both",
    },
    "vgg_training": {
        "--lr 0.1 0.1": "--lr 0.1 0.1: must be one or more different",
        "--lr 0.1 -1": "--lr 0.1 -1: must be",
        "--lr inf": "--lr inf: must be",
        "--lr nan": "--lr nan: must be",
        "--model dln --dataset gaussian --objective squared_error --target-loss 1": "--model dln "
        "is not for this study",
        "--target-accuracy 90": "--target-accuracy 90.0: must be above 0",
        "--window 500": "--window 500: must be from 1 to 6",
    },
}


@pytest.mark.parametrize(
    ("study", "arguments", "message"),
    [(study, *case) for study, cases in REFUSED.items() for case in cases.items()],
)
def test_a_wrong_call_is_refused(study, arguments, message):
    with pytest.raises(UsageError) as raised:
        prepare(studies.find(study), ["--preset", "toy", *arguments.split()])
    assert message in str(raised.value)
