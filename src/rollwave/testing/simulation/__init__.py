"""The simulator: the real engine in a simulated world under virtual time, and an oracle that looks at that world."""
