"""Queues: how a slice gets to a worker."""
