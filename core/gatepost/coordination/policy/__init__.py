"""The policy in force and its versions: what joins `gatepost.policy` to the world. Pure."""
