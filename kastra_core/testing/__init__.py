"""For tests of plugins: fakes, and a conformance suite for each thing that a plugin can implement.

Nothing is imported here, so that a test pays only for what it takes: ``from kastra_core.testing.fakes import
FakeModelProvider``, ``from kastra_core.testing.model import ModelProviderConformance``.
"""
