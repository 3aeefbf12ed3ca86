"""Refusals of settings out of range, as one line that names flag, value and remedy.

check_range("dropout_rate", 1.5, low=0, below=1)     # UserError: --dropout_rate=1.5: give a ...
check_pixel_size("epsilon", 4)                       # UserError: ... write --epsilon=4/255
"""

import math

from sat_tf.errors import UserError


def refuse(flag, value, remedy):
    """Raises the UserError of a flag's value."""
    raise UserError(f"--{flag}={value}: {remedy}")


def check_range(flag, value, *, low=None, high=None, above=None, below=None):
    """Refuses NaN, infinities and anything outside [low, high] or (above, below)."""
    bounds = [
        text
        for text, limit in (
            (f"at least {low}", low),
            (f"above {above}", above),
            (f"at most {high}", high),
            (f"below {below}", below),
        )
        if limit is not None
    ]
    fits = (
        isinstance(value, (int, float))
        and math.isfinite(value)
        and (low is None or value >= low)
        and (above is None or value > above)
        and (high is None or value <= high)
        and (below is None or value < below)
    )
    if not fits:
        refuse(flag, value, f"give a number {' and '.join(bounds)}")


def check_pixel_size(flag, value):
    """Refuses perturbation sizes outside [0, 1), with the hint people with 0..255 in mind need."""
    if isinstance(value, (int, float)) and value >= 1 and math.isfinite(value):
        refuse(
            flag,
            f"{value:g}",
            "sizes are in the [0, 1] pixel scale; "
            f"for {value:g} of 255 grey levels write --{flag}={value:g}/255",
        )
    check_range(flag, value, low=0, below=1)


def check_radius(flag, value, norm):
    """Refuses a size that is not in [0, 1) for the norm "linf", and not 0 or more for another."""
    if norm == "linf":
        check_pixel_size(flag, value)
    else:
        check_range(flag, value, low=0)


def check_attack_size(epsilon, num_steps, norm="linf"):
    """Raises UserError unless epsilon is a radius of the norm and there is at least one step."""
    check_radius("epsilon", epsilon, norm)
    check_range("num_steps", num_steps, low=1)


def check_default_step(method, epsilon, step_size):
    """Refuses an epsilon of which the step that a method takes by itself is 1 or more."""
    if step_size >= 1:
        ratio = step_size / epsilon
        most = (math.ceil(round(100 / ratio, 6)) - 1) / 100  # the last hundredth below
        refuse(
            "epsilon",
            f"{epsilon:g}",
            f"{method} steps {ratio:g} epsilon, which must be below "
            f"1; give at most {most:g}, or a --step_size",
        )


def checked(flag, check, value):
    """Returns check(value); its ValueError becomes a UserError with the flag's name in front."""
    try:
        return check(value)
    except UserError:  # has all that already
        raise
    except ValueError as error:
        raise UserError(f"--{flag}={value}: {error}") from error
