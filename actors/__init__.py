"""The supervised actor tree of the bridge process (`python -m actors`)."""
