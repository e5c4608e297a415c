"""Serves a trained network over HTTP, to people and programs on this machine.

FastAPI and uvicorn come with the extra `serve`; only this package needs them.
"""
