"""What a batch may cost before it is sent, and what it cost when it has ended."""
