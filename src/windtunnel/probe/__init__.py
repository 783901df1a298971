"""A look inside one step, never while timing: what a profiler sees of it."""
