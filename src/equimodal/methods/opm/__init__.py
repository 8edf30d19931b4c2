"""On-the-fly modulation: OPM and OPM with OGM."""
