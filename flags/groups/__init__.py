"""Groups of flags, each beside what its values mean: `FLAGS`, and a part of the configuration."""

from flags.groups import attack, data, evaluation, hardware, model, optimisation, run

# As --help shows them.
GROUPS = {
    "run": run.FLAGS,
    "model": model.FLAGS,
    "data": data.FLAGS,
    "attack in training": attack.FLAGS,
    "optimisation": optimisation.FLAGS,
    "evaluation": evaluation.FLAGS,
    "hardware": hardware.FLAGS,
}
