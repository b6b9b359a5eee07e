"""Client of the ntfy API: publish, poll, stream; the feed, the ledger, the replay policy."""
