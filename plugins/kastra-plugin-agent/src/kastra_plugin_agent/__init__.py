"""Kastra kind Agent: the durable agent loop with tools, threads and structured output."""
