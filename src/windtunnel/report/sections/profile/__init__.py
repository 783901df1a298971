"""What a profile says: in sentences, in tables, and as a flame graph."""
