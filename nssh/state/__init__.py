"""Files in this machine's state directory: session records, topics, leases, held URLs, remembered hosts."""
