"""Installs nssh on a remote, and removes it."""
