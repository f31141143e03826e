"""Who may reach whom. Pure: a world in; visibility and packet filters out."""
