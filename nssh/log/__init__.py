"""The event log: one process writes it, `nssh status --tail` follows it."""
