"""What makes training quick and explains nothing. Results are those of the plain path."""
