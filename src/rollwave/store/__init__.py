"""Stores: Django models and bulk SQL, and the in-memory store that keeps the same contract."""
