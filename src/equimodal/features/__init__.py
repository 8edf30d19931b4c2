"""Raw media to arrays: spectrograms, frames, flow."""
