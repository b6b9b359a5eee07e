"""The embedded relay: an ntfy-compatible server for one user, on a unix socket. Standard library, Python 3.8+."""
