"""What the emulator remembers, and what becomes of it as time goes by."""
