"""Scripted models, a faulty OpenAI-compatible server, and contract suites."""
