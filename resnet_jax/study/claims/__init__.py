"""The four claims of the notes: one module each, and what they share."""
