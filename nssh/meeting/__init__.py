"""A second session meets the first: found, asked, joined or replaced."""
