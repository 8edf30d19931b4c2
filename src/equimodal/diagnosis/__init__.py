"""Diagnosis of any PyTorch model of several modalities: what each one does for its predictions (docs/diagnosis.md)."""
