"""Stores: Django models and bulk SQL for SQLite and PostgreSQL, and the in-memory store that keeps the same contract."""
