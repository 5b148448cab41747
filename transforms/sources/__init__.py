"""Where the names of files come from."""
