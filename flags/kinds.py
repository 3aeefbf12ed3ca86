"""Kinds of flags: what a row of a group is made of.

FLAGS = (integer("epochs", 30, "Passes over the training set."), switch("resume", True, "…"))
for definition in FLAGS:
    definition.define(flag_values)
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

from absl import flags as absl_flags


class Definition(NamedTuple):
    """One flag: absl's function that defines it, its name, and what else that takes."""

    kind: Callable
    name: str
    arguments: tuple[Any, ...]  # default, [allowed values,] help

    def define(self, flag_values: absl_flags.FlagValues):
        """Adds the flag to a registry."""
        self.kind(self.name, *self.arguments, flag_values=flag_values)


class _FractionParser(absl_flags.ArgumentParser):
    """Reads 4/255 or 0.0157 as a float; never evaluates."""

    syntactic_help = "a number or a fraction, such as 4/255"

    def parse(self, argument):
        if isinstance(argument, float):
            return argument
        try:
            return float(Fraction(argument))
        except (ValueError, ZeroDivisionError, OverflowError) as error:
            raise ValueError("give a number or a fraction, such as 4/255") from error

    def flag_type(self):
        return "fraction"


class _FractionsParser(_FractionParser):
    """Reads a comma list of such numbers as a tuple of floats."""

    syntactic_help = "a comma list of numbers or fractions, such as 1/2,3/4"

    def parse(self, argument):
        if isinstance(argument, tuple):
            return argument
        return tuple(map(super().parse, argument.split(",")))

    def flag_type(self):
        return "fractions"


def _define_number(name, default, help_text, flag_values):
    absl_flags.DEFINE(_FractionParser(), name, default, help_text, flag_values)


def _define_numbers(name, default, help_text, flag_values):
    absl_flags.DEFINE(_FractionsParser(), name, default, help_text, flag_values)


def _kind(define):
    return lambda name, *arguments: Definition(define, name, arguments)


string = _kind(absl_flags.DEFINE_string)
integer = _kind(absl_flags.DEFINE_integer)
switch = _kind(absl_flags.DEFINE_bool)
choice = _kind(absl_flags.DEFINE_enum)  # its allowed values stand before the help
name_list = _kind(absl_flags.DEFINE_list)
number = _kind(_define_number)
numbers = _kind(_define_numbers)


def names_of(table) -> str:
    """Returns the keys of a table as help texts list them."""
    return ", ".join(table)
