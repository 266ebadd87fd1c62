"""Parameters of the networks: fetch, list, verify, import."""
