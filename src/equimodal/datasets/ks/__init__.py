"""Kinetics-Sounds: settings, and how raw files become a list of samples."""
