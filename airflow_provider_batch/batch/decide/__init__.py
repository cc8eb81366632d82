"""Decides what is next, what an end means, and what is believed. Pure: values in, values out."""

__all__ = [
    "actions",
    "after_kill",
    "belief",
    "call_rules",
    "common_mistake",
    "deadlines",
    "evidence",
    "failures",
    "next_step",
    "outcome",
    "policy",
    "rows_again",
    "visit",
]
