"""The commands, one module per noun; each translates between a person and the API."""
