"""Hook implementations of kastra-plugin-agent."""
