"""Sentences that people read, in their language: the one place that makes them."""
