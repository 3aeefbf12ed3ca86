"""What `python main.py --help`, or `sat-tf --help`, prints."""

import textwrap

from flags.definitions import RECIPES
from flags.groups import GROUPS


def help_text(flags) -> str:
    """Returns all flags with their groups, defaults and allowed values, for --help."""
    lines = [
        "Usage: python main.py [--flagfile=RECIPE] [--FLAG=VALUE ...]",
        "       sat-tf [--flagfile=RECIPE] [--FLAG=VALUE ...]            (where it is installed)",
        f"RECIPE: {RECIPES}/NAME.flags, or a file of your own; later flags override it",
    ]
    for title, group in GROUPS.items():
        lines += ["", f"{title}:"]
        for definition in group:
            flag = flags[definition.name]
            default = "" if flag.default is None else f" Default: {flag.default}."
            lines += [
                f"  --{definition.name}",
                *textwrap.wrap(
                    flag.help.strip() + default,
                    96,
                    initial_indent="      ",
                    subsequent_indent="      ",
                    break_on_hyphens=False,
                ),
            ]
    return "\n".join(lines)
