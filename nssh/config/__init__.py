"""Reads and checks the user's configuration file, config.toml."""
