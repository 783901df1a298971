"""A look inside one step, never while timing: which kernels ran, and what memory was held for."""
