"""What follows from a release and its group, for API and pages alike: time, health, flags, what an action will do."""
