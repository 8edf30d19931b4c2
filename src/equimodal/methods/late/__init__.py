"""Late fusion with tuned weights."""
