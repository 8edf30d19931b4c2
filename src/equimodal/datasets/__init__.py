"""Datasets: how raw files become a list of samples. One folder per kind; `registry` names them."""
