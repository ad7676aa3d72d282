"""What the engine tells, turned into metrics and traces."""
