"""Many cells: an engine that hands them to worker processes one by one and stores what comes back."""
