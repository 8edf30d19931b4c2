"""AIM: adaptive intra-network modulation (Shen, Chen, Zhang, arXiv 2508.19769)."""
