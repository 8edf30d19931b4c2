"""A fusion head on trained and frozen encoders."""
