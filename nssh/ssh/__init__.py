"""Targets and connections to them: one protocol, three ways (OpenSSH control socket, paramiko, OpenSSH batch)."""
