"""The article, measured: training, claims, and the validation of its score."""
