"""On-the-fly gradient modulation: OGM and OGM-GE."""
