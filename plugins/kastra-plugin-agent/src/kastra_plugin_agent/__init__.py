"""Kind Agent: a model with instructions and tools, run durably.

The public parts: :class:`~kastra_plugin_agent.handle.AgentHandle` (what ``runtime.get_agent()`` returns) and
:class:`~kastra_plugin_agent.spec.AgentSpec`.
"""
