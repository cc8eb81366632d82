"""What a batch may cost before it is sent, and what it cost when it has ended."""

__all__ = [
    "budget",
    "estimate",
    "lifetime",
    "receipts",
    "trial_range",
]
