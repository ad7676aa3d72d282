"""Executors: carry the host driver and its commands to servers, and the reports back. They decide nothing."""
