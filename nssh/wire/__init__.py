"""What both ends speak: envelopes, session file, private files, an HTTP client. Standard library only, Python 3.8+."""

CONTENT_LIMIT = 64 << 20
"""Bytes of the largest text or image that passes, either way."""

MESSAGE_LIMIT = 4095
"""Bytes of the longest text that stays a message; of a longer one a server makes a file (docs/ntfy.md, trap 5)."""

RETENTION = 12 * 3600
"""Seconds for which a server keeps messages, unless it was told otherwise: the relay, and ntfy by default."""
