"""What a memory ledger says: in sentences, in tables, and as bands through the step."""
