"""One logical batch, from the rows to the landed results."""

__all__ = [
    "assemble",
    "cost",
    "decide",
    "land",
    "ledger",
    "live",
    "observer",
    "run",
    "send",
    "state_words",
    "submission",
    "summary",
    "sweep",
    "wait",
    "work",
]
