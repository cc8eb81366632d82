"""What rows are answered with: a text, a value of a schema, or what another server says."""
