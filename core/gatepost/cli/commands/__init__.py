"""One file per verb that asks the node on this machine."""
