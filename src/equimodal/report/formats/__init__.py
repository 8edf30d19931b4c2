"""Tables as text: one file per format."""
