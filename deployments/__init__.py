"""Cluster-wide coordination behind the ingress: who hosts which stream, who is live."""
