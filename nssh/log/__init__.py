"""The event log: written by one, read and followed by many."""
