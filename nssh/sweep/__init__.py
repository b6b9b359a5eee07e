"""`nssh sweep`: finding mosh-servers that nobody uses any more, choosing among them, ending the chosen ones safely."""
