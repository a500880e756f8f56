"""Open Agent Spec for Kastra: agents and flows become resources, resources become agents and flows."""
