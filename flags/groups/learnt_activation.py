"""A learnt activation's flags: its options, the run it comes from, whether it is kept as it is.

A part of the group "model".
"""

from sat_tf import activations
from sat_tf.errors import UserError

OPTIONS = tuple(f"sparta_{name}" for name in activations.ACTIVATIONS["sparta"].options)


def settings(values, activation: str, learnt=None) -> dict:
    """Returns the fields of `ModelConfig` that these flags decide on.

    Args:
      values: the `Values`.
      activation: a row of ACTIVATIONS.
      learnt: the ModelConfig of the run that --sparta_from names; only a new run needs it.
    Raises: UserError where a new run is to take or to freeze what its activation does not have.
    """
    fields = {name: values.get(name) for name in (*OPTIONS, "sparta_from", "freeze_activation")}
    if (
        values.continues
    ):  # its activations are there already, and the one they came from may be gone
        return fields
    _check(
        fields["sparta_from"],
        fields["freeze_activation"],
        activation,
        starts_learnt=values.given("init_checkpoint"),
    )
    if fields["sparta_from"] is not None:
        assert learnt is not None, "a new run with --sparta_from needs the settings it learnt with"
        fields.update({name: getattr(learnt, name) for name in OPTIONS if not values.given(name)})
    return fields


def _check(source, frozen, activation, *, starts_learnt):
    if source is not None and activation != "sparta":
        raise UserError(
            f"--sparta_from={source}: --activation={activation} does not take what it "
            "holds; give --activation=sparta"
        )
    if not frozen:
        return
    if not activations.is_learnt(activation):
        learnt = ", ".join(filter(activations.is_learnt, activations.ACTIVATIONS))
        raise UserError(
            f"--freeze_activation=true: {activation} learns nothing; give an "
            f"--activation that does: {learnt}"
        )
    if source is None and not starts_learnt:
        raise UserError(
            "--freeze_activation=true: nothing is learnt yet; give --sparta_from or "
            "--init_checkpoint too"
        )
