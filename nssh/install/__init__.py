"""Putting nssh on a remote, and taking it away."""
