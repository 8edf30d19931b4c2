"""One modality alone."""
