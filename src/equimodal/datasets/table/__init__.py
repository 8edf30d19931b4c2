"""A table of your own: settings, and how raw files become a list of samples."""
