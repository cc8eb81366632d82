"""Decides what is next, what an end means, and what is believed. Pure: values in, values out."""
