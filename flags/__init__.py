"""The command line: what flags there are, and how they become a configuration."""
