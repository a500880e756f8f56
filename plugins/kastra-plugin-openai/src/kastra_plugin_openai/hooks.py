"""Hook implementations of kastra-plugin-openai."""
