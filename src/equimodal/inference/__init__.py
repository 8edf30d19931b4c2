"""Trained models in use: what a file of weights says of itself, and predictions for clips that no dataset has."""
