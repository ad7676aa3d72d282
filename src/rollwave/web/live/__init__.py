"""A running release as a page sees it: one byte for each target, and what changes of it, as it changes."""
