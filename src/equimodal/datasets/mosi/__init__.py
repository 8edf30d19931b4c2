"""CMU-MOSI: settings, and how raw files become a list of samples."""
