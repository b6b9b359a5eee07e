"""What both ends speak: envelopes, session file, private files, an HTTP client. Standard library only, Python 3.8+."""
