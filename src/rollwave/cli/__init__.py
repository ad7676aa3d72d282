"""The command line. It speaks only to the HTTP API: it translates, and never decides."""
