"""The data plane: rows in, rows out, whoever the vendor. Nothing here grows with the number of rows."""
