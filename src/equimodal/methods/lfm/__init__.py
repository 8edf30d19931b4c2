"""LFM: alignment of modalities and fitting of labels, weighted over the run."""
