"""The tables of a study from result files alone: methods compared, modalities inside each model, cost."""
