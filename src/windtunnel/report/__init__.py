"""Results become a document, and the document becomes Markdown, one HTML file or terminal output."""
