"""The command line of nssh."""
