"""Packages: built canonical, signed once, proven at every step, kept by content."""
