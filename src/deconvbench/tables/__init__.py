"""Records become data frames."""
