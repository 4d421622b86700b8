"""A demo dataset of made-up heads, so that the command can be tried without data."""
