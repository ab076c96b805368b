"""The ingress: HTTP in, HTTP out."""
