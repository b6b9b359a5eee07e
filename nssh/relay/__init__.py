"""The relay: an ntfy-compatible server for one user, on a unix socket. Standard library only, Python 3.8+."""
