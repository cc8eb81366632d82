"""What can go wrong, done on purpose: the engine under crashes and lost answers, judged by the emulator."""
