"""What a report says: one file a section, each a function of the rows of one machine."""
