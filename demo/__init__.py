"""The demo: real releases of a real application to a small fleet, under client load."""
