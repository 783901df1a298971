"""What happened: records, samples and environments, and the SQLite store that keeps them."""
