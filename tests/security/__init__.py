"""What hostile people do, each as a test that failed before it was mended."""
