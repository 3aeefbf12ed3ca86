"""Flags and configurations of command lines."""

from flags import definitions, to_config


def parse(*arguments):
    flags = definitions.define()
    definitions.parse(flags, ["main.py", *arguments])
    return flags


def resolve(*arguments, stored=None):
    return to_config.to_config(parse(*arguments), stored)
