"""What a look at number formats says: in sentences, in tables, and as the loss of the first steps."""
