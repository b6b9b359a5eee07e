"""The mosh-servers of one account: listed, spared, chosen, ended; also on a remote. Python 3.8+."""
