"""`nssh sweep`: lists the mosh-servers on one or many hosts, and ends those that the user chooses."""
