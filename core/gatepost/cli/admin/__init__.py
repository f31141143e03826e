"""One file per noun of the coordination server's administration."""
