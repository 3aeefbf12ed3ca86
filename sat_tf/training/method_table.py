"""The training methods by name: how each is made from settings, and what it costs.

method = create("trades", epsilon=8 / 255, num_steps=10, beta=6.0)
"""

import dataclasses
from collections.abc import Callable, Mapping

from sat_tf import attacks
from sat_tf.config import Config
from sat_tf.errors import add, look_up
from sat_tf.training import consistency, converge_smooth, methods
from sat_tf.training.methods import Method
from sat_tf.training.optimization import default_drops


@dataclasses.dataclass(frozen=True)
class Row:
    """How a method is made from settings, and what it costs.

    Attributes:
      make: the function that makes it.
      passes: number of attack steps -> passes a training step costs; see `methods`.
      attack_settings: the settings it takes of those that methods share, by their flag names.
      constants: its own: keyword of `make` -> flag.
      step_size: (epsilon, num_steps) -> the step used where none is given.
      num_steps: its number of attack steps; fixed, unless it is among the attack_settings.
      catastrophic_drop: the fall of robust accuracy that ends training, unless told otherwise.
      from_config: Config -> what else `make` is to know of the run.
    """

    make: Callable[..., Method]
    passes: Callable[[int], float]
    attack_settings: tuple[str, ...] = ()
    constants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    step_size: Callable[[float, int], float] = attacks.default_step_size
    num_steps: int | None = None
    catastrophic_drop: float = 0.0
    from_config: Callable[[Config], dict] = lambda config: {}


def drops_of(settings):
    """Returns the shares of training after which the rate of optimizer settings drops."""
    own = default_drops(settings.schedule)
    return own if settings.drops is None or not own else settings.drops


def _rate_boundaries(config):
    """The epochs that ConvergeSmooth's segments begin and end at: the attack's begin is one too."""
    settings = config.optimizer
    epochs_in_all = settings.train_steps / settings.steps_per_epoch
    epochs = [round(share * epochs_in_all, 6) for share in (*drops_of(settings), 1.0)]
    first = config.method.clean_epochs
    return {"boundaries": (first, *(epoch for epoch in epochs if epoch > first))}


METHODS = {
    "standard": Row(methods.standard, lambda steps: 1),
    "pgd": Row(
        methods.pgd,
        lambda steps: steps + 1,
        ("epsilon", "step_size", "num_steps", "norm", "random_start", "clean_start_probability"),
    ),
    "fast": Row(
        methods.fast,
        lambda steps: 2,
        ("epsilon", "step_size", "norm"),
        step_size=methods.fast_step_size,
        num_steps=1,
        catastrophic_drop=0.2,
    ),
    "trades": Row(
        consistency.trades,
        lambda steps: steps + 2.5,
        ("epsilon", "step_size", "num_steps", "norm"),
        {"beta": "trades_beta"},
    ),
    "backward_smoothing": Row(
        consistency.backward_smoothing,
        lambda steps: steps + 3.5,
        ("epsilon", "step_size", "num_steps", "norm"),
        {"beta": "backward_smoothing_beta", "gamma": "backward_smoothing_gamma"},
        step_size=methods.step_of_epsilon,
        num_steps=1,
    ),
    "converge_smooth": Row(
        converge_smooth.converge_smooth,
        lambda steps: 3,
        ("epsilon", "step_size", "norm"),
        {
            "threshold": "converge_smooth_threshold",
            "ratio": "converge_smooth_ratio",
            "weight": "converge_smooth_weight",
            "stride": "converge_smooth_stride",
            "project": "converge_smooth_project",
        },
        step_size=methods.step_of_epsilon,
        num_steps=1,
        from_config=_rate_boundaries,
    ),
}


def row(name: str) -> Row:
    """Returns the row of METHODS; ValueError lists the known names."""
    return look_up(METHODS, "method", name)


def register(name: str, row: Row) -> None:
    """Adds a row to METHODS, so that its name stands wherever those of our own do.

    Raises: ValueError for a name that is taken, and for what is no Row.
    """
    if not isinstance(row, Row):
        raise ValueError(f"method {name!r}: give a sat_tf.training.Row, not {row!r}")
    add(METHODS, "method", name, row)


def create(name: str, **settings) -> Method:
    """Makes a method of METHODS by name, with the keywords of its own function."""
    return dataclasses.replace(row(name).make(**settings), config={"name": name, **settings})


def resolve(method: str | Method, settings: Mapping) -> Method:
    """Returns a Method as it is, and that of a name made with the settings.

    Raises: ValueError for anything else, and for settings beside a Method.
    """
    if isinstance(method, str):
        return create(method, **settings)
    if not isinstance(method, Method):
        raise ValueError(f"method={method!r}: give a name of METHODS or a Method")
    if settings:
        raise ValueError(
            f"{', '.join(settings)}: settings are those of a method given by its name; this one "
            "is made already"
        )
    return method
