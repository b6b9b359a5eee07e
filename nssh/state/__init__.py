"""What is kept on this machine: records of sessions, topics, leases, held URLs, what is known of hosts."""
