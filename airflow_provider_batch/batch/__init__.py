"""One logical batch, from the rows to the landed results."""
