"""Joint training from trained encoders."""
