"""The page: static files that find and classify faces in the browser, or ask a server to."""
