"""Files from elsewhere: one resumable transfer, git LFS, checksums."""
