"""What the engine needs from outside, as Protocols; adapters implement them, fakes pass the same contract suites."""
