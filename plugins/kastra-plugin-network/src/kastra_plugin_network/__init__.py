"""Kind Network: agents, workflows, tools and networks that a router calls in turn, durably."""
