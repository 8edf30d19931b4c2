"""Modality dropout."""
