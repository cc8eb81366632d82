"""What the emulator remembers, and what becomes of it as time goes by."""

__all__ = [
    "alarms",
    "deliveries",
    "disk",
    "journal",
    "lifecycle",
    "limits",
    "mime",
    "rates",
    "records",
    "store",
    "uploads",
    "worker",
]
