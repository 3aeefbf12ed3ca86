"""Cases of a parametrised test of which only some are worth their seconds every day."""

import pytest


def only(chosen, cases) -> list:
    """Returns the cases as pytest takes them, all but those `chosen` marked slow."""
    cases = list(cases)
    assert set(chosen) <= set(cases), f"{set(chosen) - set(cases)} are no cases"
    return [
        case if case in chosen else pytest.param(case, marks=pytest.mark.slow) for case in cases
    ]
