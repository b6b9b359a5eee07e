"""`nssh doctor`: the whole path, one step after another; what is wrong, and what to do about it."""
