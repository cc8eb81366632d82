"""What the emulator remembers, and what becomes of it as time goes by."""

__all__ = ["deliveries", "disk", "journal", "lifecycle", "limits", "mime", "records", "store", "uploads", "worker"]
