"""What both ends speak: envelopes, the session file, private files, a minimal HTTP client. Standard library, Python 3.8+."""
