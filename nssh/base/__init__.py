"""What every layer may use and which knows nothing of nssh: errors, processes, durations, text for terminals."""
