"""Connections to the remote: one protocol, three ways (OpenSSH control socket, paramiko, OpenSSH batch)."""
