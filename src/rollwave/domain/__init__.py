"""The rules of a release: pure values and functions, no I/O, no clock, no framework."""
