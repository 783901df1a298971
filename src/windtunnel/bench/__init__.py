"""A callable becomes samples: workloads, clocks, the loop, and the record of one cell."""
