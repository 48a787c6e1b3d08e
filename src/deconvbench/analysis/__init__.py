"""Data frames become answers: comparison, tradeoff, self-test."""
