"""Decides what is next, what an end means, and what is believed. Pure: values in, values out."""

__all__ = [
    "actions",
    "after_kill",
    "belief",
    "common_mistake",
    "evidence",
    "failures",
    "next_step",
    "outcome",
    "policy",
    "rows_again",
]
