"""AUG: sustained boosting."""
