"""Registries that speak Docker's protocol, version 2, as Ollama's does: pull and push.

https://distribution.github.io/distribution/spec/api/
"""
