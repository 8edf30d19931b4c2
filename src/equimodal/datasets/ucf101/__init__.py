"""UCF-101: settings, and how raw files become a list of samples."""
