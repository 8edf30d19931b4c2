"""Datasets: how raw files become a list of samples. One file a kind; `registry` names them."""
