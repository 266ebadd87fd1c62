"""Side chains from a backbone-dependent rotamer library: for models that lack them, or whose own are worse."""
