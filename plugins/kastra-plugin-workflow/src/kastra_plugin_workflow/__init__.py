"""Kind Workflow: a declared graph of steps, carried out durably."""
