"""ReconBoost: modalities that correct each other, in turns."""
