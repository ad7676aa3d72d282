"""Fakes that keep the contracts of the real adapters, for tests and the simulator; shipped, and tested themselves."""
