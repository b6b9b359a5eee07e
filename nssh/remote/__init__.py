"""The shims of the remote side: argv[0] → persona → envelope. Standard library, Python 3.8+."""
