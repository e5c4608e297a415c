"""What lies in files: their splits and classes, read from paths or from a table."""
