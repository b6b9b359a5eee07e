"""From the words typed to the prompt: the foreground process of a session."""
