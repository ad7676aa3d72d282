"""The spec: apps, servers and groups as somebody wants them, and how the inventory is brought there."""
