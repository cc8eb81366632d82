"""Measurements. Nothing here is asserted by the tests; ``make bench`` prints what it finds."""
