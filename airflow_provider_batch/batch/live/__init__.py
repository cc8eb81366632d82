"""Single calls beside the batch: the trial before it is paid for, and the rescue before it is late."""

__all__ = ["caller", "left_behind", "purse", "trial", "turn", "visit"]
