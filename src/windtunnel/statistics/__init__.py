"""What a series of numbers says: location, interval, trend, states, and whether two of them differ; pure arithmetic."""
