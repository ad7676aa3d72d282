"""Chaos: real releases by real processes, which are killed, stopped and cut off from each other while they work."""
