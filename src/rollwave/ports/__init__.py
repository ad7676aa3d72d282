"""What the engine needs from the outside, as Protocols; adapters implement them, fakes pass the same contract suites."""
