"""The network of a spec and its weights; beside a backend, nothing else imports torch."""
