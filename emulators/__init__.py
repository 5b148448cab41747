"""Real servers that stand in for Google's, for the tests and for the demonstration."""
