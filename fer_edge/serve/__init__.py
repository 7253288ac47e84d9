"""The server behind the page: an HTTP API and a WebSocket over the engines of this machine."""
