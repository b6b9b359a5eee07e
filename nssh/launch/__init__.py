"""The foreground process of a session: starts ssh or mosh, prepares the remote, keeps the bridge running."""
