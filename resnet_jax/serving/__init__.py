"""A trained network behind HTTP, for people and programs on this machine.

FastAPI and uvicorn come with the extra `serve`; they are needed by `app.py` and `server.py` alone.
"""
