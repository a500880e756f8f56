"""Hook implementations of kastra-plugin-tool."""
