"""Mean prediction of models of one modality each."""
