"""What the records say: statistics, metrics and comparisons, computed on reading and never stored."""
