"""Use cases of a release (load, decide, commit, dispatch), the worker that drives slices, the loops that put right."""
