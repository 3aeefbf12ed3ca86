"""What `python main.py --help`, or `sat-tf --help`, prints: all flags, a group of them, or one.

python main.py --help                    # every flag, in groups
python main.py --help=model              # a group
python main.py --help epsilon            # a flag
python main.py --helpfull                # the recipes as well
python main.py --helpshort               # the names alone
"""

import os
import textwrap

from flags.definitions import RECIPES
from flags.groups import GROUPS
from sat_tf.errors import UserError, did_you_mean

_EVERYTHING, _FULL, _SHORT = "", "--helpfull", "--helpshort"
_ASKED = {"--help": _EVERYTHING, "-help": _EVERYTHING, "-h": _EVERYTHING, "-?": _EVERYTHING}


def topic(argv) -> str | None:
    """Returns what a command line asks for help on, "" for everything; None where it does not."""
    for number, argument in enumerate(argv[1:], 1):
        name, equals, value = argument.partition("=")
        name = name.replace("-help", "--help") if name.startswith("-help") else name
        if name in (_FULL, _SHORT):
            return name
        if name in _ASKED:
            following = "".join(argv[number + 1 : number + 2])
            return value if equals else following
    return None


def help_text(flags, topic: str = _EVERYTHING) -> str:
    """Returns flags with their groups, defaults and allowed values.

    Args:
      flags: absl FlagValues.
      topic: what `topic` returned: a group or the beginning of its name, a flag with or without
        its dashes, or "" for all.
    Raises: UserError where there is no such group or flag.
    """
    if topic == _SHORT:
        return "\n".join([*_usage(), *(_names(title) for title in GROUPS)])
    if topic in (_EVERYTHING, _FULL):
        lines = [*_usage(), *(line for title in GROUPS for line in _group(flags, title))]
        return "\n".join([*lines, *(_recipes() if topic == _FULL else ())])
    if topic in GROUPS:  # before the flag of that name, which is --help --model
        return "\n".join(_group(flags, topic)[1:])
    name = topic.lower().lstrip("-").replace("-", "_")
    for title, group in GROUPS.items():
        for definition in group:
            if definition.name == name:
                return "\n".join([f"{title}:", *_flag(flags, definition)])
    titles = [title for title in GROUPS if title.startswith(topic.lower().replace("iz", "is"))]
    if len(titles) != 1:
        known = [*GROUPS, *(d.name for group in GROUPS.values() for d in group)]
        raise UserError(
            f"--help={topic}: no such group or flag; groups are {', '.join(GROUPS)}"
            f"{did_you_mean(topic, known)}"
        )
    return "\n".join(_group(flags, titles[0])[1:])


def _usage():
    return [
        "Usage: python main.py [--flagfile=RECIPE] [--FLAG=VALUE ...]",
        "       sat-tf [--flagfile=RECIPE] [--FLAG=VALUE ...]            (where it is installed)",
        f"RECIPE: {RECIPES}/NAME.flags, or a file of your own; later flags override it",
        "Of some alone: --help=GROUP, --help FLAG; names alone: --helpshort; recipes: --helpfull",
    ]


def _names(title):
    names = ", ".join(f"--{definition.name}" for definition in GROUPS[title])
    return textwrap.fill(f"{title}: {names}", 96, subsequent_indent="  ", break_on_hyphens=False)


def _group(flags, title):
    return ["", f"{title}:", *(line for one in GROUPS[title] for line in _flag(flags, one))]


def _flag(flags, definition):
    flag = flags[definition.name]
    default = "" if flag.default is None else f" Default: {flag.default}."
    allowed = getattr(flag.parser, "enum_values", None)
    choices = f" One of {', '.join(allowed)}." if allowed else ""
    text = textwrap.wrap(
        flag.help.strip() + choices + default,
        96,
        initial_indent="      ",
        subsequent_indent="      ",
        break_on_hyphens=False,
    )
    return [f"  --{definition.name}", *text]


def _recipes():
    names = sorted(name.removesuffix(".flags") for name in os.listdir(RECIPES))
    return ["", f"recipes, --flagfile={RECIPES}/NAME.flags:", *(f"  {name}" for name in names)]
