"""What a report says of attention alone: one file a section, beside the shared ones."""
