"""Losses on the last blocks beside joint-uni's: what deep-uni and aim-means share."""
