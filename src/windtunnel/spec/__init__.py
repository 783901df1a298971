"""What to measure: sizes, cells, plans and sweeps, as plain validated data that a user can write; what can run it."""
