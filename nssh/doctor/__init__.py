"""`nssh doctor`: checks every step between the laptop and a remote, and says what is wrong and how to mend it."""
