"""What the laptop does for the remote: the clipboard and the browser."""
