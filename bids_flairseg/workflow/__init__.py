"""How the nodes are connected, and how the workflow is run."""
