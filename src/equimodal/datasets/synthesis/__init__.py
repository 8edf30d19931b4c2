"""What generated samples are made of: faces, scenes, voices, instruments, and their encoding as media."""
